package process

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"sightline/runtime/driver"
)

// recoverBox adopts the box of spec, or removes what is left of it.
func recoverBox(ctx context.Context, spec driver.Spec) (*box, error) {
	if err := checkID(spec.ID); err != nil {
		return nil, err
	}
	r, err := readRecord(spec.Dir, spec.ID)
	if errors.Is(err, fs.ErrNotExist) { // it is written before anything is made, and removed last
		return nil, gone(tidy(spec.Dir))
	}
	if err != nil {
		return nil, err
	}
	if r.Boot != boot() { // its processes and cgroups went with the machine
		return nil, gone(tidy(spec.Dir))
	}
	lock, err := takeLock(ctx, spec.Dir) // a helper that hasn't become the stage ends by itself
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	if r, err = readRecord(spec.Dir, spec.ID); err != nil {
		return nil, err
	}
	b, err := adopt(r, spec)
	if errors.Is(err, driver.ErrGone) {
		return nil, gone(r.wipe(spec.Dir))
	}
	return b, err
}

// gone is ErrGone, unless the removal of what was left went wrong.
func gone(err error) error {
	if err != nil {
		return err
	}
	return driver.ErrGone
}

// adopt takes over a running box; ErrGone if it doesn't run.
func adopt(r record, spec driver.Spec) (*box, error) {
	if r.PID == 0 {
		return nil, driver.ErrGone
	}
	child, err := os.FindProcess(r.PID) // holds on to the process, not to its number
	if err != nil {
		return nil, err
	}
	exit, err := watchExit(r.PID, r.Started)
	if err != nil {
		return nil, errors.Join(err, child.Release())
	}
	if !is(r.PID, r.Started) { // looked at after both were opened, so they are of the same process
		return nil, errors.Join(driver.ErrGone, exit.file.Close(), child.Release())
	}
	if err := admit(spec, r.UID); err != nil {
		return nil, errors.Join(err, exit.file.Close(), child.Release())
	}
	log, err := joinLog(spec.Dir)
	if err != nil {
		return nil, errors.Join(err, exit.file.Close(), child.Release())
	}
	b := &box{record: r, child: child, wait: exit.wait}
	return b.run(spec, log), nil
}

// exitWatch awaits the end of a process that is not a child.
type exitWatch struct {
	file    *os.File // pidfd
	pid     int
	started uint64
}

func watchExit(pid int, started uint64) (*exitWatch, error) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err == unix.ESRCH {
		return nil, driver.ErrGone
	}
	if err != nil {
		return nil, fmt.Errorf("open process %d: %w", pid, err)
	}
	return &exitWatch{os.NewFile(uintptr(fd), "pidfd"), pid, started}, nil
}

// wait returns the status with which the process ended, where it is to be known by those who are
// not its parent: while it waits for being reaped, and since Linux 6.15 afterwards.
func (e *exitWatch) wait() (status syscall.WaitStatus, known bool) {
	defer e.file.Close()
	conn, err := e.file.SyscallConn()
	if err != nil {
		return 0, false
	}
	err = conn.Read(func(fd uintptr) bool {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, 0)
		for err == unix.EINTR {
			n, err = unix.Poll(fds, 0)
		}
		return n > 0 || err != nil
	})
	if err != nil {
		return 0, false
	}
	_ = conn.Control(func(fd uintptr) { status, known = e.exitStatus(fd) })
	return status, known
}

func (e *exitWatch) exitStatus(fd uintptr) (syscall.WaitStatus, bool) {
	if s, err := readStat(e.pid); err == nil && s.Started == e.started && s.dead() {
		return s.Exit, true
	}
	info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, unix.PIDFD_GET_INFO, uintptr(unsafe.Pointer(&info)))
	if errno != 0 || info.Mask&unix.PIDFD_INFO_EXIT == 0 {
		return 0, false
	}
	return syscall.WaitStatus(info.Exit_code), true
}
