package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long a device may take to appear.
const patience = 30 * time.Second

// listen begins to listen for the kernel's events about devices (netlink(7),
// NETLINK_KOBJECT_UEVENT).
func listen() (events int, err error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return 0, fmt.Errorf("listen for devices: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1}); err != nil {
		return 0, fmt.Errorf("listen for devices: %w", err)
	}
	return fd, nil
}

// waitUntil looks at each event whether something is there.
func waitUntil(events int, what string, there func() bool) error {
	until := time.Now().Add(patience)
	message := make([]byte, 8<<10)
	for !there() {
		left := time.Until(until)
		if left <= 0 {
			return fmt.Errorf("the machine has no %s after %v", what, patience)
		}
		// Not for long: what is shown may come a moment after its event.
		fds := []unix.PollFd{{Fd: int32(events), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, int(min(left, 100*time.Millisecond)/time.Millisecond)+1)
		if err != nil && err != unix.EINTR {
			return fmt.Errorf("wait for %s: %w", what, err)
		}
		if n > 0 {
			if _, err := unix.Read(events, message); err != nil && err != unix.ENOBUFS && err != unix.EINTR {
				return fmt.Errorf("wait for %s: %w", what, err)
			}
		}
	}
	return nil
}

// await waits for a file.
func await(events int, name string) error {
	return waitUntil(events, name, func() bool {
		_, err := os.Stat(name)
		return !errors.Is(err, os.ErrNotExist)
	})
}
