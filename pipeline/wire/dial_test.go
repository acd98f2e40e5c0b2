package wire

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sightline/pipeline"
)

// serveTCP runs a server whose connections handle gets.
func serveTCP(t *testing.T, handle func(*net.TCPConn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var work sync.WaitGroup
	t.Cleanup(func() { listener.Close(); work.Wait() })
	work.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			work.Go(func() { defer conn.Close(); handle(conn.(*net.TCPConn)) })
		}
	})
	return listener.Addr().String()
}

func echo(conn *net.TCPConn) { io.Copy(conn, conn); conn.CloseWrite() }

func dialRig(t *testing.T, way, address string, refused func(network, address string, err error)) *rig {
	return start(t, way, BoxOptions{Ticket: ticket(Publish), Grants: []Grant{{"broker", address}}, Refused: refused}, StageOptions{})
}

func TestAConnectionThroughTheWireEchoesAndKeepsItsHalfClose(t *testing.T) {
	for way := range ways {
		t.Run(way, func(t *testing.T) {
			address := serveTCP(t, echo)
			r := dialRig(t, way, address, nil)
			conn, err := r.env.Network.Dial(r.ctx, "tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			if conn.RemoteAddr().String() != address || conn.RemoteAddr().Network() != "tcp" {
				t.Errorf("remote address %v", conn.RemoteAddr())
			}
			sent := make([]byte, 3<<20)
			mathrand.NewChaCha8([32]byte{1}).Read(sent)
			go func() {
				conn.Write(sent)
				conn.(interface{ CloseWrite() error }).CloseWrite()
			}()
			got, err := io.ReadAll(conn)
			if err != nil || !bytes.Equal(got, sent) {
				t.Fatalf("%d bytes came back of %d, %v", len(got), len(sent), err)
			}
			if _, err := conn.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
				t.Errorf("writing after CloseWrite: %v", err)
			}
			conn.Close()
			until(t, "bytes are counted", func() bool {
				return r.box.Traffic()["broker"] == Traffic{Dialled: 1, Sent: uint64(len(sent)), Received: uint64(len(sent))}
			})
			until(t, "its stream is gone", func() bool { return r.stage.current.Load().mux.NumStreams() == 2 })
			r.cut()
			noLeftovers(t)
		})
	}
}

func TestTLSEndsInTheStage(t *testing.T) {
	config, roots := selfSigned(t)
	var plain bytes.Buffer
	var mu sync.Mutex
	address := serveTCP(t, func(conn *net.TCPConn) {
		secure := tls.Server(conn, config)
		defer secure.Close()
		io.Copy(secure, secure)
	})
	r := start(t, "unix", BoxOptions{Ticket: ticket(Publish), Grants: []Grant{{"broker", address}},
		Connect: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
			return &tapped{Conn: conn, mu: &mu, seen: &plain}, err
		}}, StageOptions{})
	raw, err := r.env.Network.Dial(r.ctx, "tcp", "broker") // by its name
	if err != nil {
		t.Fatal(err)
	}
	conn := tls.Client(raw, &tls.Config{RootCAs: roots, ServerName: "broker.example"})
	secret := bytes.Repeat([]byte("the answer"), 10_000)
	go conn.Write(secret)
	got := make([]byte, len(secret))
	if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, secret) {
		t.Fatalf("%v", err)
	}
	conn.Close()
	mu.Lock()
	defer mu.Unlock()
	if plain.Len() < len(secret) || bytes.Contains(plain.Bytes(), []byte("the answer")) {
		t.Error("the supervisor saw what TLS carries")
	}
}

type tapped struct {
	net.Conn
	mu   *sync.Mutex
	seen *bytes.Buffer
}

func (c *tapped) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.seen.Write(p)
	c.mu.Unlock()
	return c.Conn.Write(p)
}

func selfSigned(t *testing.T) (*tls.Config, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"broker.example"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, roots
}

func TestWhatIsNotGrantedIsRefusedAndToldToTheAudit(t *testing.T) {
	address := serveTCP(t, echo)
	refusals := make(chan string, 16)
	r := dialRig(t, "unix", address, func(network, address string, err error) {
		if !errors.Is(err, pipeline.ErrNotGranted) {
			t.Errorf("told %v", err)
		}
		refusals <- network + " " + address
	})
	for _, c := range [][2]string{{"tcp", "192.0.2.7:80"}, {"udp", address}, {"tcp", ""}, {"unix", "broker"}, {"tcp", "camera"}} {
		if _, err := r.env.Network.Dial(r.ctx, c[0], c[1]); !errors.Is(err, pipeline.ErrNotGranted) {
			t.Errorf("dial %v: %v", c, err)
		}
		if told := receive(t, refusals); told != c[0]+" "+c[1] {
			t.Errorf("audit heard of %q", told)
		}
	}
	if _, err := r.env.Network.ListenPacket(r.ctx, "udp", ":0"); !errors.Is(err, pipeline.ErrNotGranted) {
		t.Errorf("listen: %v", err)
	}
	if conn, err := r.env.Network.Dial(r.ctx, "tcp", address); err != nil {
		t.Errorf("what is granted is refused: %v", err)
	} else {
		conn.Close()
	}
}

func TestAStageWithoutAGrantHasNoNetwork(t *testing.T) {
	r := start(t, "unix", BoxOptions{Ticket: ticket(Classify)}, StageOptions{})
	if r.env.Network != nil {
		t.Error("it has one")
	}
	// One that asks all the same is refused.
	if _, err := (&network{session: r.stage.current.Load}).Dial(r.ctx, "tcp", "127.0.0.1:1"); !errors.Is(err, pipeline.ErrNotGranted) {
		t.Errorf("dial: %v", err)
	}
}

func TestWhyAnEndpointIsNotReachedIsSaid(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	for name, c := range map[string]struct {
		connect func(context.Context, string, string) (net.Conn, error)
		want    error
	}{
		"refused": {nil, syscall.ECONNREFUSED},
		"timeout": {func(context.Context, string, string) (net.Conn, error) { return nil, os.ErrDeadlineExceeded }, os.ErrDeadlineExceeded},
		"no route": {func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Err: syscall.EHOSTUNREACH}
		}, syscall.EHOSTUNREACH},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, "unix", BoxOptions{Ticket: ticket(Capture), Grants: []Grant{{"camera", listener.Addr().String()}}, Connect: c.connect}, StageOptions{})
			_, err := r.env.Network.Dial(r.ctx, "tcp", "camera")
			var op *net.OpError
			if !errors.Is(err, c.want) || !errors.As(err, &op) {
				t.Errorf("error %v", err)
			}
			if op != nil && op.Timeout() != errors.Is(c.want, os.ErrDeadlineExceeded) {
				t.Errorf("timeout %t", op.Timeout())
			}
		})
	}
}

func TestADeadlineOfAConnectionPassesAndReadingGoesOn(t *testing.T) {
	r := dialRig(t, "unix", serveTCP(t, echo), nil)
	conn, err := r.env.Network.Dial(r.ctx, "tcp", "broker")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetReadDeadline(time.Now().Add(-time.Second))
	var timeout net.Error
	if _, err := conn.Read(make([]byte, 1)); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Fatalf("error %v", err)
	}
	conn.SetReadDeadline(time.Time{})
	conn.Write([]byte("on"))
	got := make([]byte, 2)
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "on" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestCloseWakesAReaderAndTheEndpointSeesIt(t *testing.T) {
	gone := make(chan error, 1)
	address := serveTCP(t, func(conn *net.TCPConn) {
		// It sends without end; a stage that has closed must stop it.
		block := make([]byte, 32<<10)
		for {
			if _, err := conn.Write(block); err != nil {
				gone <- err
				return
			}
		}
	})
	r := dialRig(t, "unix", address, nil)
	conn, err := r.env.Network.Dial(r.ctx, "tcp", "broker")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if receive(t, gone) == nil {
		t.Error("no error")
	}
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("reading a closed connection: %v", err)
	}
	until(t, "its stream is gone", func() bool { return r.stage.current.Load().mux.NumStreams() == 2 })
}

func TestAConnectionThatBreaksIsNoEndOfFile(t *testing.T) {
	address := serveTCP(t, func(conn *net.TCPConn) {
		conn.Read(make([]byte, 1))
		conn.SetLinger(0) // reset
	})
	r := dialRig(t, "unix", address, nil)
	conn, err := r.env.Network.Dial(r.ctx, "tcp", "broker")
	if err != nil {
		t.Fatal(err)
	}
	conn.Write([]byte("x"))
	if _, err := io.ReadAll(conn); !errors.Is(err, errReset) {
		t.Errorf("error %v", err)
	}
	// And with the wire.
	if conn, err = r.env.Network.Dial(r.ctx, "tcp", "broker"); err != nil {
		t.Fatal(err)
	}
	r.cut()
	if _, err := io.ReadAll(conn); err == nil {
		t.Error("the wire is gone, and reading ends well")
	}
	if _, err := r.env.Network.Dial(t.Context(), "tcp", "broker"); !errors.Is(err, ErrEnded) {
		t.Errorf("dial without a wire: %v", err)
	}
}

func TestAStageHasNoMoreConnectionsThanItsShare(t *testing.T) {
	r := dialRig(t, "unix", serveTCP(t, echo), nil)
	for range maxDials {
		if _, err := r.env.Network.Dial(r.ctx, "tcp", "broker"); err != nil {
			t.Fatal(err)
		}
	}
	var refused *DialError
	if _, err := r.env.Network.Dial(r.ctx, "tcp", "broker"); !errors.As(err, &refused) {
		t.Errorf("error %v", err)
	}
}

func TestADialThatIsGivenUpLeavesNothing(t *testing.T) {
	began := make(chan struct{})
	connect := func(ctx context.Context, _, _ string) (net.Conn, error) {
		close(began)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	r := start(t, "unix", BoxOptions{Ticket: ticket(Capture), Grants: []Grant{{"camera", "192.0.2.1:554"}}, Connect: connect}, StageOptions{})
	ctx, cancel := context.WithCancel(r.ctx)
	done := make(chan error, 1)
	go func() {
		_, err := r.env.Network.Dial(ctx, "tcp", "camera")
		done <- err
	}()
	receive(t, began)
	cancel()
	if err := receive(t, done); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	r.cut()
	noLeftovers(t)
}

func TestTheNetworkIsBackWithTheNextWire(t *testing.T) {
	o := BoxOptions{Ticket: ticket(Capture), Grants: []Grant{{Name: "camera", Address: "127.0.0.1:1"}}}
	r := start(t, "unix", o, StageOptions{})
	until(t, "the stage serves", func() bool { return r.stage.current.Load() != nil })
	r.cut()
	back := pipeline.Back(r.env.Network)
	select {
	case <-back:
		t.Error("it is back without a wire")
	default:
	}
	r.connect("unix", o)
	receive(t, back)
	if _, err := r.env.Network.Dial(r.ctx, "tcp", "127.0.0.1:1"); !errors.Is(err, syscall.ECONNREFUSED) || strings.Count(err.Error(), "dial") > 1 {
		t.Errorf("dial: %v", err)
	}
}
