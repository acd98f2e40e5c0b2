package mqtt

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
)

// session is one connection to the broker, from its CONNECT to its end. The client library's own
// reconnecting is off: it publishes again what the caller also delivers again, hides why it is not
// connected, and cannot be stopped while it sleeps.
type session struct {
	client paho.Client
	conn   *guard
	ears   *ears // nil: nothing is listened to
	queue  chan *delivery
	lost   chan struct{} // closed when the connection ended
	once   sync.Once
	cause  error // set before lost closes
}

// delivery is a batch on its way through publishing.
type delivery struct {
	packets []packet
	tokens  chan paho.Token // as many as packets, in their order
}

// errNoAnswer breaks a connection over which nothing was acknowledged in time.
var errNoAnswer = errors.New("no acknowledgement")

// connect makes a connection and returns it once the broker accepted it. dial opens the network
// connection within limit, as its context says.
func connect(ctx context.Context, o *paho.ClientOptions, limit time.Duration, dial func(context.Context) (*guard, error)) (*session, error) {
	s := &session{queue: make(chan *delivery), lost: make(chan struct{})}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	release := func() bool { return true }
	o.SetCustomOpenConnectionFn(func(*url.URL, paho.ClientOptions) (net.Conn, error) {
		g, err := dial(limited)
		if err != nil {
			return nil, err
		}
		g.ended = s.end
		s.conn = g
		release = context.AfterFunc(limited, func() { g.fail(fmt.Errorf("connect: %w", context.Cause(limited))) })
		return g, nil
	})
	o.SetConnectionLostHandler(func(_ paho.Client, err error) { s.end(err) })
	s.client = paho.NewClient(o)
	token := s.client.Connect()
	<-token.Done() // the library sets the deadline of limit, and a context that ends closes the connection
	release()
	if err := token.Error(); err != nil {
		return nil, err
	}
	return s, nil
}

// end notes that the connection has ended. The first cause counts.
func (s *session) end(err error) {
	s.once.Do(func() {
		s.cause = err
		close(s.lost)
	})
}

// isLost tells whether the connection has ended.
func (s *session) isLost() bool {
	select {
	case <-s.lost:
		return true
	default:
		return false
	}
}

// write hands batches to the client library until the connection ends. It has a goroutine of its own
// because publishing blocks, up to the write timeout, when the connection ends in the middle.
func (s *session) write() {
	for {
		select {
		case d := <-s.queue:
			for i := range d.packets {
				p := &d.packets[i]
				d.tokens <- s.client.Publish(p.topic, p.qos, p.retained, p.payload)
			}
		case <-s.lost:
			return
		}
	}
}

// publish returns nil once every packet is acknowledged (QoS 1) or written (QoS 0). limit is the
// longest wait for the next acknowledgement. After any error the connection is broken, so that
// nothing of these packets comes after a second try of them.
func (s *session) publish(ctx context.Context, packets []packet, limit time.Duration) error {
	d := &delivery{packets: packets, tokens: make(chan paho.Token, len(packets))}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	err := s.hand(ctx, d, timer)
	for range packets {
		if err != nil {
			break
		}
		timer.Reset(limit)
		err = s.acknowledged(ctx, d, timer)
	}
	if err != nil {
		s.conn.fail(err)
	}
	return err
}

func (s *session) hand(ctx context.Context, d *delivery, timer *time.Timer) error {
	select {
	case s.queue <- d:
		return nil
	case <-s.lost:
		return s.cause
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return errNoAnswer
	}
}

// acknowledged waits until the next packet is.
func (s *session) acknowledged(ctx context.Context, d *delivery, timer *time.Timer) error {
	var token paho.Token
	select {
	case token = <-d.tokens:
	case <-s.lost:
		return s.cause
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return errNoAnswer
	}
	select {
	case <-token.Done():
		if err := token.Error(); err == nil || !s.isLost() {
			return err
		}
		return s.cause
	case <-s.lost:
		return s.cause
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return errNoAnswer
	}
}
