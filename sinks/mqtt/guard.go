package mqtt

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
)

// Kinds of control packets that a broker sends to a client that subscribes to nothing and publishes
// with QoS 0 and 1 (MQTT 3.1.1 §2.2.1). Each has at most two bytes after its length.
const (
	kindConnack  = 2
	kindPuback   = 4
	kindPingresp = 13
	maxBody      = 2
	maxConnack   = 5 // largest return code (§3.2.2.3)
)

var (
	errClosedByBroker = errors.New("broker closed the connection")
	errClosedHere     = errors.New("connection closed on this side")
)

// guard is the connection to the broker. It lets nothing in that a broker has no reason to send, so
// that the client library is not made to allocate or do anything by a broker gone wrong, and it says
// at once when the connection ends.
type guard struct {
	net.Conn          // TLS or not
	raw      net.Conn // the connection below TLS: closing it never waits
	ended    func(error)
	check    inbound

	mu     sync.Mutex
	cause  error // why fail was called
	closed bool  // the client library has closed it
}

// fail breaks the connection without a goodbye, so that the broker publishes the last will.
func (g *guard) fail(err error) {
	err = distinct(err)
	g.mu.Lock()
	if g.cause == nil {
		g.cause = err
	}
	g.mu.Unlock()
	_ = g.raw.Close() // nothing is left to lose
	g.ended(err)
}

// Read reads and inspects what came.
func (g *guard) Read(p []byte) (int, error) {
	n, err := g.Conn.Read(p)
	if err == nil {
		if err = g.check.inspect(p[:n]); err != nil {
			n = 0
		}
	}
	if err == nil {
		return n, nil
	}
	err = g.why(err)
	g.ended(err)
	return n, err
}

// why is the error to report for one of Read.
func (g *guard) why(err error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.closed:
		return err
	case g.cause != nil:
		return g.cause
	case errors.Is(err, io.EOF):
		return errClosedByBroker
	}
	return distinct(err)
}

// distinct replaces net.ErrClosed, which the client library takes for its own closing by its text; it
// would leave its goroutines running.
func distinct(err error) error {
	if err != nil && strings.Contains(err.Error(), net.ErrClosed.Error()) {
		return errClosedHere
	}
	return err
}

// Close is how the client library closes the connection.
func (g *guard) Close() error {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	return g.Conn.Close()
}

// inbound follows the packets in the bytes that come from a broker. The zero value is ready.
type inbound struct {
	at     int // position in the packet: 0 its kind, 1 its length, 2… its body
	kind   byte
	length byte
}

// inspect returns an error at the first byte that does not belong to an expected packet.
func (i *inbound) inspect(p []byte) error {
	for _, b := range p {
		if err := i.next(b); err != nil {
			return err
		}
	}
	return nil
}

func (i *inbound) next(b byte) error {
	switch i.at {
	case 0:
		i.kind = b >> 4
		if i.kind != kindConnack && i.kind != kindPuback && i.kind != kindPingresp {
			return fmt.Errorf("broker sent an unexpected packet of kind %d", i.kind)
		}
	case 1:
		if want := i.want(); b != want {
			return fmt.Errorf("broker sent a packet of kind %d with length %d instead of %d", i.kind, b, want)
		}
		i.length = b
	case 3:
		if i.kind == kindConnack && b > maxConnack {
			return fmt.Errorf("broker refused the connection with unknown code %d", b)
		}
	}
	i.at++
	if i.at >= 2 && i.at == 2+int(i.length) {
		*i = inbound{}
	}
	return nil
}

// want is the length that a packet of this kind has.
func (i *inbound) want() byte {
	if i.kind == kindPingresp {
		return 0
	}
	return maxBody
}
