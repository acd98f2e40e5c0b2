package qemu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"sightline/runtime/line"
)

// Pauses between attempts to connect the two ends of a wire.
const (
	firstPause = 10 * time.Millisecond
	mostPause  = time.Second
)

// Carry carries the wire of a guest between the channel of that name, on which the guest speaks
// package line, and the unix socket on which the supervisor listens: one connection after the other,
// until the guest or ctx ends.
func (p *Process) Carry(ctx context.Context, name, socket string) {
	p.CarryTelling(ctx, name, socket, func() {})
}

// CarryTelling does what Carry does, and calls taken whenever the guest has taken a connection: its
// program is there.
func (p *Process) CarryTelling(ctx context.Context, name, socket string, taken func()) {
	p.again(ctx, func(ctx context.Context) error {
		raw, err := p.Dial(ctx, name)
		if err != nil {
			return err
		}
		guest, err := line.Host(ctx, raw)
		if err != nil {
			return err
		}
		taken()
		return splice(ctx, guest, socket)
	})
}

// CarryPlain does the same for a guest that knows nothing of package line: what it sends is handed
// on as it is, and the bytes in flight are lost when the supervisor's end breaks.
func (p *Process) CarryPlain(ctx context.Context, name, socket string) {
	p.again(ctx, func(ctx context.Context) error {
		guest, err := p.Dial(ctx, name)
		if err != nil {
			return err
		}
		return splice(ctx, guest, socket)
	})
}

// again does something again and again; the pauses grow while it goes wrong.
func (p *Process) again(ctx context.Context, do func(context.Context) error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-p.done:
			cancel()
		case <-ctx.Done():
		}
	}()
	pause := firstPause
	for ctx.Err() == nil {
		if err := do(ctx); err == nil {
			pause = firstPause
		} else {
			pause = min(2*pause, mostPause)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// splice connects to a socket and copies both ways until one end breaks. It closes guest.
func splice(ctx context.Context, guest net.Conn, socket string) error {
	defer guest.Close()
	host, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return fmt.Errorf("connect the wire: %w", err)
	}
	defer host.Close()
	stop := context.AfterFunc(ctx, func() { _ = errors.Join(guest.Close(), host.Close()) })
	defer stop()
	copied := make(chan struct{}, 2)
	for _, way := range []struct{ to, from net.Conn }{{host, guest}, {guest, host}} {
		go func() {
			_, _ = io.Copy(way.to, way.from) // its end is what matters
			copied <- struct{}{}
		}()
	}
	<-copied
	_ = errors.Join(guest.Close(), host.Close()) // wakes the other
	<-copied
	return nil
}
