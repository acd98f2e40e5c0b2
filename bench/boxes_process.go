package bench

import (
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

const boxStopPatience = 90 * time.Second

// errLeft is that a supervisor was killed, so that its boxes go on.
var errLeft = errors.New("sightline did not end when asked to, and was killed")

// startSupervisor starts an ordinary `sightline run`. It is asked to stop, and stops its boxes, also
// when this process is killed.
func startSupervisor(cmd *exec.Cmd) (*child, error) {
	c := &child{name: "sightline run", cmd: cmd, done: make(chan struct{})}
	cmd.Stderr = &c.errors
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start sightline: %w", err)
	}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // the signal comes when the thread that started it ends
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		defer close(c.done)
		_, _ = io.Copy(io.Discard, stdout)
		if err := cmd.Wait(); err != nil {
			c.err = fmt.Errorf("%s: %w\n%s", c.name, err, c.errors.String())
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start sightline: %w", err)
	}
	return c, nil
}

// stopSupervisor asks sightline to stop all stages and itself.
func stopSupervisor(c *child, state string) error {
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	timer := time.NewTimer(boxStopPatience)
	defer timer.Stop()
	select {
	case <-c.done:
		return c.err
	case <-timer.C:
	}
	_ = c.cmd.Process.Kill() // it may have ended just now
	<-c.done
	return fmt.Errorf("%w after %s; boxes may be left (sightline run --state %s adopts them, and Ctrl-C ends them)\n%s",
		errLeft, boxStopPatience, state, c.errors.String())
}
