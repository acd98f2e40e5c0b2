// Package broker is an MQTT broker inside the process, for the demo, tests and benchmarks: a NATS
// server with its MQTT listener on loopback. It is in a package of its own so that only programs that
// need it carry it.
package broker

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"sightline/pipeline"
)

// startLimit is how long the broker may take to listen; startStep is how often it is looked whether it
// has given up.
const (
	startLimit = 20 * time.Second
	startStep  = 100 * time.Millisecond
)

// Options say how the broker listens. The zero value: a free port, no TLS, anyone may connect.
type Options struct {
	Port     int    // on 127.0.0.1; 0: a free one
	Username string // the only user; empty: anyone
	Password pipeline.Secret
	TLS      *tls.Config // nil: plain TCP
	// Dir keeps retained messages and sessions over a restart; empty: a folder of its own in the
	// system's temporary folder, removed at Close. Retained messages are there for new subscribers
	// a moment after they were acknowledged, or the broker was started.
	Dir string
}

// Broker is a running broker.
type Broker struct {
	server  *server.Server
	scheme  string
	port    int
	discard string // folder to remove at the end
	once    sync.Once
	err     error
}

// Start starts a broker and returns once it accepts connections.
func Start(o Options) (*Broker, error) {
	b := &Broker{scheme: "mqtt"}
	if o.TLS != nil {
		b.scheme = "mqtts"
	}
	dir := o.Dir
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "sightline-broker-"); err != nil {
			return nil, fmt.Errorf("start broker: folder for its messages: %w", err)
		}
		b.discard = dir
	}
	if err := b.listen(o, dir); err != nil {
		return nil, errors.Join(fmt.Errorf("start broker on port %d: %w", o.Port, err), b.Close())
	}
	return b, nil
}

func (b *Broker) listen(o Options, dir string) error {
	port := o.Port
	if port == 0 {
		port = server.RANDOM_PORT
	}
	options := &server.Options{
		ServerName: "sightline", DontListen: true, NoSigs: true,
		JetStream: true, StoreDir: dir, // the MQTT listener keeps its messages and sessions there
		MQTT: server.MQTTOpts{
			Host: "127.0.0.1", Port: port, TLSConfig: o.TLS,
			Username: o.Username, Password: o.Password.Reveal(),
		},
	}
	s, err := server.NewServer(options)
	if err != nil {
		return err
	}
	reasons := &log{}
	s.SetLoggerV2(reasons, false, false, false)
	b.server = s
	s.Start()
	for deadline := time.Now().Add(startLimit); !s.ReadyForConnections(startStep); {
		if why, fatal := reasons.read(); fatal || time.Now().After(deadline) {
			return fmt.Errorf("not listening: %s", why)
		}
	}
	b.port = options.MQTT.Port
	return nil
}

// URL is the broker's address: mqtt://127.0.0.1:port, or mqtts:// with TLS.
func (b *Broker) URL() string {
	return b.scheme + "://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(b.port))
}

// Port is the port that the broker listens on.
func (b *Broker) Port() int { return b.port }

// Close ends all connections and waits until the broker has stopped. Further calls do nothing.
func (b *Broker) Close() error {
	b.once.Do(func() {
		if b.server != nil {
			b.server.Shutdown()
			b.server.WaitForShutdown()
		}
		if b.discard != "" {
			b.err = os.RemoveAll(b.discard)
		}
	})
	return b.err
}

// log keeps complaints and is silent otherwise; the server's own logger would end the process at a
// fatal one.
type log struct {
	mu    sync.Mutex
	last  string
	fatal bool
}

var _ server.Logger = (*log)(nil)

func (l *log) keep(fatal bool, format string, args []any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.fatal {
		l.last, l.fatal = fmt.Sprintf(format, args...), fatal
	}
}

// read returns the fatal complaint, or the last one.
func (l *log) read() (text string, fatal bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last == "" {
		return "no reason given", l.fatal
	}
	return l.last, l.fatal
}

// Fatalf keeps the complaint.
func (l *log) Fatalf(format string, args ...any) { l.keep(true, format, args) }

// Errorf keeps the complaint.
func (l *log) Errorf(format string, args ...any) { l.keep(false, format, args) }

// Warnf says nothing.
func (l *log) Warnf(string, ...any) {}

// Noticef says nothing.
func (l *log) Noticef(string, ...any) {}

// Debugf says nothing.
func (l *log) Debugf(string, ...any) {}

// Tracef says nothing.
func (l *log) Tracef(string, ...any) {}
