package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sightline/runtime/vm/order"
)

// run runs the stage to its end, and ends all that it has started.
func (g *guest) run(o order.Order) (order.Report, error) {
	if err := confine(o); err != nil {
		return order.Report{}, err
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		return order.Report{}, err
	}
	null, err := os.Open("/dev/null")
	if err != nil {
		return order.Report{}, err
	}
	uid := uint32(o.UID)
	stage, err := os.StartProcess(o.Program[0], append(o.Program, order.Wire), &os.ProcAttr{
		Dir: "/", Env: []string{}, Files: []*os.File{null, writer, writer},
		Sys: &syscall.SysProcAttr{Setsid: true, Credential: &syscall.Credential{Uid: uid, Gid: uid}},
	})
	if err != nil {
		return order.Report{}, fmt.Errorf("start the stage: %w", err)
	}
	_ = writer.Close() // the stage has it
	logged := make(chan struct{})
	go g.copyLog(reader, logged)
	go g.obey(stage.Pid)
	report, err := reap(stage.Pid)
	select {
	case <-logged:
	case <-time.After(farewell): // nobody reads it
	}
	return report, err
}

// confine gives up what a stage is never to have. It is inherited from this thread.
func confine(o order.Order) error {
	for name, value := range map[string]string{"user/max_user_namespaces": "0", "kernel/dmesg_restrict": "1", "kernel/kptr_restrict": "2"} {
		if err := os.WriteFile("/proc/sys/"+name, []byte(value), 0); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	if o.PIDs > 0 { // the init itself is root, who is not counted
		most := uint64(o.PIDs)
		if err := unix.Setrlimit(unix.RLIMIT_NPROC, &unix.Rlimit{Cur: most, Max: most}); err != nil {
			return fmt.Errorf("limit processes to %d: %w", o.PIDs, err)
		}
	}
	for capability := uintptr(0); capability <= unix.CAP_LAST_CAP; capability++ {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, capability, 0, 0, 0); err != nil && err != unix.EINVAL { // an older kernel has fewer
			return fmt.Errorf("give up capability %d: %w", capability, err)
		}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set no_new_privs: %w", err)
	}
	return nil
}

// obey does what the host says while the stage runs.
func (g *guest) obey(pid int) {
	for {
		line, err := g.orders.ReadSlice('\n')
		if err != nil {
			return
		}
		if strings.TrimSpace(string(line)) == order.Stop {
			_ = unix.Kill(pid, unix.SIGTERM) // it may have ended
		}
	}
}

// reap awaits all processes: those that lost their parent are this one's. When the stage has ended
// it kills the others.
func reap(stage int) (order.Report, error) {
	var report order.Report
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case err == unix.EINTR:
		case err == unix.ECHILD:
			return report, nil
		case err != nil:
			return report, fmt.Errorf("wait for the stage: %w", err)
		case pid == stage:
			report = reportOf(status)
			_ = unix.Kill(-1, unix.SIGKILL) // there may be none
		}
	}
}

func reportOf(status unix.WaitStatus) order.Report {
	if !status.Signaled() {
		return order.Report{Code: status.ExitStatus()}
	}
	return order.Report{Code: -1, Signal: unix.SignalName(status.Signal()), OutOfMemory: status.Signal() == unix.SIGKILL && outOfMemory()}
}
