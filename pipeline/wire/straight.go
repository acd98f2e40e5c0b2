package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"sightline/pipeline"
)

// straight is the stage's side of a direct link, see Direct. A nil one never has a connection.
type straight struct {
	name  string
	serve func(ctx context.Context, conn net.Conn) error

	mu    sync.Mutex
	conn  net.Conn // nil: there is none
	asked *session // in which the supervisor was asked for one
}

// live tells whether frames go over a connection of their own.
func (d *straight) live() bool {
	if d == nil {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.conn != nil
}

// ask tells whether the supervisor is to be asked for a connection, once a session and connection.
func (d *straight) ask(s *session) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn != nil || d.asked == s || s.taker == nil {
		return false
	}
	d.asked = s
	return true
}

// begin takes a connection in place of the one before.
func (d *straight) begin(conn net.Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn != nil {
		d.conn.Close()
	}
	d.conn = conn
}

// lost closes a connection and forgets it.
func (d *straight) lost(conn net.Conn) {
	conn.Close()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn == conn {
		d.conn, d.asked = nil, nil
	}
}

// take takes a connection that the supervisor passed for a link.
func (st *Stage) take(s *session, body []byte) error {
	name, err := decodeLink(body)
	if err != nil {
		return err
	}
	d := st.links.straight[name]
	if d == nil || s.taker == nil {
		return fmt.Errorf("direct link %q: %w", name, ErrUnexpected)
	}
	file := s.taker.next()
	if file == nil {
		return fmt.Errorf("direct link %q: %w: %w", name, ErrMalformed, errNoFile)
	}
	conn, err := connOf(file)
	if err != nil {
		return fmt.Errorf("direct link %q: %w", name, err)
	}
	d.begin(conn)
	st.links.direct.Go(func() {
		stop := context.AfterFunc(st.ctx, func() { conn.Close() })
		defer stop()
		if err := d.serve(st.ctx, conn); breach(err) {
			st.log.Warn("the other end of a direct link breaks the rules", "link", name, "err", err)
		}
		d.lost(conn)
		st.signal()
	})
	return nil
}

// giveStraight serves a consumer over a connection of its own.
func giveStraight(output *FrameOutput) func(context.Context, net.Conn) error {
	return func(ctx context.Context, conn net.Conn) error {
		kind, body, err := readRecord(conn, nil, openingLimit)
		if err != nil {
			return err
		}
		o, err := decodeOpening(kind, body)
		if err != nil {
			return err
		}
		if kind != streamFrames {
			return fmt.Errorf("opening of type %d: %w", kind, ErrUnexpected)
		}
		return output.Send(ctx, conn, *o.Wish, nil)
	}
}

// takeStraight takes frames over a connection of its own as soon as link wishes for some, and until it
// wishes for something else.
func takeStraight(name string, link *pipeline.FrameLink) func(context.Context, net.Conn) error {
	return func(ctx context.Context, conn net.Conn) error {
		wish := awaitWish(ctx, link)
		if wish == nil {
			return ctx.Err()
		}
		if err := CheckWish(*wish); err != nil {
			return err
		}
		head, err := encodeOpening(opening{kind: streamFrames, Link: name, Wish: wish})
		if err != nil {
			return err
		}
		conn.SetWriteDeadline(time.Now().Add(writeTimeout)) //nolint:errcheck // it would fail the write too
		if _, err := conn.Write(head); err != nil {
			return err
		}
		conn.SetWriteDeadline(time.Time{}) //nolint:errcheck // as above
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		var watch sync.WaitGroup
		watch.Go(func() { awaitChange(ctx, link, wish, nil); cancel() })
		err = ReceiveFrames(ctx, conn, link, *wish, nil)
		cancel()
		watch.Wait()
		return err
	}
}

// awaitWish returns nil when ctx ends first.
func awaitWish(ctx context.Context, link *pipeline.FrameLink) *pipeline.Wish {
	tick := time.NewTicker(wishEvery)
	defer tick.Stop()
	for {
		if wish := link.Wish(); wish != nil {
			return wish
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// sayWanted asks for the direct links that have no connection.
func (st *Stage) sayWanted(s *session, control net.Conn) error {
	var failed error
	for _, d := range st.links.straight {
		if d.ask(s) {
			failed = errors.Join(failed, writeJSON(control, recWant, linkBody{d.name}))
		}
	}
	return failed
}
