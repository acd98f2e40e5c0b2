package spool

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// folder is where segments are kept.
type folder interface {
	names() ([]string, error)
	// open returns a file and its size.
	open(name string, how access) (file, int64, error)
	remove(name string) error
	// sync makes it last which files there are.
	sync() error
}

// access is what a file is opened for.
type access int

const (
	toRead   access = iota
	toAppend        // reads and writes a file that is there
	toCreate        // makes it, or empties it
)

// file is an open segment. Sync makes what was written last.
type file interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Sync() error
}

const (
	filePermissions   = 0o640
	folderPermissions = 0o750
)

// errCannotCreate says that there is no folder and that it cannot be made now.
var errCannotCreate = errors.New("the folder is not there and cannot be made")

// enter makes the folder unless it is there, and locks it until leave is called or the process ends.
func enter(path string) (f folder, leave func() error, err error) {
	if err := os.MkdirAll(path, folderPermissions); err != nil {
		if _, missing := os.Stat(path); errors.Is(missing, fs.ErrNotExist) {
			return nil, nil, fmt.Errorf("%w: %w", errCannotCreate, err)
		}
		return nil, nil, err
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, nil, err
	}
	self, err := root.Open(".")
	if err != nil {
		return nil, nil, errors.Join(err, root.Close())
	}
	leave = func() error { return errors.Join(self.Close(), root.Close()) }
	if err := lock(self); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("lock %q: %w", path, err), leave())
	}
	return &directory{root, self}, leave, nil
}

// ErrInUse says that another queue, of this process or another one, has the folder.
var ErrInUse = errors.New("in use by another process: each sink needs a folder of its own, and each pipeline runs once")

// inheritance is how long a process that a killed one was just starting may hold its locks: until it
// runs its own program.
const inheritance = 3 * time.Second

func lock(f *os.File) error {
	for until := time.Now().Add(inheritance); ; time.Sleep(5 * time.Millisecond) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == unix.EINTR:
		case err != unix.EWOULDBLOCK:
			return err
		case time.Now().After(until):
			return ErrInUse
		}
	}
}

// directory is a folder of the file system. Links that lead out of it are not followed.
type directory struct {
	root *os.Root
	self *os.File
}

var _ folder = (*directory)(nil)

func (d *directory) names() ([]string, error) {
	f, err := d.root.Open(".")
	if err != nil {
		return nil, err
	}
	names, err := f.Readdirnames(-1)
	return names, errors.Join(err, f.Close())
}

func (d *directory) open(name string, how access) (file, int64, error) {
	flags := map[access]int{toRead: os.O_RDONLY, toAppend: os.O_RDWR, toCreate: os.O_RDWR | os.O_CREATE | os.O_TRUNC}[how]
	f, err := d.root.OpenFile(name, flags|unix.O_NONBLOCK, filePermissions) // not to wait at a pipe
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("open %q: not a regular file", name)
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return &segmentFile{f}, info.Size(), nil
}

func (d *directory) remove(name string) error { return d.root.Remove(name) }

func (d *directory) sync() error { return d.self.Sync() }

// segmentFile is a file whose Sync leaves out what reading it again does not need.
type segmentFile struct{ *os.File }

var _ file = (*segmentFile)(nil)

func (f *segmentFile) Sync() error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if err == unix.EINTR {
			continue
		}
		return os.NewSyscallError("fdatasync", err)
	}
}
