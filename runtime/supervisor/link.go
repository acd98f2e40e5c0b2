package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// Waits between connections of a box whose wire ends again and again.
const (
	soonAgain  = 50 * time.Millisecond
	mostAgain  = 5 * time.Second
	longEnough = 10 * time.Second // a connection that lasted so long was a good one
)

// link serves the wire of one box, one connection after the other.
type link struct {
	wire     Wire
	listener net.Listener
	closing  chan struct{} // closed when no further connection is wanted
	end      context.CancelFunc
	done     chan struct{} // closed when nothing is served any more; nil: it never was
	served   atomic.Int64  // connections so far
	now      atomic.Bool   // one is being served
}

// listen makes the socket of the box, if it has a wire that comes over one.
func (r *running) listen(socket string) error {
	if r.of.wire == nil || r.of.inPlace() {
		return nil
	}
	if err := os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return fmt.Errorf("listen for the wire: %w", err)
	}
	listener.(*net.UnixListener).SetUnlinkOnClose(false) // the folder goes as a whole, or stays
	if err := os.Chmod(socket, 0o600); err != nil {
		return errors.Join(err, listener.Close())
	}
	r.link = &link{wire: r.of.wire, listener: listener, closing: make(chan struct{})}
	return nil
}

// serve begins to take connections.
func (r *running) serve() {
	if r.link == nil {
		return
	}
	ctx, end := context.WithCancel(context.Background())
	l := r.link
	l.end, l.done = end, make(chan struct{})
	go func() {
		defer close(l.done)
		l.serve(ctx, r)
	}()
}

func (l *link) serve(ctx context.Context, r *running) {
	again := soonAgain
	for {
		conn, err := l.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		began := time.Now()
		if err != nil {
			r.k.s.log.Error("take the wire of a box", "stage", r.k.name, "box", r.box.ID(), "err", err)
		} else {
			l.one(ctx, conn, r)
		}
		if time.Since(began) >= longEnough {
			again = soonAgain
		}
		timer := time.NewTimer(again)
		select {
		case <-l.closing:
		case <-timer.C:
		}
		timer.Stop()
		again = min(2*again, mostAgain)
	}
}

// one serves one connection.
func (l *link) one(ctx context.Context, conn net.Conn, r *running) {
	l.served.Add(1)
	l.now.Store(true)
	err := l.wire.Serve(ctx, conn, r.info())
	l.now.Store(false)
	if ctx.Err() == nil {
		r.k.s.log.Info("the wire of a box ended", "stage", r.k.name, "box", r.box.ID(), "err", err)
	}
}

// close takes no further connections, lets the one there is end by itself for a while, as the box
// may have said something last, and then ends it.
func (l *link) close(patience time.Duration) {
	close(l.closing)
	_ = l.listener.Close() // nobody is to come any more
	if l.done == nil {
		return
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-l.done:
	case <-timer.C:
	}
	l.end()
	<-l.done
}
