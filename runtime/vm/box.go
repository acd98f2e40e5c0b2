package vm

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"sightline/runtime/vm/order"
	"sync"
	"sync/atomic"
	"time"

	"sightline/runtime/driver"
	"sightline/runtime/outlive"
	"sightline/runtime/qemu"
)

// leaving is how long a guest may take to turn itself off after it said how its stage ended.
const leaving = 5 * time.Second

// box is a stage in a guest, started or adopted.
type box struct {
	*qemu.Process
	init     *qemu.Pipe
	reported chan order.Report // has one at most, and is closed

	forced atomic.Bool
	done   chan struct{}
	exit   driver.Exit // before done is closed, of watch alone
}

var (
	_ driver.Box     = (*box)(nil)
	_ driver.Sampler = (*box)(nil)
)

// run looks after a guest until it has ended.
func run(p *qemu.Process, spec driver.Spec, log io.Writer) *box {
	b := &box{Process: p, init: p.Pipe(order.InitPort), reported: make(chan order.Report, 1), done: make(chan struct{})}
	var work sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	if spec.Socket != "" {
		work.Go(func() { p.Carry(ctx, order.StagePort, spec.Socket) })
	}
	work.Go(func() {
		printed := p.Pipe(order.LogPort)
		outlive.CopyLines(log, printed)
		_ = printed.Close() // was read to its end
	})
	go b.listen()
	go func() {
		defer close(b.done)
		b.watch()
		cancel()
		work.Wait()
	}()
	return b
}

// listen takes the report of the init, and passes over all else that comes from the guest.
func (b *box) listen() {
	defer close(b.reported)
	lines := bufio.NewReaderSize(b.init, order.MaxLine)
	given := false
	for {
		line, err := lines.ReadSlice('\n')
		if r, bad := order.ParseReport(line); bad == nil && err == nil && !given {
			given = true
			b.reported <- r
		}
		if err != nil && err != bufio.ErrBufferFull {
			return
		}
	}
}

// watch waits for the end. A guest whose stage has ended is ended if it doesn't end itself.
func (b *box) watch() {
	report, ok := <-b.reported
	if ok {
		select {
		case <-b.Process.Done():
		case <-time.After(leaving):
			_ = b.Process.Kill() // may have ended
		}
	}
	<-b.Process.Done()
	for range b.reported { // to its end
	}
	_ = b.init.Close() // was read to its end
	b.exit = b.exitOf(report, ok)
}

func (b *box) exitOf(report order.Report, ok bool) driver.Exit {
	end := b.Process.End()
	exit := driver.Exit{Code: report.Code, Signal: report.Signal, Reason: report.Error}
	switch {
	case ok && report.OutOfMemory:
		exit.Reason = "out of memory"
	case ok:
	case b.forced.Load():
		exit = driver.Exit{Code: -1, Signal: end.Exit.Signal, Reason: "killed by force"}
	case end.OutOfMemory:
		exit = driver.Exit{Code: -1, Signal: end.Exit.Signal, Reason: "QEMU is out of memory"}
	default:
		exit = driver.Exit{Code: -1, Signal: end.Exit.Signal, Reason: "the guest ended: " + described(end)}
	}
	if end.Exit.Reason != "" {
		exit.Reason += "; " + end.Exit.Reason
	}
	return exit
}

func described(end qemu.End) string {
	if end.Cause != "" {
		return end.Cause
	}
	return fmt.Sprintf("QEMU %s", end.Exit)
}

// Done implements driver.Box.
func (b *box) Done() <-chan struct{} { return b.done }

// Exit implements driver.Box.
func (b *box) Exit() driver.Exit {
	<-b.done
	return b.exit
}

// Stop implements driver.Box.
func (b *box) Stop(ctx context.Context, grace time.Duration) error {
	_, _ = io.WriteString(b.init, order.Stop+"\n") // it may have ended, and is forced if it hasn't
	return stop(ctx, b, grace, b.done, &b.forced)
}

// killer is what can be ended by force.
type killer interface {
	ID() string
	Kill() error
}

// stop waits for the end of what was asked to end, and forces it after grace.
func stop(ctx context.Context, k killer, grace time.Duration, done <-chan struct{}, forced *atomic.Bool) error {
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop vm box %q: %w", k.ID(), ctx.Err())
	case <-timer.C:
	}
	forced.Store(true)
	if err := k.Kill(); err != nil {
		return err
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop vm box %q by force: %w", k.ID(), ctx.Err())
	}
}

// shared is a log that several write lines to.
type shared struct {
	mu sync.Mutex
	w  io.Writer
}

func (s *shared) Write(line []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.Write(line)
}
