package catalogue

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// part is what was fetched of a file so far, under a name that holds its digest: what lies there is never taken for a
// part of another file. It is locked, so that two pulls do not write into it.
type part struct {
	*os.File
	store Store
	size  int64 // bytes that are there
}

func openPart(s Store, e Entry) (*part, error) {
	path := filepath.Join(s.Folder, fmt.Sprintf(".%s.%s.part", e.Name, e.SHA256[:12]))
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o644)
	if err != nil {
		return nil, fmt.Errorf("model store: %w", err)
	}
	p := &part{File: f, store: s}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("another pull of it is under way (%q is locked: %w)", path, err), f.Close())
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(fmt.Errorf("%q is not a regular file", path), err, f.Close())
	}
	if p.size = info.Size(); p.size > e.Size {
		return p, p.clear()
	}
	return p, nil
}

// clear forgets what was fetched.
func (p *part) clear() error {
	p.size = 0
	if err := p.Truncate(0); err != nil {
		return fmt.Errorf("start anew: %w", err)
	}
	return nil
}

// Write appends.
func (p *part) Write(b []byte) (int, error) {
	n, err := p.WriteAt(b, p.size)
	p.size += int64(n)
	return n, err
}

// digest reads back what lies on the disk.
func (p *part) digest() (string, error) {
	return digest(io.NewSectionReader(p.File, 0, p.size))
}

// room tells how much is lacking on the disk for the rest of the file.
func (p *part) room(size int64) error {
	var at unix.Statfs_t
	if err := unix.Fstatfs(int(p.Fd()), &at); err != nil {
		return fmt.Errorf("look how much room the model store %q has: %w", p.store.Folder, err)
	}
	free, rest := int64(at.Bavail)*at.Bsize, size-p.size
	if free < rest {
		return fmt.Errorf("the model store %q has %s free, and %s are still to come: make room, or name another folder with SIGHTLINE_MODELS",
			p.store.Folder, bytesText(free), bytesText(rest))
	}
	return nil
}

// finish gives the file its name, once it is on the disk.
func (p *part) finish(path string) error {
	if err := p.Sync(); err != nil {
		return fmt.Errorf("write the model: %w", err)
	}
	if err := os.Rename(p.Name(), path); err != nil {
		return fmt.Errorf("name the model: %w", err)
	}
	if err := p.store.sync(); err != nil {
		return fmt.Errorf("write the model store: %w", err)
	}
	return nil
}

// drop removes the file: what it was for is there.
func (p *part) drop() error {
	if err := os.Remove(p.Name()); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// close gives up the lock. A file with nothing in it is not left behind.
func (p *part) close() {
	if info, err := os.Lstat(p.Name()); err == nil && info.Size() == 0 {
		os.Remove(p.Name())
	}
	p.Close()
}

// bytesText is a number of bytes for people.
func bytesText(n int64) string {
	if n < 1e6 {
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}
