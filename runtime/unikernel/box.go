package unikernel

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sightline/runtime/driver"
	"sightline/runtime/qemu"
)

// box is a stage in a guest, started or adopted.
type box struct {
	*qemu.Process
	console *watched
	up      chan struct{} // closed once the program is there to be asked
	asked   atomic.Bool   // to end
	forced  atomic.Bool
	done    chan struct{}
	exit    driver.Exit // before done is closed
}

var (
	_ driver.Box     = (*box)(nil)
	_ driver.Sampler = (*box)(nil)
)

// run looks after a guest until it has ended. The program of one that was adopted is there.
func run(p *qemu.Process, console *watched, socket, arch string, adopted bool) *box {
	b := &box{Process: p, console: console, up: make(chan struct{}), done: make(chan struct{})}
	up := sync.OnceFunc(func() { close(b.up) })
	if adopted {
		up()
	}
	ctx, cancel := context.WithCancel(context.Background())
	carried := make(chan struct{})
	go func() {
		defer close(carried)
		p.CarryTelling(ctx, wireName, socket, up)
	}()
	go func() {
		defer close(b.done)
		b.watch()
		cancel()
		<-carried
		b.exit = b.exitOf(p.End(), arch)
	}()
	return b
}

// leaving is how long a program may take to end for which there is no memory.
const leaving = 2 * time.Second

// watch waits for the end. A guest whose program has no memory and doesn't end is ended.
func (b *box) watch() {
	select {
	case <-b.Process.Done():
		return
	case <-b.console.starve:
	}
	select {
	case <-b.Process.Done():
	case <-time.After(leaving):
		_ = b.Kill() // may have ended
		<-b.Process.Done()
	}
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

// exitOf says how the program of a guest ended.
func (b *box) exitOf(end qemu.End, arch string) driver.Exit {
	exit := end.Exit
	code, told := codeOf(exit, arch)
	exit.Code, exit.Reason = code, ""
	switch {
	case b.forced.Load():
		exit.Code, exit.Reason = -1, "killed by force"
	case end.OutOfMemory:
		exit.Reason = "QEMU is out of memory"
	case b.console.starved() && (!told || code != 0):
		exit.Reason = "out of memory"
	case code == codeFault:
		exit.Reason = "it faulted"
	case code == codeHalt:
		exit.Reason = "the guest's kernel gave up"
	}
	if left := end.Exit.Reason; left != "" {
		exit.Reason = strings.TrimPrefix(exit.Reason+"; "+left, "; ")
	}
	return exit
}

// codeOf returns the program's exit status. On x86-64 the kernel tells it by the debug exit, as
// code<<1|1; on arm64 it doesn't. QEMU itself ends with 1 only before a guest runs.
func codeOf(qemu driver.Exit, arch string) (code int, told bool) {
	if qemu.Signal != "" || qemu.Code < 0 || qemu.Code&1 == 0 || arch != "amd64" {
		return -1, false
	}
	return qemu.Code >> 1, true
}

// Stop implements driver.Box.
func (b *box) Stop(ctx context.Context, grace time.Duration) error {
	gentle, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	b.ask(gentle)
	select {
	case <-b.done:
		return nil
	case <-gentle.Done():
	}
	if ctx.Err() != nil {
		return fmt.Errorf("stop unikernel box %q: %w", b.ID(), ctx.Err())
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

// ask presses the power button, which the kernel turns into a SIGTERM for the program. Before the
// program is there it would be lost, and one more could be taken for impatience.
func (b *box) ask(ctx context.Context) {
	select {
	case <-b.up:
	case <-b.done:
		return
	case <-ctx.Done():
		return
	}
	if !b.asked.Swap(true) {
		_ = b.Powerdown(ctx) // what can't be asked is forced
	}
}
