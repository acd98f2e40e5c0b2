package rtsp

import (
	"context"
	"errors"
	"net"
	"time"
)

// dial connects through the stage's network. The client calls it at its first request, and again
// when the camera sends it elsewhere.
func (c *session) dial(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(c.ctx, func() { cancel(c.ctx.Err()) })
	defer stop()
	if err := c.mayDial(); err != nil {
		return nil, err
	}
	conn, err := c.env.Network.Dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	var link *udpLink
	if c.overUDP {
		if link, err = newUDPLink(c.ctx, c.env.Network, conn); err != nil {
			conn.Close()
			return nil, &noUDPError{err}
		}
		conn = link
	} else if c.client.Scheme == "rtsp" {
		conn = newMendedConn(conn)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.severed != nil {
		conn.Close()
		return nil, c.severed
	}
	// The client would wait for ever for the end of a TLS handshake; onResponse lifts the limit.
	if err := conn.SetReadDeadline(time.Now().Add(c.limit)); err != nil {
		conn.Close()
		return nil, err
	}
	c.conn, c.link = conn, link
	return conn, nil
}

// answered notes that the camera speaks.
func (c *session) answered() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil {
		_ = c.conn.SetReadDeadline(time.Time{}) // fails on a closed connection only
	}
}

func (c *session) mayDial() error {
	if c.env.Network == nil {
		return errors.New("the stage has no network")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dials++; c.dials > maxDials {
		return errors.New("the camera redirects in a circle")
	}
	return c.severed
}

// sever cuts the connection, whatever the client is waiting for.
func (c *session) sever(why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.severed == nil {
		c.severed = why
	}
	if c.conn != nil {
		c.conn.Close()
	}
}

// why returns the reason for a cut instead of what the client saw of it, and the trouble of UDP instead
// of what it brought about.
func (c *session) why(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.severed != nil {
		return c.severed
	}
	if c.link != nil {
		if trouble := c.link.trouble(); trouble != nil {
			return &noUDPError{trouble}
		}
	}
	return err
}
