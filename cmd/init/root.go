package main

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"sightline/runtime/vm/order"
)

// mount is one mount.
type mount struct {
	from, to, kind string
	flags          uintptr
	options        string
}

func (m mount) do() error {
	if err := os.MkdirAll(m.to, 0o755); err != nil && !errors.Is(err, unix.EROFS) {
		return err
	}
	if err := unix.Mount(m.from, m.to, m.kind, m.flags, m.options); err != nil {
		return fmt.Errorf("mount %s on %q: %w", m.from, m.to, err)
	}
	return nil
}

const processors = "/sys/devices/system/cpu"

// enterRoot makes the closure the root folder, read-only, with the little beside it that programs
// expect, and leaves the initramfs behind.
func (g *guest) enterRoot(o order.Order) error {
	strict := uintptr(unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC)
	for _, m := range []mount{
		{disk, newRoot, "ext4", unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV, ""},
		{"proc", newRoot + "/proc", "proc", strict, "hidepid=2"},
		{"sys", newRoot + "/sys", "tmpfs", strict, "mode=755,size=64k"},
		{processors, newRoot + processors, "", unix.MS_BIND, ""},
		{"", newRoot + processors, "", unix.MS_BIND | unix.MS_REMOUNT | unix.MS_RDONLY | strict, ""},
		{"dev", newRoot + "/dev", "tmpfs", unix.MS_NOSUID | unix.MS_NOEXEC, "mode=755,size=64k"},
	} {
		if err := m.do(); err != nil {
			return err
		}
	}
	if err := g.makeDevices(o.UID); err != nil {
		return err
	}
	for _, name := range []string{"/dev", "/sys"} {
		if err := (mount{"", newRoot + name, "", unix.MS_REMOUNT | unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NOEXEC, ""}).do(); err != nil {
			return err
		}
	}
	// A root folder in memory can't be left by pivot_root(2).
	if err := os.Chdir(newRoot); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move root: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("change root: %w", err)
	}
	return os.Chdir("/")
}

func (g *guest) makeDevices(uid int) error {
	for _, d := range []struct {
		path   string
		mode   uint32
		device uint64
		uid    int
	}{
		{"/dev/null", 0o666, unix.Mkdev(1, 3), 0},
		{"/dev/zero", 0o666, unix.Mkdev(1, 5), 0},
		{"/dev/random", 0o666, unix.Mkdev(1, 8), 0},
		{"/dev/urandom", 0o666, unix.Mkdev(1, 9), 0},
		{order.Wire, 0o600, g.wire, uid},
	} {
		at := newRoot + d.path
		if err := unix.Mknod(at, unix.S_IFCHR|d.mode, int(d.device)); err != nil {
			return &os.PathError{Op: "mknod", Path: at, Err: err}
		}
		if err := errors.Join(os.Chmod(at, os.FileMode(d.mode)), os.Chown(at, d.uid, d.uid)); err != nil {
			return err
		}
	}
	return nil
}
