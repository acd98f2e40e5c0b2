package catalogue

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Store is a folder of models: NAME.onnx, NAME.yaml (its card) and the labels that the card names.
type Store struct{ Folder string }

// AbsentError is returned for a model that the store does not have.
type AbsentError struct{ Name, Folder string }

// Error says how to get the model, or what may have been meant.
func (e *AbsentError) Error() string {
	text := fmt.Sprintf("the model store %q has no model %q", e.Folder, e.Name)
	if _, known := Find(e.Name); known {
		return text + fmt.Sprintf(" (get it with `sightline models pull %s`)", e.Name)
	}
	return text + "; " + (&UnknownError{e.Name}).Error()
}

// IsName tells whether a word can be the name of a model in a store: it leads nowhere else.
func IsName(word string) bool {
	return regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`).MatchString(word) && !strings.HasSuffix(word, ".onnx")
}

// Path is where the store has a model, or would have it.
func (s Store) Path(name string) string { return filepath.Join(s.Folder, name+".onnx") }

// Find returns the path of a model that the store has. The model is not verified: that happens when it is loaded,
// since its card names its digest. The error is an *AbsentError or that of the file system.
func (s Store) Find(name string) (string, error) {
	if !IsName(name) {
		return "", fmt.Errorf("%q is not the name of a model", name)
	}
	path := s.Path(name)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", &AbsentError{name, s.Folder}
	case err != nil:
		return "", fmt.Errorf("model %q: %w", name, err)
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("model %q: %q is not a regular file", name, path)
	}
	return path, nil
}

// Names lists the models that the store has, by name. A store that does not exist has none.
func (s Store) Names() ([]string, error) {
	entries, err := os.ReadDir(s.Folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("model store: %w", err)
	}
	var names []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".onnx"); ok && IsName(name) && !e.IsDir() {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// Installed tells what of a model of the catalogue is in the store.
type Installed int

// What of a model is in the store.
const (
	Absent  Installed = iota // nothing
	Present                  // a file of its name and size
	Foreign                  // another file of its name
)

// State looks at the size alone, so that listing reads no model.
func (s Store) State(e Entry) Installed {
	info, err := os.Stat(s.Path(e.Name))
	switch {
	case err != nil:
		return Absent
	case info.Mode().IsRegular() && info.Size() == e.Size:
		return Present
	}
	return Foreign
}

// digest reads a file to its end.
func digest(f io.Reader) (string, error) {
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// digestOf is digest of a regular file of that size at most.
func digestOf(path string, size int64) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%q is not a regular file", path)
	}
	if info.Size() != size {
		return fmt.Sprintf("of another file (%d bytes)", info.Size()), nil
	}
	return digest(f)
}

// write puts a small file into the store, whole or not at all.
func (s Store) write(name string, content []byte) error {
	f, err := os.CreateTemp(s.Folder, "."+name+".*.new")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(content)
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), filepath.Join(s.Folder, name))
}

// sync makes what was renamed in the store last through a loss of power.
func (s Store) sync() error {
	folder, err := os.Open(s.Folder)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
