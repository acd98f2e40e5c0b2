package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// plainDevices are the devices that every box has.
func plainDevices() []string {
	return []string{"/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"}
}

const processors = "/sys/devices/system/cpu"

// enterRoot makes a root folder of the closure, and little else, and leaves all others behind. It
// needs a mount namespace of its own.
func (o *order) enterRoot() error {
	if o.Root == "" {
		return o.enterFolder()
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep mounts private: %w", err)
	}
	flags := uintptr(unix.MS_NOSUID | unix.MS_NODEV)
	if err := unix.Mount("tmpfs", o.Root, "tmpfs", flags, "mode=755,size=64k,nr_inodes=4k"); err != nil {
		return fmt.Errorf("mount root: %w", err)
	}
	for _, fill := range []func() error{o.showClosure, o.showDevices, o.showSystem} {
		if err := fill(); err != nil {
			return err
		}
	}
	if err := o.show(o.Wire, WireFolder, unix.MS_RDONLY|unix.MS_NOEXEC|unix.MS_NODEV); err != nil {
		return err
	}
	return o.pivot()
}

// Where a box without its own root has the folder of its wire open, so that it needn't be able to
// come there from the root.
const (
	wireFD     = 100
	wireHandle = "/proc/self/fd/100"
)

// enterFolder makes the closure the working directory.
func (o *order) enterFolder() error {
	fd, err := unix.Open(o.Wire, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: o.Wire, Err: err}
	}
	if err := unix.Dup3(fd, wireFD, 0); err != nil { // stays open in the stage
		return fmt.Errorf("hand over %q: %w", o.Wire, err)
	}
	return errors.Join(unix.Close(fd), os.Chdir(o.Cwd))
}

// pivot makes the new root the root; see pivot_root(2), "pivot_root(".", ".")".
func (o *order) pivot() error {
	if err := os.Chdir(o.Root); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("change root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leave old root: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV, ""); err != nil {
		return fmt.Errorf("make root read-only: %w", err)
	}
	return os.Chdir(o.Cwd)
}

// showClosure shows each entry of the closure's folder in the root.
func (o *order) showClosure() error {
	entries, err := os.ReadDir(o.Folder)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		from, to := filepath.Join(o.Folder, entry.Name()), "/"+entry.Name()
		if entry.Type()&fs.ModeSymlink == 0 {
			if err := o.show(from, to, unix.MS_RDONLY|unix.MS_NODEV); err != nil {
				return err
			}
			continue
		}
		target, err := os.Readlink(from)
		if err != nil {
			return err
		}
		if err := os.Symlink(target, o.Root+to); err != nil {
			return err
		}
	}
	return nil
}

func (o *order) showDevices() error {
	for _, device := range append(plainDevices(), o.Devices...) {
		if err := o.show(device, device, unix.MS_NOEXEC); err != nil {
			return err
		}
	}
	return nil
}

func (o *order) showSystem() error {
	from := processors
	if o.Sys {
		from = "/sys"
	}
	if _, err := os.Stat(from); err == nil {
		if err := o.show(from, from, unix.MS_RDONLY|unix.MS_NODEV|unix.MS_NOEXEC); err != nil {
			return err
		}
	}
	if !o.Proc {
		return nil
	}
	at := o.Root + "/proc"
	if err := os.Mkdir(at, 0o755); err != nil {
		return err
	}
	flags := uintptr(unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC)
	if err := unix.Mount("proc", at, "proc", flags, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	return nil
}

// show makes a file or a folder visible in the new root.
func (o *order) show(from, to string, flags uintptr) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	at := o.Root + to
	if err := makePlace(at, info.IsDir()); err != nil {
		return fmt.Errorf("make place for %q: %w", to, err)
	}
	if err := unix.Mount(from, at, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("show %q: %w", from, err)
	}
	var now unix.Statfs_t
	if err := unix.Statfs(at, &now); err != nil {
		return fmt.Errorf("look at %q: %w", at, err)
	}
	flags |= unix.MS_BIND | unix.MS_REMOUNT | unix.MS_NOSUID | lockedFlags(uint64(now.Flags))
	if err := unix.Mount("", at, "", flags, ""); err != nil {
		return fmt.Errorf("protect %q: %w", from, err)
	}
	return nil
}

func makePlace(at string, folder bool) error {
	if folder {
		return os.MkdirAll(at, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(at, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}

// lockedFlags returns the flags that a mount has and that must be named again when it is changed:
// in a user namespace none may be lost (mount_namespaces(7)).
func lockedFlags(has uint64) (flags uintptr) {
	for st, ms := range map[uint64]uintptr{
		unix.ST_RDONLY: unix.MS_RDONLY, unix.ST_NOEXEC: unix.MS_NOEXEC, unix.ST_NODEV: unix.MS_NODEV,
		unix.ST_NOATIME: unix.MS_NOATIME, unix.ST_NODIRATIME: unix.MS_NODIRATIME, unix.ST_RELATIME: unix.MS_RELATIME,
	} {
		if has&st != 0 {
			flags |= ms
		}
	}
	return flags
}

// checkFolder refuses a closure that has what the box puts into its root.
func checkFolder(folder string) error {
	for _, name := range []string{"dev", "proc", "sys", WireFolder[1:]} {
		if _, err := os.Lstat(filepath.Join(folder, name)); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("the closure has %q, where the box puts its own", "/"+name)
		}
	}
	return nil
}
