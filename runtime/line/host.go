package line

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"
)

// farewell is how long the last bytes of a connection may take to be written after it was closed.
const farewell = 2 * time.Second

// Host begins a connection to the program in a guest, over a new raw connection to the guest's
// stream. It waits until the program takes it, as long as ctx lets it: a guest may be slow to boot.
// It owns raw. The connection ends with raw, and closing it closes raw.
//
// Whatever the guest sends, it costs this connection alone.
func Host(ctx context.Context, raw net.Conn) (net.Conn, error) {
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	token := make([]byte, tokenSize)
	rand.Read(token) // never fails, by its contract
	wrote := make(chan error, 1)
	go func() {
		_, err := raw.Write(appendFrame(quiet(), frameOpen, append([]byte(magic), token...)))
		wrote <- err
	}()
	in := newReader(raw)
	err := in.find(append(appendHead(nil, frameTaken, tokenSize), token...))
	if err == nil {
		err = endOfFrame(in)
	}
	if err != nil {
		raw.Close()
	}
	// A guest that knows the token has read all that was written, unless it is raw that broke.
	err = errors.Join(err, <-wrote)
	if !stop() {
		err = ctx.Err()
	}
	if err != nil {
		raw.Close()
		return nil, fmt.Errorf("begin a connection to the guest: %w", err)
	}
	ours, theirs := net.Pipe()
	c := &hostConn{Conn: theirs, raw: raw}
	go c.listen(in, ours)
	go func() {
		sendAll(ours, func(frame []byte) error { _, err := raw.Write(frame); return err })
		ours.Close()
		raw.Close()
	}()
	return c, nil
}

func endOfFrame(in *reader) error {
	mark, err := in.from.ReadByte()
	if err == nil && mark != frameMark {
		err = fmt.Errorf("frame without its mark: %w", ErrMalformed)
	}
	return err
}

// hostConn is the host's end of a connection.
type hostConn struct {
	net.Conn
	raw   net.Conn
	fault atomic.Pointer[error] // what the guest did wrong
}

var _ net.Conn = (*hostConn)(nil)

// listen delivers what the guest sends, until the connection ends.
func (c *hostConn) listen(in *reader, to net.Conn) {
	defer c.raw.Close()
	defer to.Close()
	for {
		kind, payload, err := in.next()
		switch {
		case err != nil:
			if errors.Is(err, ErrMalformed) {
				c.fault.Store(&err)
			}
			return
		case kind == frameClose:
			return
		case kind != frameData:
			err := fmt.Errorf("frame of type %#x within a connection: %w", kind, ErrMalformed)
			c.fault.Store(&err)
			return
		case len(payload) > 0:
			if _, err := to.Write(payload); err != nil {
				return
			}
		}
	}
}

// Read implements net.Conn. Of a guest that broke the rules it says how.
func (c *hostConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if fault := c.fault.Load(); fault != nil && errors.Is(err, io.EOF) {
		return n, fmt.Errorf("line of the guest: %w", *fault)
	}
	return n, err
}

// Close implements net.Conn. It doesn't wait for the guest.
func (c *hostConn) Close() error {
	c.raw.SetWriteDeadline(time.Now().Add(farewell)) //nolint:errcheck // it may have ended
	return c.Conn.Close()
}
