package unikernel

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"sightline/runtime/driver"
	"sightline/runtime/qemu"
)

// box is a stage in a guest, started or adopted.
type box struct {
	*qemu.Process
	asked  atomic.Bool // to end
	forced atomic.Bool
	done   chan struct{}
	exit   driver.Exit // before done is closed
}

var (
	_ driver.Box     = (*box)(nil)
	_ driver.Sampler = (*box)(nil)
)

// run looks after a guest until it has ended.
func run(p *qemu.Process, spec driver.Spec, arch string) *box {
	b := &box{Process: p, done: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	carried := make(chan struct{})
	go func() {
		defer close(carried)
		p.Carry(ctx, wireName, spec.Socket)
	}()
	go func() {
		defer close(b.done)
		<-p.Done()
		cancel()
		<-carried
		b.exit = exitOf(p.End(), arch, b.forced.Load())
	}()
	return b
}

// Done implements driver.Box.
func (b *box) Done() <-chan struct{} { return b.done }

// Exit implements driver.Box.
func (b *box) Exit() driver.Exit {
	<-b.done
	return b.exit
}

// What the kernel ends a guest with, beside the exit status of the program (Nanos, src/runtime/runtime.h).
const (
	codeFault = 0x7e // a program or the kernel did what it may not, or there was no memory for it
	codeHalt  = 0x7f // the kernel gave up
)

// exitOf says how the program of a guest ended. On x86-64 it is told by the debug exit, as
// code<<1|1; on arm64 it isn't.
func exitOf(end qemu.End, arch string, forced bool) driver.Exit {
	exit := end.Exit
	switch {
	case forced:
		exit.Code, exit.Reason = -1, "killed by force"
	case end.OutOfMemory:
		exit.Code, exit.Reason = -1, "QEMU is out of memory"
	case exit.Signal != "" || exit.Code < 0:
	case exit.Code&1 == 1 && arch == "amd64":
		exit.Code >>= 1
		exit.Reason = reasonOf(exit.Code, end.Said)
	default:
		exit.Code, exit.Reason = -1, reasonOf(-1, end.Said)
	}
	if left := end.Exit.Reason; left != "" {
		exit.Reason = strings.TrimPrefix(exit.Reason+"; "+left, "; ")
	}
	return exit
}

// reasonOf finds in the last lines of the console why a program ended badly.
func reasonOf(code int, said string) string {
	switch {
	case code == 0:
		return ""
	case strings.Contains(said, "out of memory"):
		return "out of memory"
	case code == codeFault:
		return "it faulted"
	case code == codeHalt:
		return "the guest's kernel gave up"
	}
	return ""
}

// Stop implements driver.Box. The kernel turns the power button into a SIGTERM for the program; one
// more could be taken for impatience.
func (b *box) Stop(ctx context.Context, grace time.Duration) error {
	timer := time.NewTimer(grace)
	defer timer.Stop()
	if grace > 0 && !b.asked.Swap(true) {
		pressed, cancel := context.WithTimeout(ctx, grace)
		_ = b.Powerdown(pressed) // what can't be asked is forced
		cancel()
	}
	select {
	case <-b.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop unikernel box %q: %w", b.ID(), ctx.Err())
	case <-timer.C:
	}
	b.forced.Store(true)
	if err := b.Kill(); err != nil {
		return err
	}
	select {
	case <-b.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop unikernel box %q by force: %w", b.ID(), ctx.Err())
	}
}
