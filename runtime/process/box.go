package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sightline/runtime/driver"
	"sightline/runtime/outlive"
)

// leftTime bounds how long is waited for what was killed to go, and for the end of its log.
const leftTime = 10 * time.Second

// box is one running box, started or adopted.
type box struct {
	record
	of    *Driver
	dir   string
	child *os.Process // names the process whatever happens to its ID
	wait  func() driver.Exit
	log   *os.File

	forced atomic.Bool
	logEnd chan struct{}
	done   chan struct{}
	exit   driver.Exit // before done is closed, of watch alone
}

var (
	_ driver.Box     = (*box)(nil)
	_ driver.Sampler = (*box)(nil)
	_ driver.Guarded = (*box)(nil)
)

// run looks after a box whose program runs, until it has ended. It takes over log.
func (b *box) run(spec driver.Spec, log *os.File) *box {
	b.dir, b.log = spec.Dir, log
	b.logEnd, b.done = make(chan struct{}), make(chan struct{})
	if b.wait == nil {
		b.wait = func() driver.Exit { return outlive.WaitChild(b.child) }
	}
	go func() {
		defer close(b.logEnd)
		outlive.CopyLines(spec.Log, log)
	}()
	go b.watch()
	return b
}

// watch waits for the end and removes what belonged to the box.
func (b *box) watch() {
	defer close(b.done)
	b.exit = b.wait()
	switch {
	case b.exit.Code < 0 && b.Groups.OutOfMemory():
		b.exit.Reason = "out of memory"
	case b.forced.Load():
		b.exit.Reason = "killed by force"
	}
	err := b.kill()
	_ = b.log.SetReadDeadline(time.Now().Add(leftTime)) // its end comes at once, now that nobody writes
	<-b.logEnd
	if err = errors.Join(err, b.log.Close(), b.remove(b.dir)); err != nil {
		b.exit.Reason = fmt.Sprint(b.exit.Reason, "; left behind: ", err)
	}
}

// ID implements driver.Box.
func (b *box) ID() string { return b.record.ID }

// Done implements driver.Box.
func (b *box) Done() <-chan struct{} { return b.done }

// Protection implements driver.Guarded. Of a box that was adopted it says what one has that is started
// here now: it was started here, too.
func (b *box) Protection(ctx context.Context) (protects, lacks []string) {
	p := b.of.Probe(ctx)
	return p.Protect, p.Lacks
}

// Exit implements driver.Box.
func (b *box) Exit() driver.Exit {
	<-b.done
	return b.exit
}

// Stop implements driver.Box.
func (b *box) Stop(ctx context.Context, grace time.Duration) error {
	if err := b.signal(syscall.SIGTERM); err != nil {
		return err
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-b.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop process box %q: %w", b.record.ID, ctx.Err())
	case <-timer.C:
	}
	b.forced.Store(true)
	if err := b.signal(syscall.SIGKILL); err != nil {
		return err
	}
	select {
	case <-b.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop process box %q by force: %w", b.record.ID, ctx.Err())
	}
}

// signal sends to the program of the box, which may have ended.
func (b *box) signal(s syscall.Signal) error {
	if err := b.child.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("send %s to process box %q: %w", unix.SignalName(s), b.record.ID, err)
	}
	return nil
}

// Sample implements driver.Sampler.
func (b *box) Sample(context.Context) (driver.Usage, error) {
	members := b.members()
	if len(members) == 0 {
		return driver.Usage{}, fmt.Errorf("measure process box %q: it has ended", b.record.ID)
	}
	var usage, seen driver.Usage
	for _, s := range members {
		usage.Memory += s.RSS
		seen.CPU += s.CPU
	}
	var ok bool
	if usage.CPU, ok = b.Groups.CPU(); !ok {
		usage.CPU = seen.CPU
	}
	return usage, nil
}

// members returns the living processes of the box.
func (r record) members() []outlive.Stat {
	var members []outlive.Stat
	for _, pid := range r.Groups.Members() {
		if s, err := outlive.ReadStat(pid); err == nil && !s.Dead() {
			members = append(members, s)
		}
	}
	if len(members) > 0 {
		return members
	}
	if leader, err := outlive.ReadStat(r.PID); err == nil && leader.Started != r.Started {
		return nil // the number is another's by now
	}
	for _, s := range outlive.SessionMembers(r.PID) {
		if r.PID > 0 && s.Started >= r.Started {
			members = append(members, s)
		}
	}
	return members
}

// kill kills all that is left of a box, again until there is nothing.
func (r record) kill() error {
	until := time.Now().Add(leftTime)
	for {
		r.Groups.Kill()
		members := r.members()
		if len(members) == 0 {
			return nil
		}
		for _, s := range members {
			_ = unix.Kill(s.PID, unix.SIGKILL) // it may have ended
		}
		if time.Now().After(until) {
			return fmt.Errorf("process %d of box %q doesn't die", members[0].PID, r.ID)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// remove removes all traces of a box that has ended.
func (r record) remove(dir string) error {
	return errors.Join(r.Groups.Remove(time.Now().Add(leftTime)), tidy(dir))
}

// wipe ends whatever there is of a box and removes it.
func (r record) wipe(dir string) error {
	return errors.Join(r.kill(), r.remove(dir))
}
