package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"

	"golang.org/x/sys/unix"

	"sightline/runtime/closure"
)

const sumSuffix = ".sum"

// Link makes a hard link to a content.
func (s *Store) Link(d closure.Digest, at string) error {
	if err := d.Check(); err != nil {
		return err
	}
	return os.Link(s.path(blobs, string(d)), at)
}

var _ closure.Linker = (*Store)(nil)

// Tree returns a folder in which the closure is laid out, made when it isn't there, and verified,
// file by file, at every call. It stays until the closure is collected; nobody writes to it.
func (s *Store) Tree(digest closure.Digest) (string, error) {
	unlock, err := s.lock(unix.LOCK_SH)
	if err != nil {
		return "", err
	}
	defer unlock()
	m, err := s.Manifest(digest)
	if err != nil {
		return "", err
	}
	at := s.path(trees, string(digest))
	if _, err := os.Lstat(at); err == nil {
		return at, s.verifyTree(digest, m, at)
	}
	made, err := s.makeTree(m, at)
	if err == nil {
		err = s.verifyTree(digest, m, at)
	} else {
		err = fmt.Errorf("closure %s: %w", digest, s.space(err))
	}
	if err == nil {
		return at, nil
	}
	if changed := s.verify(digest, m); changed != nil { // it is the contents that a tree was made of
		err = changed
	}
	if made {
		err = errors.Join(err, closure.RemoveTree(at))
	}
	return "", err
}

// makeTree lays out beside its place, as a read-only folder can't be moved to another parent; what a
// kill leaves there is cleared away with the rest.
func (s *Store) makeTree(m *closure.Manifest, at string) (made bool, err error) {
	s.stepped()
	err = closure.Materialise(m, s, at)
	s.stepped()
	if errors.Is(err, fs.ErrExist) || errors.Is(err, unix.ENOTEMPTY) {
		return false, nil // another process was faster
	}
	return err == nil, err
}

func (s *Store) verifyTree(digest closure.Digest, m *closure.Manifest, at string) error {
	err := closure.VerifyTree(m, at)
	if err == nil {
		return nil
	}
	var errs []error
	for _, e := range flatten(err) {
		var d *closure.Difference
		if !errors.As(e, &d) {
			return e
		}
		errs = append(errs, &TamperedError{digest, "file", d.Path, "in its tree it " + d.Reason})
	}
	return errors.Join(errs...)
}

func flatten(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

// DropTree takes the laid out folder of a closure away, so that the next Tree makes it anew.
func (s *Store) DropTree(digest closure.Digest) error {
	if err := digest.Check(); err != nil {
		return err
	}
	return closure.RemoveTree(s.path(trees, string(digest)))
}

// Packing turns a closure into one file. The same closure and the same key give the same bytes.
type Packing interface {
	// Key tells this packing and its settings from all others: lower-case letters, digits and dots.
	Key() (string, error)
	// Pack writes the file. It refuses contents that are not what the manifest says.
	Pack(w io.Writer, m *closure.Manifest, from closure.Contents) error
}

// Packed is a packing in the store.
type Packed struct {
	Path   string         `json:"-"` // stays until the closure is collected; read-only
	SHA256 closure.Digest `json:"sha256"`
	Size   int64          `json:"size"`
}

var packKey = regexp.MustCompile(`^[a-z0-9.]{1,160}$`)

// Pack returns the packing of a closure, made when it isn't there. One that is there is compared
// with the digest it had when it was made; one that was changed is a *TamperedError.
func (s *Store) Pack(digest closure.Digest, p Packing) (Packed, error) {
	unlock, err := s.lock(unix.LOCK_SH)
	if err != nil {
		return Packed{}, err
	}
	defer unlock()
	m, err := s.Manifest(digest)
	if err != nil {
		return Packed{}, err
	}
	key, err := p.Key()
	if err != nil {
		return Packed{}, fmt.Errorf("pack closure %s: %w", digest, err)
	}
	if !packKey.MatchString(key) {
		return Packed{}, fmt.Errorf("pack closure %s: %q is no key of a packing", digest, key)
	}
	at := s.path(packs, string(digest)+"-"+key)
	if packed, ok := s.packed(at); ok {
		return packed, checkPacked(digest, packed)
	}
	packed, err := s.pack(at, m, p)
	if err == nil {
		return packed, nil
	}
	if changed := s.verify(digest, m); changed != nil { // the packing has refused it
		return Packed{}, changed
	}
	return Packed{}, fmt.Errorf("pack closure %s: %w", digest, err)
}

// packed reads the note about a packing; without one, it was never completed.
func (s *Store) packed(at string) (Packed, bool) {
	packed := Packed{Path: at}
	data, err := os.ReadFile(at + sumSuffix)
	if err != nil || json.Unmarshal(data, &packed) != nil || packed.SHA256.Check() != nil {
		return packed, false
	}
	_, err = os.Lstat(at)
	return packed, err == nil
}

func checkPacked(digest closure.Digest, packed Packed) error {
	got, size, err := hashFile(packed.Path)
	if err != nil {
		return fmt.Errorf("verify packing of closure %s: %w", digest, err)
	}
	if got != packed.SHA256 || size != packed.Size {
		return &TamperedError{digest, "packing", packed.Path, fmt.Sprintf("its digest is %s, not %s", got, packed.SHA256)}
	}
	return nil
}

func (s *Store) pack(at string, m *closure.Manifest, p Packing) (Packed, error) {
	if err := s.write(at, func(w io.Writer) error { return p.Pack(w, m, s) }); err != nil {
		return Packed{}, err
	}
	sum, size, err := hashFile(at)
	if err != nil {
		return Packed{}, err
	}
	packed := Packed{Path: at, SHA256: sum, Size: size}
	note, err := json.Marshal(packed)
	if err != nil {
		return Packed{}, err
	}
	err = s.write(at+sumSuffix, func(w io.Writer) error {
		_, err := w.Write(note)
		return err
	})
	return packed, errors.Join(err, syncFolder(s.path(packs)))
}

// DropPacking takes a packing away, so that the next Pack makes it anew.
func (s *Store) DropPacking(digest closure.Digest, p Packing) error {
	key, err := p.Key()
	if err != nil || !packKey.MatchString(key) || digest.Check() != nil {
		return errors.Join(fmt.Errorf("drop packing %q of %q", key, digest), err)
	}
	at := s.path(packs, string(digest)+"-"+key)
	for _, name := range []string{at + sumSuffix, at} {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("drop packing: %w", err)
		}
	}
	return nil
}
