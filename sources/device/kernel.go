package device

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
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

// kernelNode is a node of the Linux kernel. It is no os.File: those are watched by the runtime's poller from
// the beginning, and a driver that is polled before it has buffers begins to stream in its own way,
// for readers, and then refuses every setting as busy.
type kernelNode struct {
	descriptor int
	mapped     [][]byte
}

var _ node = (*kernelNode)(nil)

// openNode opens a device file without waiting for anything.
func openNode(path string) (node, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	var about unix.Stat_t
	if err = unix.Fstat(fd, &about); err == nil && about.Mode&unix.S_IFMT != unix.S_IFCHR {
		err = errNoDevice
	}
	if err != nil {
		_ = unix.Close(fd) // nothing was written
		return nil, err
	}
	return &kernelNode{descriptor: fd}, nil
}

func (n *kernelNode) control(request uintptr, arg unsafe.Pointer) error {
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(n.descriptor), request, uintptr(arg))
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
		default:
			return errno
		}
	}
}

func (n *kernelNode) memory(offset int64, length int) ([]byte, error) {
	mapped, err := unix.Mmap(n.descriptor, offset, length, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
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
		fds := []unix.PollFd{{Fd: int32(n.descriptor), Events: unix.POLLIN}}
		ready, err := unix.Poll(fds, int(tick.Milliseconds()))
		switch {
		case err != nil && !errors.Is(err, unix.EINTR):
			return fmt.Errorf("wait for a picture: %w", err)
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
	_ = unix.Close(n.descriptor) // nothing was written
}
