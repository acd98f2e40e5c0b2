// Package store keeps closures on disk by their digests: each content once, written so that a kill
// or a power cut at any point leaves a store that opens, and checked whenever it is used.
//
// A store is a folder:
//
//	blobs/<digest>                contents, read-only
//	manifests/<digest>            encoded manifests
//	pins/<name>                   the digest that the name keeps
//	trees/<digest>/               closures laid out as folders
//	packs/<digest>-<key>          packings; <digest>-<key>.sum is the digest of the bytes
//	tmp/                          what is being written
//	lock                          held shared by all use, alone by Collect
//
// Several processes may use one store at once.
package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"sightline/runtime/closure"
)

// The folders of a store.
const (
	blobs     = "blobs"
	manifests = "manifests"
	pins      = "pins"
	trees     = "trees"
	packs     = "packs"
	temporary = "tmp"
	lockFile  = "lock"
)

// Store is an open store. Its methods may be called from several goroutines.
type Store struct {
	dir  string
	step func() // tests end the process here; nil otherwise
}

// Open opens the store in the folder dir, which it makes if need be, and clears away what a killed
// process left half-written, unless another process is using the store.
func Open(dir string) (*Store, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	s := &Store{dir: abs}
	for _, sub := range []string{blobs, manifests, pins, trees, packs, temporary} {
		if err := os.MkdirAll(s.path(sub), 0o755); err != nil {
			return nil, fmt.Errorf("open store: %w", s.space(err))
		}
	}
	if err := syncFolder(abs); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	unlock, err := s.lock(unix.LOCK_EX | unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	defer unlock()
	if _, err := s.clearTemporary(); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	return s, nil
}

func (s *Store) path(parts ...string) string {
	return filepath.Join(append([]string{s.dir}, parts...)...)
}

// lock takes the store's lock, shared or alone. Locks go with the open file, so goroutines of one
// process exclude each other as processes do, and a killed process holds none.
func (s *Store) lock(how int) (unlock func(), err error) {
	file, err := os.OpenFile(s.path(lockFile), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock store: %w", s.space(err))
	}
	for {
		err = unix.Flock(int(file.Fd()), how)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock store %q: %w", s.dir, err), file.Close())
	}
	return func() { _ = file.Close() }, nil // closing unlocks
}

// Put writes a closure and pins it under a name (see Pin), so that no Collect can come between. What
// is there already is not written again, but checked, and mended if it was changed. When Put
// returns, all of it is on the disk.
func (s *Store) Put(c *closure.Closure, pin string) (closure.Digest, error) {
	unlock, err := s.lock(unix.LOCK_SH)
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := s.pinPath(pin); err != nil {
		return "", fmt.Errorf("store closure: %w", err)
	}
	data, err := c.Manifest.Encode()
	if err != nil {
		return "", fmt.Errorf("store closure: %w", err)
	}
	digest := closure.Sum(data)
	if err := s.putBlobs(c); err != nil {
		return "", fmt.Errorf("store closure %s: %w", digest, err)
	}
	if err := s.putManifest(digest, data); err != nil {
		return "", fmt.Errorf("store closure %s: %w", digest, err)
	}
	return digest, s.pin(pin, digest)
}

func (s *Store) putBlobs(c *closure.Closure) error {
	done := map[closure.Digest]bool{}
	for _, f := range c.Manifest.Files {
		if f.Link != "" || done[f.SHA256] {
			continue
		}
		done[f.SHA256] = true
		if err := s.putBlob(c, f); err != nil {
			return fmt.Errorf("file %q: %w", f.Path, err)
		}
	}
	return syncFolder(s.path(blobs))
}

func (s *Store) putBlob(from closure.Contents, f closure.File) error {
	at := s.path(blobs, string(f.SHA256))
	if got, _, err := hashFile(at); err == nil && got == f.SHA256 {
		return os.Chmod(at, 0o444)
	}
	return s.write(at, func(w io.Writer) error { return closure.Copy(w, from, f) })
}

func (s *Store) putManifest(digest closure.Digest, data []byte) error {
	at := s.path(manifests, string(digest))
	if have, err := os.ReadFile(at); err == nil && closure.Sum(have) == digest {
		return nil
	}
	err := s.write(at, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
	return errors.Join(err, syncFolder(s.path(manifests)))
}

// write makes a read-only file that is at its place whole or not at all. The folder is for the
// caller to sync.
func (s *Store) write(at string, fill func(io.Writer) error) (err error) {
	s.stepped()
	file, err := os.CreateTemp(s.path(temporary), "write-")
	if err != nil {
		return s.space(err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(s.space(err), file.Close(), os.Remove(file.Name()))
		}
	}()
	s.stepped()
	if err := fill(file); err != nil {
		return err
	}
	s.stepped()
	if err := errors.Join(file.Chmod(0o444), file.Sync()); err != nil {
		return err
	}
	s.stepped()
	if err := os.Rename(file.Name(), at); err != nil {
		return err
	}
	s.stepped()
	_ = file.Close() // read back by digest whenever it is used
	return nil
}

func (s *Store) stepped() {
	if s.step != nil {
		s.step()
	}
}

// space says what is wrong in words when the disk is full.
func (s *Store) space(err error) error {
	if !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EDQUOT) {
		return err
	}
	var at unix.Statfs_t
	if unix.Statfs(s.dir, &at) != nil {
		return fmt.Errorf("the disk of %q is full: %w", s.dir, err)
	}
	return fmt.Errorf("the disk of %q is full (%d bytes free): %w", s.dir, at.Bavail*uint64(at.Bsize), err)
}

func syncFolder(name string) error {
	dir, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
