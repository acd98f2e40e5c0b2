package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"sightline/runtime/driver"
	"sightline/runtime/outlive"
)

// leftTime bounds how long is waited for what was killed to go, and for the end of its log.
const leftTime = time.Minute

// Process is a guest that runs, started or adopted. Its methods may be called from any goroutine.
type Process struct {
	record
	dir    string
	folder *folder
	pipes  map[string]*Pipe
	child  *os.Process // names the process whatever happens to its ID
	wait   func() driver.Exit
	log    *os.File
	said   tail

	logEnd chan struct{}
	done   chan struct{}
	end    End // before done is closed, of watch alone

	mu      sync.Mutex
	monitor *Monitor // nil: not connected
	cause   string   // of the last event SHUTDOWN
}

// End says how QEMU ended.
type End struct {
	Exit driver.Exit // of the process; Reason is what went wrong afterwards
	// Cause is why the machine stopped as QEMU says it: guest-shutdown, guest-reset, guest-panic,
	// host-qmp-quit, host-signal; "" when it didn't.
	Cause       string
	OutOfMemory bool   // QEMU was killed because of its memory's limit
	Said        string // the last that was on the console or that QEMU said
}

// run looks after a QEMU until it has ended. It takes over log.
func (p *Process) run(w io.Writer, log *os.File) {
	p.log, p.logEnd, p.done = log, make(chan struct{}), make(chan struct{})
	go func() {
		defer close(p.logEnd)
		outlive.CopyLines(io.MultiWriter(&p.said, plain{w}), log)
	}()
	go p.watch()
}

// watch waits for the end and removes what belonged to the guest.
func (p *Process) watch() {
	defer close(p.done)
	exit := p.wait()
	err := p.record.kill(p.dir)
	_ = p.log.SetReadDeadline(time.Now().Add(leftTime)) // its end comes at once, now that nobody writes
	<-p.logEnd
	p.mu.Lock()
	monitor := p.monitor
	p.mu.Unlock()
	if monitor != nil {
		<-monitor.ended // with the last event
		_ = monitor.Close()
	}
	p.end = End{Exit: exit, Cause: p.lastCause(), OutOfMemory: p.Groups.OutOfMemory(), Said: p.said.text()}
	if err = errors.Join(err, p.log.Close(), p.folder.Close(), p.remove(p.dir)); err != nil {
		p.end.Exit.Reason = fmt.Sprint("left behind: ", err)
	}
}

// ID returns the box's.
func (p *Process) ID() string { return p.record.ID }

// PID returns QEMU's process ID.
func (p *Process) PID() int { return p.record.PID }

// Done is closed when QEMU has ended and all that belonged to it is removed. What a Pipe has is
// still to be read, up to its end.
func (p *Process) Done() <-chan struct{} { return p.done }

// End says how it ended, once it is done.
func (p *Process) End() End {
	<-p.done
	return p.end
}

// Dial connects to a port or a forwarded address of the guest, whose channel is a Socket.
func (p *Process) Dial(ctx context.Context, name string) (net.Conn, error) {
	return p.folder.dial(ctx, name)
}

// Pipe returns the host's side of a port, whose channel is Pipes; nil if there is none. Who asks for
// it reads it to its end and closes it.
func (p *Process) Pipe(name string) *Pipe { return p.pipes[name] }

// connect connects to the monitor. QEMU answers once the machine is made.
func (p *Process) connect(ctx context.Context) error {
	conn, err := p.folder.dial(ctx, monitorName)
	if err != nil {
		return err
	}
	monitor, err := OpenMonitor(ctx, conn, p.event)
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.monitor = monitor
	p.mu.Unlock()
	return nil
}

func (p *Process) event(e Event) {
	if e.Name != "SHUTDOWN" {
		return
	}
	var why struct{ Reason string }
	if json.Unmarshal(e.Data, &why) == nil {
		p.mu.Lock()
		p.cause = why.Reason
		p.mu.Unlock()
	}
}

func (p *Process) lastCause() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cause
}

// Powerdown presses the guest's power button, which it may heed or not. It does nothing for a guest
// that has ended.
func (p *Process) Powerdown(ctx context.Context) error { return p.execute(ctx, "system_powerdown") }

// Quit ends QEMU from inside, at once.
func (p *Process) Quit(ctx context.Context) error { return p.execute(ctx, "quit") }

// Running says whether the guest's processors run.
func (p *Process) Running(ctx context.Context) (bool, error) {
	p.mu.Lock()
	monitor := p.monitor
	p.mu.Unlock()
	data, err := monitor.Execute(ctx, "query-status", nil)
	if err != nil {
		return false, err
	}
	var status struct{ Running bool }
	if err := json.Unmarshal(data, &status); err != nil {
		return false, fmt.Errorf("decode status of QEMU: %w", err)
	}
	return status.Running, nil
}

func (p *Process) execute(ctx context.Context, command string) error {
	p.mu.Lock()
	monitor := p.monitor
	p.mu.Unlock()
	_, err := monitor.Execute(ctx, command, nil)
	select {
	case <-p.done:
		return nil
	case <-monitor.ended: // it ends
		return nil
	default:
		return err
	}
}

// Kill ends QEMU by force.
func (p *Process) Kill() error {
	if err := p.child.Signal(syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill QEMU of box %q: %w", p.record.ID, err)
	}
	return nil
}

func (p *Process) kill() { _ = p.Kill() } // it may have ended

// Sample returns what QEMU has used.
func (p *Process) Sample(context.Context) (driver.Usage, error) {
	stat, err := outlive.ReadStat(p.record.PID)
	if err != nil || stat.Started != p.Started || stat.Dead() {
		return driver.Usage{}, fmt.Errorf("measure box %q: it has ended", p.record.ID)
	}
	usage := driver.Usage{CPU: stat.CPU, Memory: stat.RSS}
	if used, ok := p.Groups.CPU(); ok {
		usage.CPU = used
	}
	return usage, nil
}
