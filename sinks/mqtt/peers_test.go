package mqtt_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"sightline/pipeline"
	"sightline/sinks/broker"
)

// patience is how long a test waits for what must come.
const patience = 3 * time.Minute

// wanted is what a test needs of a broker.
type wanted struct {
	username, password string
	authority          *authority // TLS with a certificate of this authority
	clientCertificates bool       // clients need one of the same authority
}

// peer is a broker for one test, which can be killed and started again on its port.
type peer struct {
	url    string
	wanted wanted
	start  func(t testing.TB)
	kill   func()
}

// peers are the brokers that every test runs against.
var peers = map[string]func(testing.TB, wanted) *peer{"mosquitto": mosquitto, "embedded": embedded}

// withPeers runs a test against every broker.
func withPeers(t *testing.T, w wanted, test func(*testing.T, *peer)) {
	for name, start := range peers {
		t.Run(name, func(t *testing.T) { test(t, start(t, w)) })
	}
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func (w wanted) scheme() string {
	if w.authority != nil {
		return "mqtts"
	}
	return "mqtt"
}

// mosquitto starts Debian's broker, which forgets everything when it is killed.
func mosquitto(t testing.TB, w wanted) *peer {
	binary, err := exec.LookPath("mosquitto")
	if err != nil {
		t.Skipf("mosquitto is not installed: %v", err)
	}
	dir, port := t.TempDir(), freePort(t)
	config := fmt.Sprintf("listener %d 127.0.0.1\nuser root\npersistence false\nmax_queued_messages 0\nmax_inflight_messages 0\nlog_dest stderr\n", port)
	if w.username == "" {
		config += "allow_anonymous true\n"
	} else {
		file := filepath.Join(dir, "passwords")
		if out, err := exec.Command("mosquitto_passwd", "-c", "-b", file, w.username, w.password).CombinedOutput(); err != nil {
			t.Skipf("mosquitto_passwd does not work: %v: %s", err, out)
		}
		config += "allow_anonymous false\npassword_file " + file + "\n"
	}
	if w.authority != nil {
		certificate, key := w.authority.issue(t, "broker")
		config += "cafile " + w.authority.file + "\ncertfile " + certificate + "\nkeyfile " + key + "\n"
		config += fmt.Sprintf("require_certificate %t\n", w.clientCertificates)
	}
	file := filepath.Join(dir, "mosquitto.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &peer{url: fmt.Sprintf("%s://127.0.0.1:%d", w.scheme(), port), wanted: w}
	p.start = func(t testing.TB) { p.kill = runMosquitto(t, binary, file) }
	return p.begin(t)
}

// runMosquitto returns, once the broker says that it runs, what kills it.
func runMosquitto(t testing.TB, binary, config string) func() {
	t.Helper()
	command := exec.Command(binary, "-c", config, "-v")
	stderr, err := command.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	running, ended := make(chan struct{}), make(chan struct{})
	var text strings.Builder
	go func() {
		defer close(ended)
		lines := bufio.NewScanner(stderr)
		for said := false; lines.Scan(); {
			if !said {
				text.WriteString(lines.Text() + "\n")
			}
			if !said && strings.HasSuffix(lines.Text(), " running") {
				said = true
				close(running)
			}
		}
	}()
	kill := sync.OnceFunc(func() {
		_ = command.Process.Kill()
		<-ended
		_ = command.Wait() // killed
	})
	select {
	case <-running:
	case <-ended:
		kill()
		t.Fatalf("mosquitto does not run:\n%s", &text)
	}
	return kill
}

// embedded starts the broker of this repository, which forgets everything when it is killed.
func embedded(t testing.TB, w wanted) *peer {
	o := broker.Options{Port: freePort(t), Username: w.username, Password: pipeline.NewSecret(w.password)}
	if w.authority != nil {
		o.TLS = w.authority.server(t, w.clientCertificates)
	}
	p := &peer{url: fmt.Sprintf("%s://127.0.0.1:%d", w.scheme(), o.Port), wanted: w}
	p.start = func(t testing.TB) {
		t.Helper()
		b, err := broker.Start(o)
		if err != nil {
			t.Fatal(err)
		}
		p.kill = func() {
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	return p.begin(t)
}

func (p *peer) begin(t testing.TB) *peer {
	p.start(t)
	t.Cleanup(func() { p.kill() })
	return p
}

// authority is a certificate authority made for one test.
type authority struct {
	file        string // its certificate
	dir         string
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	a.certificate = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	a.key = newKey(t)
	a.file = filepath.Join(a.dir, "authority.pem")
	a.write(t, a.file, a.certificate, a.key)
	return a
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (a *authority) write(t testing.TB, file string, c *x509.Certificate, key *ecdsa.PrivateKey) {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, c, a.certificate, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// issue makes a certificate for 127.0.0.1, for servers and clients.
func (a *authority) issue(t testing.TB, name string) (certificate, key string) {
	t.Helper()
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	private := newKey(t)
	certificate, key = filepath.Join(a.dir, name+".pem"), filepath.Join(a.dir, name+".key")
	a.write(t, certificate, c, private)
	der, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return certificate, key
}

func (a *authority) pool(t testing.TB) *x509.CertPool {
	t.Helper()
	text, err := os.ReadFile(a.file)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	return pool
}

func (a *authority) pair(t testing.TB, name string) tls.Certificate {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(a.issue(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func (a *authority) server(t testing.TB, clients bool) *tls.Config {
	c := &tls.Config{Certificates: []tls.Certificate{a.pair(t, "broker")}}
	if clients {
		c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, a.pool(t)
	}
	return c
}

// network is a stage's network that tests can cut.
type network struct {
	mu    sync.Mutex
	shut  bool
	conns []net.Conn
	dials int
}

var errCut = errors.New("the test has cut the network")

// Dial connects unless the network is cut.
func (n *network) Dial(ctx context.Context, kind, address string) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dials++
	if n.shut {
		return nil, errCut
	}
	var dialer net.Dialer
	c, err := dialer.DialContext(ctx, kind, address)
	if err == nil {
		n.conns = append(n.conns, c)
	}
	return c, err
}

// ListenPacket is not granted.
func (n *network) ListenPacket(context.Context, string, string) (net.PacketConn, error) {
	return nil, pipeline.ErrNotGranted
}

// cut ends all connections without a goodbye; no new ones are made until mend.
func (n *network) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.shut = true
	for _, c := range n.conns {
		c.Close()
	}
	n.conns = nil
}

func (n *network) mend() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.shut = false
}

// arrival is one message as the subscriber got it.
type arrival struct {
	topic, payload string
	retained       bool
}

// log is what subscribers have received, in order.
type log struct {
	mu      sync.Mutex
	list    []arrival
	results int // how many of list are
	changed chan struct{}
}

func newLog() *log { return &log{changed: make(chan struct{}, 1)} }

func (l *log) add(a arrival) {
	l.mu.Lock()
	l.list = append(l.list, a)
	if strings.HasSuffix(a.topic, "/result") {
		l.results++
	}
	l.mu.Unlock()
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

// resultCount is len(l.of("/result")), fast.
func (l *log) resultCount() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.results
}

// of returns what came so far on topics that end so.
func (l *log) of(suffix string) []arrival {
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []arrival
	for _, a := range l.list {
		if strings.HasSuffix(a.topic, suffix) {
			list = append(list, a)
		}
	}
	return list
}

// await waits until ok holds and fails the test when it does not in time.
func (l *log) await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for !ok() {
		select {
		case <-l.changed:
		case <-timeout.C:
			t.Fatalf("%s: not within %s; %d messages came", what, patience, len(l.of("")))
		}
	}
}

// last waits until the newest message of a topic is payload.
func (l *log) last(t testing.TB, topic, payload string) {
	t.Helper()
	l.await(t, topic+" "+payload, func() bool {
		list := l.of(topic)
		return len(list) > 0 && list[len(list)-1].payload == payload
	})
}

// subscribe subscribes to everything, beside the sink, with a client of its own.
func (p *peer) subscribe(t testing.TB, l *log) {
	t.Helper()
	p.subscribeAt(t, l, 1)
}

// subscribeLate subscribes like one that comes later: what was acknowledged before is retained.
func (p *peer) subscribeLate(t testing.TB, l *log) {
	t.Helper()
	p.settle(t)
	p.subscribe(t, l)
}

// settle returns when new subscribers get all that was acknowledged as retained: the embedded broker
// has it for them a moment later, in its order.
func (p *peer) settle(t testing.TB) {
	t.Helper()
	client := p.connect(t)
	marker, seen := fmt.Sprintf("settled/%d", time.Now().UnixNano()), newLog()
	await(t, client.Publish(marker, 1, true, "x"))
	take := func(_ paho.Client, m paho.Message) { seen.add(arrival{m.Topic(), string(m.Payload()), m.Retained()}) }
	for until := time.Now().Add(patience); len(seen.of(marker)) == 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("what is retained is not there within %s", patience)
		}
		await(t, client.Subscribe(marker, 1, take))
	}
}

func (p *peer) subscribeAt(t testing.TB, l *log, qos byte) {
	t.Helper()
	take := func(_ paho.Client, m paho.Message) { l.add(arrival{m.Topic(), string(m.Payload()), m.Retained()}) }
	await(t, p.connect(t).Subscribe("sightline/#", qos, take))
}

// connect connects a client of its own until the test ends.
func (p *peer) connect(t testing.TB) paho.Client {
	t.Helper()
	o := paho.NewClientOptions().AddBroker(strings.NewReplacer("mqtts://", "ssl://", "mqtt://", "tcp://").Replace(p.url))
	o.SetClientID(fmt.Sprintf("client-%d", time.Now().UnixNano())).SetAutoReconnect(false)
	o.SetUsername(p.wanted.username).SetPassword(p.wanted.password).SetProtocolVersion(4)
	if a := p.wanted.authority; a != nil {
		o.SetTLSConfig(&tls.Config{RootCAs: a.pool(t), Certificates: []tls.Certificate{a.pair(t, "client")}})
	}
	client := paho.NewClient(o)
	await(t, client.Connect())
	t.Cleanup(func() { client.Disconnect(100) })
	return client
}

// await waits until the broker has done what token stands for.
func await(t testing.TB, token paho.Token) {
	t.Helper()
	if !token.WaitTimeout(patience) || token.Error() != nil {
		t.Fatalf("broker: %v", token.Error())
	}
}
