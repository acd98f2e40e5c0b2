package store

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"sightline/runtime/closure"
)

// TamperedError says that something in the store is not what its digest says.
type TamperedError struct {
	Closure closure.Digest
	What    string // "file", "manifest", "packing", "tree"
	Name    string // the path inside the closure, or of the packing
	Reason  string
}

func (e *TamperedError) Error() string {
	return fmt.Sprintf("%s %q of closure %s was changed: %s", e.What, e.Name, e.Closure, e.Reason)
}

// Manifest reads the manifest of a closure and checks it against the digest.
func (s *Store) Manifest(digest closure.Digest) (*closure.Manifest, error) {
	if err := digest.Check(); err != nil {
		return nil, err
	}
	file, err := os.Open(s.path(manifests, string(digest)))
	if err != nil {
		return nil, fmt.Errorf("read manifest of closure %s: %w", digest, err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, closure.MaxManifest+1))
	if err != nil {
		return nil, fmt.Errorf("read manifest of closure %s: %w", digest, err)
	}
	if got := closure.Sum(data); got != digest {
		return nil, &TamperedError{digest, "manifest", string(digest), "its digest is " + string(got)}
	}
	return closure.ParseManifest(data)
}

// Verify reads all that a closure consists of and compares it with its digests. It is to be called
// before every start. It tells every file that is changed or gone, each as a *TamperedError.
func (s *Store) Verify(digest closure.Digest) error {
	unlock, err := s.lock(unix.LOCK_SH)
	if err != nil {
		return err
	}
	defer unlock()
	m, err := s.Manifest(digest)
	if err != nil {
		return err
	}
	return s.verify(digest, m)
}

func (s *Store) verify(digest closure.Digest, m *closure.Manifest) error {
	var errs []error
	checked := map[closure.Digest]string{} // the reason, or "" when well
	for _, f := range m.Files {
		if f.Link != "" {
			continue
		}
		reason, done := checked[f.SHA256]
		if !done {
			reason = s.checkBlob(f)
			checked[f.SHA256] = reason
		}
		if reason != "" {
			errs = append(errs, &TamperedError{digest, "file", f.Path, reason})
		}
	}
	return errors.Join(errs...)
}

func (s *Store) checkBlob(f closure.File) string {
	got, size, err := hashFile(s.path(blobs, string(f.SHA256)))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "it is gone"
	case err != nil:
		return err.Error()
	case size != f.Size:
		return fmt.Sprintf("it has %d bytes, not %d", size, f.Size)
	case got != f.SHA256:
		return fmt.Sprintf("its digest is %s, not %s", got, f.SHA256)
	}
	return ""
}

// Open returns a content by its digest, as it is: who reads it must check the digest.
func (s *Store) Open(d closure.Digest) (io.ReadCloser, error) {
	if err := d.Check(); err != nil {
		return nil, err
	}
	return os.Open(s.path(blobs, string(d)))
}

var _ closure.Contents = (*Store)(nil)

func hashFile(name string) (closure.Digest, int64, error) {
	file, err := os.Open(name)
	if err != nil {
		return "", 0, err
	}
	defer file.Close()
	hash := sha256.New()
	size, err := io.Copy(hash, file)
	return closure.Digest(hex.EncodeToString(hash.Sum(nil))), size, err
}
