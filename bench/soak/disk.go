package soak

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// diskSize is the most that fits on the disk. What does not lie on it takes no memory.
const diskSize = 1 << 30

// disk is a file system in memory, below a folder, which can be full. Only those who may mount can have one.
type disk struct{ at string }

// newDisk mounts a disk where nothing lies yet.
func newDisk(at string) (*disk, error) {
	if err := os.MkdirAll(at, 0o700); err != nil {
		return nil, err
	}
	there, err := os.ReadDir(at)
	if err != nil {
		return nil, err
	}
	if len(there) > 0 {
		return nil, fmt.Errorf("%q is not empty", at)
	}
	if err := unix.Mount("soak", at, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, fmt.Sprintf("mode=0700,size=%d", diskSize)); err != nil {
		return nil, fmt.Errorf("mount a file system in memory at %q, which only root may: %w", at, err)
	}
	return &disk{at}, nil
}

// fill leaves no room: the disk is from now on as large as what lies on it.
func (d *disk) fill() error {
	for try := 0; ; try++ {
		var now unix.Statfs_t
		if err := unix.Statfs(d.at, &now); err != nil {
			return fmt.Errorf("measure %q: %w", d.at, err)
		}
		err := d.resize((now.Blocks - now.Bfree) * uint64(now.Bsize))
		if err == nil || !errors.Is(err, unix.EINVAL) || try > 100 { // invalid: more lies on it already
			return err
		}
	}
}

// empty makes room again.
func (d *disk) empty() error { return d.resize(diskSize) }

func (d *disk) resize(bytes uint64) error {
	if err := unix.Mount("soak", d.at, "tmpfs", unix.MS_REMOUNT|unix.MS_NOSUID|unix.MS_NODEV, fmt.Sprintf("size=%d", bytes)); err != nil {
		return fmt.Errorf("make %q %d bytes large: %w", d.at, bytes, err)
	}
	return nil
}

// remove takes the disk away, with what lies on it.
func (d *disk) remove() error {
	if err := unix.Unmount(d.at, unix.MNT_DETACH); err != nil { // what was killed may still have files open
		return fmt.Errorf("unmount %q: %w", d.at, err)
	}
	return nil
}

// leave takes the disk away, and leaves what lies on it in the folder.
func (d *disk) leave() error {
	kept := d.at + ".kept"
	err := copyTree(kept, d.at)
	if err = errors.Join(err, d.remove()); err != nil {
		return err
	}
	if err := os.Remove(d.at); err != nil {
		return err
	}
	return os.Rename(kept, d.at)
}

// copyTree copies folders, files and links; sockets and pipes mean nothing elsewhere.
func copyTree(to, from string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := to + strings.TrimPrefix(path, from)
		switch {
		case entry.IsDir():
			return os.Mkdir(target, 0o700)
		case entry.Type() == fs.ModeSymlink:
			leads, err := os.Readlink(path)
			if err != nil {
				return err
			}
			return os.Symlink(leads, target)
		case entry.Type().IsRegular():
			return copyFile(target, path)
		}
		return nil
	})
}

func copyFile(to, from string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	_, err = io.Copy(out, in)
	return err
}
