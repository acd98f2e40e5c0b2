package vm

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"sightline/runtime/driver"
	"sightline/runtime/qemu"
)

// guestBox is a guest that runs.
type guestBox struct {
	*qemu.Process
	forced atomic.Bool
	done   chan struct{}
}

var (
	_ driver.Box     = (*guestBox)(nil)
	_ driver.Sampler = (*guestBox)(nil)
)

func (d *GuestDriver) run(p *qemu.Process) *guestBox {
	b := &guestBox{Process: p, done: make(chan struct{})}
	var work sync.WaitGroup
	for _, grant := range d.Guest.Grants {
		work.Go(func() { p.CarryPlain(context.Background(), grant.Name, grant.Socket) })
	}
	go func() {
		defer close(b.done)
		<-p.Done()
		work.Wait()
	}()
	return b
}

// Done implements driver.Box.
func (b *guestBox) Done() <-chan struct{} { return b.done }

// Exit implements driver.Box. A guest that turned itself off has exit status 0; one that restarted is
// ended by it, and has 0 too: the supervisor starts it anew.
func (b *guestBox) Exit() driver.Exit {
	<-b.done
	end := b.End()
	exit := driver.Exit{Code: -1, Signal: end.Exit.Signal, Reason: described(end)}
	switch {
	case end.Cause == "guest-shutdown" || end.Cause == "guest-reset":
		exit = driver.Exit{Reason: end.Cause}
	case b.forced.Load():
		exit.Reason = "killed by force"
	case end.OutOfMemory:
		exit.Reason = "QEMU is out of memory"
	}
	if end.Exit.Reason != "" {
		exit.Reason += "; " + end.Exit.Reason
	}
	return exit
}

// powerPause is between presses of the power button: a system that is starting doesn't see the first.
const powerPause = 5 * time.Second

// Stop implements driver.Box.
func (b *guestBox) Stop(ctx context.Context, grace time.Duration) error {
	pressing, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	pressed := make(chan struct{})
	go func() {
		defer close(pressed)
		b.press(pressing)
	}()
	err := stop(ctx, b, grace, b.done, &b.forced)
	cancel()
	<-pressed
	return err
}

// press presses the power button, again until the guest has ended.
func (b *guestBox) press(ctx context.Context) {
	for ctx.Err() == nil {
		_ = b.Powerdown(ctx) // who doesn't heed it is forced
		select {
		case <-b.done:
			return
		case <-ctx.Done():
		case <-time.After(powerPause):
		}
	}
}
