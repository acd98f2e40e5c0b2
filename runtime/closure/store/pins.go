package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"

	"sightline/runtime/closure"
)

// pinName is what a pin may be called; "@" divides in its file's name what "/" divides here.
var pinName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*$`)

const maxPinName = 200

// Pin keeps a closure from being collected for as long as the name points at it. The supervisor
// pins, say, "front-gate/scene/current" and "front-gate/scene/last-good". A pin that was there
// is moved, at once and on the disk when Pin returns.
func (s *Store) Pin(name string, digest closure.Digest) error {
	unlock, err := s.lock(unix.LOCK_SH)
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := s.Manifest(digest); err != nil {
		return fmt.Errorf("pin %q: %w", name, err)
	}
	return s.pin(name, digest)
}

func (s *Store) pin(name string, digest closure.Digest) error {
	at, err := s.pinPath(name)
	if err != nil {
		return err
	}
	err = s.write(at, func(w io.Writer) error {
		_, err := io.WriteString(w, string(digest)+"\n")
		return err
	})
	if err = errors.Join(err, syncFolder(s.path(pins))); err != nil {
		return fmt.Errorf("pin %q: %w", name, err)
	}
	return nil
}

// Unpin takes a pin away. One that isn't there is no error.
func (s *Store) Unpin(name string) error {
	unlock, err := s.lock(unix.LOCK_SH)
	if err != nil {
		return err
	}
	defer unlock()
	at, err := s.pinPath(name)
	if err != nil {
		return err
	}
	if err := os.Remove(at); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("unpin %q: %w", name, err)
	}
	return syncFolder(s.path(pins))
}

// Pins returns all pins by their names. A pin that can't be read is an error, so that Collect never
// takes it for none.
func (s *Store) Pins() (map[string]closure.Digest, error) {
	entries, err := os.ReadDir(s.path(pins))
	if err != nil {
		return nil, fmt.Errorf("read pins: %w", err)
	}
	all := make(map[string]closure.Digest, len(entries))
	for _, e := range entries {
		data, err := os.ReadFile(s.path(pins, e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // taken away just now
		}
		if err != nil {
			return nil, fmt.Errorf("read pins: %w", err)
		}
		name := strings.ReplaceAll(e.Name(), "@", "/")
		digest := closure.Digest(strings.TrimSuffix(string(data), "\n"))
		if err := digest.Check(); err != nil {
			return nil, fmt.Errorf("read pin %q: %w", name, err)
		}
		all[name] = digest
	}
	return all, nil
}

func (s *Store) pinPath(name string) (string, error) {
	if !pinName.MatchString(name) || len(name) > maxPinName {
		return "", fmt.Errorf("%q is no name for a pin", name)
	}
	return s.path(pins, strings.ReplaceAll(name, "/", "@")), nil
}

// Freed says what Collect took away.
type Freed struct {
	Closures  int // manifests
	Files     int // contents
	Packings  int
	Trees     int
	Leftovers int // half-written by a process that was killed
	Bytes     int64
}

// Collect takes away all that no pin keeps. It waits until nobody else uses the store. A pinned
// closure whose manifest is damaged stops it: what that closure consists of is not known then.
func (s *Store) Collect() (Freed, error) {
	unlock, err := s.lock(unix.LOCK_EX)
	if err != nil {
		return Freed{}, err
	}
	defer unlock()
	keep, err := s.pinned()
	if err != nil {
		return Freed{}, fmt.Errorf("collect: %w", err)
	}
	return s.sweep(keep)
}

// pinned returns the names of all files to keep: digests of manifests and of contents.
func (s *Store) pinned() (map[string]bool, error) {
	all, err := s.Pins()
	if err != nil {
		return nil, err
	}
	keep := map[string]bool{}
	for name, digest := range all {
		m, err := s.Manifest(digest)
		if err != nil {
			return nil, fmt.Errorf("pin %q: %w", name, err)
		}
		keep[string(digest)] = true
		for _, f := range m.Files {
			keep[string(f.SHA256)] = true
		}
	}
	return keep, nil
}

// sweep goes from what depends to what is depended on, so that a kill in between leaves nothing
// that points at nothing.
func (s *Store) sweep(keep map[string]bool) (freed Freed, err error) {
	for _, part := range []struct {
		folder string
		count  *int
	}{{trees, &freed.Trees}, {packs, &freed.Packings}, {manifests, &freed.Closures}, {blobs, &freed.Files}} {
		entries, err := os.ReadDir(s.path(part.folder))
		if err != nil {
			return freed, fmt.Errorf("collect: %w", err)
		}
		for _, e := range entries {
			of, _, _ := strings.Cut(e.Name(), "-")
			if keep[of] || strings.Contains(e.Name(), closure.DraftSuffix) {
				continue
			}
			s.stepped()
			size, err := remove(s.path(part.folder, e.Name()))
			if err != nil {
				return freed, fmt.Errorf("collect: %w", err)
			}
			freed.Bytes += size
			if !strings.HasSuffix(e.Name(), sumSuffix) {
				*part.count++
			}
		}
		if err := syncFolder(s.path(part.folder)); err != nil {
			return freed, fmt.Errorf("collect: %w", err)
		}
	}
	freed.Leftovers, err = s.clearTemporary()
	return freed, err
}

// clearTemporary is called with the lock held alone: nobody is writing.
func (s *Store) clearTemporary() (int, error) {
	var left []string
	for _, pattern := range []string{s.path(temporary, "*"), s.path(trees, "*"+closure.DraftSuffix+"*")} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			return 0, err
		}
		left = append(left, names...)
	}
	for _, name := range left {
		if _, err := remove(name); err != nil {
			return 0, err
		}
	}
	return len(left), nil
}

// remove takes a file or a read-only folder away and returns how many bytes its files had that
// nothing else holds.
func remove(name string) (size int64, err error) {
	err = filepath.WalkDir(name, func(at string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return os.Chmod(at, 0o755)
		}
		var info unix.Stat_t
		if err := unix.Lstat(at, &info); err != nil {
			return &fs.PathError{Op: "lstat", Path: at, Err: err}
		}
		if info.Nlink == 1 {
			size += info.Size
		}
		return nil
	})
	return size, errors.Join(err, os.RemoveAll(name))
}
