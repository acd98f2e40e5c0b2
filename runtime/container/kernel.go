package container

import (
	"bytes"

	"golang.org/x/sys/unix"
)

// Bounds of what is read of the kernel's messages (/dev/kmsg, Documentation/ABI/testing/dev-kmsg).
const (
	maxMessages = 100_000
	maxMessage  = 8 << 10 // bytes; what the kernel hands out at once
)

// killedForMemory says whether the kernel tells that it killed a process in a cgroup that is named
// after a container, because of its limit. Some versions of Podman don't hear of that. Without the
// privilege to read the kernel's messages it is not known.
func killedForMemory(container string) bool {
	fd, err := unix.Open("/dev/kmsg", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer func() { _ = unix.Close(fd) }()
	message := make([]byte, maxMessage)
	for range maxMessages {
		n, err := unix.Read(fd, message)
		switch {
		case err == unix.EINTR || err == unix.EPIPE: // the kernel has overwritten some
			continue
		case err != nil || n <= 0:
			return false
		case isKillOf(message[:n], container):
			return true
		}
	}
	return false
}

// isKillOf says whether a message tells of such a kill.
func isKillOf(message []byte, container string) bool {
	_, after, ok := bytes.Cut(message, []byte("oom_memcg="))
	group, _, _ := bytes.Cut(after, []byte(","))
	return ok && container != "" && bytes.Contains(group, []byte(container))
}
