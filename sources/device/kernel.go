package device

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// node is an open device file.
type node interface {
	// control does an ioctl; arg points to its structure.
	control(request uintptr, arg unsafe.Pointer) error
	// memory maps one of the driver's buffers.
	memory(offset int64, length int) ([]byte, error)
	// wait returns when a buffer is filled or something is wrong with the device, or with an error when ctx
	// ends or the time is over (os.ErrDeadlineExceeded).
	wait(ctx context.Context, most time.Duration) error
	// close unmaps and closes.
	close()
}

// opener opens a device file.
type opener func(path string) (node, error)

// kernelNode is a node of the Linux kernel.
type kernelNode struct {
	file   *os.File
	raw    syscall.RawConn
	mapped [][]byte
}

var _ node = (*kernelNode)(nil)

// openNode opens a device file without waiting for anything.
func openNode(path string) (node, error) {
	f, err := os.OpenFile(path, os.O_RDWR|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Mode()&os.ModeCharDevice == 0 {
		err = errNoDevice
	}
	raw, rawErr := f.SyscallConn()
	if err == nil {
		err = rawErr
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &kernelNode{file: f, raw: raw}, nil
}

func (n *kernelNode) control(request uintptr, arg unsafe.Pointer) error {
	var errno syscall.Errno
	err := n.raw.Control(func(fd uintptr) {
		for {
			if _, _, errno = syscall.Syscall(syscall.SYS_IOCTL, fd, request, uintptr(arg)); errno != syscall.EINTR {
				return
			}
		}
	})
	if err != nil {
		return err
	}
	if errno != 0 {
		return errno
	}
	return nil
}

func (n *kernelNode) memory(offset int64, length int) (mapped []byte, err error) {
	controlled := n.raw.Control(func(fd uintptr) {
		mapped, err = unix.Mmap(int(fd), offset, length, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	})
	if controlled != nil {
		return nil, controlled
	}
	if err != nil {
		return nil, fmt.Errorf("map a buffer of %d bytes: %w", length, err)
	}
	n.mapped = append(n.mapped, mapped)
	return mapped, nil
}

// tick is how often a wait looks whether its context has ended.
const tick = 100 * time.Millisecond

func (n *kernelNode) wait(ctx context.Context, most time.Duration) error {
	for end := time.Now().Add(most); time.Now().Before(end); {
		ready := 0
		err := n.raw.Control(func(fd uintptr) {
			fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			var err error
			if ready, err = unix.Poll(fds, int(tick.Milliseconds())); err != nil {
				ready = 0 // interrupted
			}
		})
		switch {
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case ready > 0:
			return nil
		}
	}
	return os.ErrDeadlineExceeded
}

func (n *kernelNode) close() {
	for _, m := range n.mapped {
		_ = unix.Munmap(m) // nothing can be done
	}
	n.mapped = nil
	n.file.Close()
}
