package outlive

import (
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"sightline/runtime/driver"
)

// ExitWatch awaits the end of a process that is not a child.
type ExitWatch struct {
	file    *os.File // pidfd
	pid     int
	started uint64
}

// WatchExit begins to watch a process that was started then; driver.ErrGone if there is no such
// process. The caller looks afterwards, by Is, whether it was that one.
func WatchExit(pid int, started uint64) (*ExitWatch, error) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err == unix.ESRCH {
		return nil, driver.ErrGone
	}
	if err != nil {
		return nil, fmt.Errorf("open process %d: %w", pid, err)
	}
	return &ExitWatch{os.NewFile(uintptr(fd), "pidfd"), pid, started}, nil
}

// Close ends the watch of who does not call Wait.
func (e *ExitWatch) Close() error { return e.file.Close() }

// Wait returns how the process ended, where that is to be known by those who are not its parent: while
// it waits for being reaped, and since Linux 6.15 afterwards. Otherwise the code is -1.
func (e *ExitWatch) Wait() driver.Exit {
	defer e.file.Close()
	unknown := driver.Exit{Code: -1}
	conn, err := e.file.SyscallConn()
	if err != nil {
		return unknown
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
		return unknown
	}
	exit := unknown
	_ = conn.Control(func(fd uintptr) {
		if status, known := e.exitStatus(fd); known {
			exit = exitOf(status)
		}
	})
	return exit
}

// WaitChild returns how a child of this process ended, and reaps it.
func WaitChild(child *os.Process) driver.Exit {
	state, err := child.Wait()
	if err != nil {
		return driver.Exit{Code: -1}
	}
	return exitOf(state.Sys().(syscall.WaitStatus))
}

func exitOf(status syscall.WaitStatus) driver.Exit {
	if status.Signaled() {
		return driver.Exit{Code: -1, Signal: unix.SignalName(status.Signal())}
	}
	return driver.Exit{Code: status.ExitStatus()}
}

func (e *ExitWatch) exitStatus(fd uintptr) (syscall.WaitStatus, bool) {
	if s, err := ReadStat(e.pid); err == nil && s.Started == e.started && s.Dead() {
		return s.Exit, true
	}
	info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, unix.PIDFD_GET_INFO, uintptr(unsafe.Pointer(&info)))
	if errno != 0 || info.Mask&unix.PIDFD_INFO_EXIT == 0 {
		return 0, false
	}
	return syscall.WaitStatus(info.Exit_code), true
}

// TellsExit says that the kernel tells the status of processes that have ended to those who are not
// their parents.
func TellsExit() bool {
	watch, err := WatchExit(os.Getpid(), 0)
	if err != nil {
		return false
	}
	defer watch.file.Close()
	info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, watch.file.Fd(), unix.PIDFD_GET_INFO, uintptr(unsafe.Pointer(&info)))
	return errno == 0
}
