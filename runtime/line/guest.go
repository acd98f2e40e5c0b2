package line

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// Guest is the guest's end of a line. Its methods may be called from any goroutine.
type Guest struct {
	raw  io.ReadWriteCloser
	in   *reader
	next chan net.Conn // the connection that was not accepted yet
	done chan struct{}
	err  error // why it ended; after done

	writing sync.Mutex // held for each frame that is sent
	current net.Conn   // our end of the connection of the moment, or nil; set by listen alone
}

// NewGuest returns the guest's end of a line over a raw stream, which it owns. A Read and a Write of
// raw that wait end when raw is closed.
func NewGuest(raw io.ReadWriteCloser) *Guest {
	g := &Guest{raw: raw, in: newReader(raw), next: make(chan net.Conn, 1), done: make(chan struct{})}
	go g.begin()
	go func() {
		g.err = errors.Join(g.listen(), raw.Close())
		g.replace(nil)
		close(g.done)
	}()
	return g
}

// begin ends the connection that a host may have to what used this stream before.
func (g *Guest) begin() {
	g.writing.Lock()
	defer g.writing.Unlock()
	if g.current == nil {
		g.raw.Write(appendFrame(quiet(), frameClose, nil)) //nolint:errcheck // listen learns of it
	}
}

// Accept waits for the next connection of a supervisor. When another one begins, or the supervisor
// ends it, reading from the connection returns io.EOF. Data that was written to a connection and not
// taken holds up the line, until the connection is closed.
func (g *Guest) Accept(ctx context.Context) (net.Conn, error) {
	select {
	case conn := <-g.next:
		return conn, nil
	case <-g.done:
		return nil, fmt.Errorf("line to the host ended: %w", g.err)
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for a supervisor: %w", ctx.Err())
	}
}

// Done is closed when the raw stream has ended.
func (g *Guest) Done() <-chan struct{} { return g.done }

// Close ends the line and its connection.
func (g *Guest) Close() error {
	err := g.raw.Close()
	<-g.done
	return err
}

// listen serves what the host sends until the raw stream ends.
func (g *Guest) listen() error {
	for {
		kind, payload, err := g.in.next()
		var token []byte
		switch {
		case errors.Is(err, errCut):
			kind = frameClose
		case errors.Is(err, ErrMalformed):
			g.replace(nil)
			if token, err = g.hunt(); err != nil {
				return err
			}
		case err != nil:
			return err
		case kind == frameOpen && len(payload) == len(magic)+tokenSize:
			token = payload[len(magic):]
		}
		switch {
		case token != nil:
			if err := g.open(token); err != nil {
				return err
			}
		case kind == frameData && g.current != nil && len(payload) > 0:
			g.current.Write(payload) //nolint:errcheck // of a connection that was closed here the rest is let go
		case kind == frameClose:
			g.replace(nil)
		}
	}
}

// hunt looks for an opening where it is not known where frames begin.
func (g *Guest) hunt() (token []byte, err error) {
	pattern := append(appendHead(nil, frameOpen, len(magic)+tokenSize), magic...)
	for {
		if err := g.in.find(pattern); err != nil {
			return nil, err
		}
		rest := g.in.room[:tokenSize+1]
		if _, err := io.ReadFull(g.in.from, rest); err != nil {
			return nil, err
		}
		if rest[tokenSize] == frameMark {
			return rest[:tokenSize], nil
		}
	}
}

// open begins a connection.
func (g *Guest) open(token []byte) error {
	ours, theirs := net.Pipe()
	g.replace(ours)
	select {
	case old := <-g.next: // was never accepted
		old.Close()
	default:
	}
	g.next <- theirs // before the host knows of it: who asks then gets no older one
	g.writing.Lock()
	_, err := g.raw.Write(appendFrame(nil, frameTaken, token))
	g.writing.Unlock()
	if err != nil {
		return fmt.Errorf("begin a connection: %w", err)
	}
	go g.send(ours)
	return nil
}

// replace ends the connection of the moment and puts another in its place.
func (g *Guest) replace(conn net.Conn) {
	if g.current != nil {
		g.current.Close()
	}
	g.writing.Lock()
	defer g.writing.Unlock()
	g.current = conn
}

// send sends what is written to a connection, until it is closed or replaced.
func (g *Guest) send(conn net.Conn) {
	defer conn.Close()
	sendAll(conn, func(frame []byte) error {
		g.writing.Lock()
		defer g.writing.Unlock()
		if g.current != conn {
			return net.ErrClosed
		}
		_, err := g.raw.Write(frame)
		return err
	})
}

// sendAll makes frames of what is written to the other end of a pipe, and a closing at its end.
func sendAll(pipe net.Conn, send func(frame []byte) error) {
	room := make([]byte, maxFrame)
	for {
		n, err := pipe.Read(room[headSize : headSize+maxData])
		if n > 0 {
			appendHead(room[:0], frameData, n)
			room[headSize+n] = frameMark
			if send(room[:headSize+n+1]) != nil {
				return
			}
		}
		if err != nil {
			send(appendFrame(room[:0], frameClose, nil)) //nolint:errcheck // the end of the line says the same
			return
		}
	}
}
