package line

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
)

// Way is how a program in a box reaches its supervisors, one after the other.
type Way struct {
	address string
	open    func(ctx context.Context) (io.ReadWriteCloser, error) // the raw stream of a guest; nil: a unix socket

	mu    sync.Mutex // held while the raw stream is opened
	guest *Guest
}

// Open understands the address of a wire as a driver gives it to the program of a box: the absolute
// path of a unix socket or of a character device, or host:port. Nothing is connected yet.
func Open(address string) (*Way, error) {
	w := &Way{address: address}
	if !filepath.IsAbs(address) {
		if _, port, err := net.SplitHostPort(address); err != nil || port == "" {
			return nil, fmt.Errorf("address of the wire %q is neither an absolute path nor host:port", address)
		}
		w.open = func(ctx context.Context) (io.ReadWriteCloser, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		}
		return w, nil
	}
	info, err := os.Stat(address)
	if err == nil && info.Mode()&os.ModeCharDevice != 0 {
		w.open = func(context.Context) (io.ReadWriteCloser, error) { return openPort(address) }
	}
	return w, nil // a socket may come to be there
}

// Connect returns a connection to a supervisor. Where the way is a unix socket it connects and says
// why it can't; elsewhere it waits for a supervisor, until ctx ends. Each call makes a connection of
// its own; over a line the one before ends.
func (w *Way) Connect(ctx context.Context) (net.Conn, error) {
	if w.open == nil {
		return new(net.Dialer).DialContext(ctx, "unix", w.address)
	}
	g, err := w.line(ctx)
	if err != nil {
		return nil, err
	}
	return g.Accept(ctx)
}

// line returns the line of the guest, and makes a new one if it has ended.
func (w *Way) line(ctx context.Context) (*Guest, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.guest != nil {
		select {
		case <-w.guest.Done():
		default:
			return w.guest, nil
		}
	}
	raw, err := w.open(ctx)
	if err != nil {
		return nil, fmt.Errorf("open the line to the host: %w", err)
	}
	w.guest = NewGuest(raw)
	return w.guest, nil
}

// Close ends the line, if there is one. Connections over a unix socket are their owner's.
func (w *Way) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.guest == nil {
		return nil
	}
	return w.guest.Close()
}
