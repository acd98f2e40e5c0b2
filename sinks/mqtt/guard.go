package mqtt

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync"
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
	room     []byte // what is read into
	checked  []byte // what the client library has not read yet; the rest of keep
	keep     []byte

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

// Read reads, inspects what came, and returns what the client library is to see of it.
func (g *guard) Read(p []byte) (int, error) {
	for len(g.checked) == 0 {
		if err := g.more(); err != nil {
			err = g.why(err)
			g.ended(err)
			return 0, err
		}
	}
	n := copy(p, g.checked)
	g.checked = g.checked[n:]
	return n, nil
}

// more reads once. What came together with something wrong is not used.
func (g *guard) more() error {
	if g.room == nil {
		g.room = make([]byte, 2048)
	}
	n, err := g.Conn.Read(g.room)
	if n > 0 {
		var wrong error
		if g.keep, wrong = g.check.inspect(g.keep[:0], g.room[:n]); wrong != nil {
			return wrong
		}
		g.checked = g.keep
	}
	return err
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
