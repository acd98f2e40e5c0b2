package closure

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Linker is a store of contents that can give a content as a hard link.
type Linker interface {
	// Link makes a hard link, named at, to the read-only content. The error is one of link(2).
	Link(d Digest, at string) error
}

// DraftSuffix follows the name of a folder that Materialise has not completed; something random
// follows it.
const DraftSuffix = ".draft-"

// Materialise lays a closure out in the folder dir, which must not be there yet: read-only files in
// read-only folders. It is complete and on the disk or not there at all, after a power cut too; a
// kill leaves a draft beside it. Files that are not executable are hard links where from is a Linker
// and the file system allows; all others are copies with their times at zero. Nothing is written
// outside of dir, whatever m says.
func Materialise(m *Manifest, from Contents, dir string) (err error) {
	if err := m.Check(); err != nil {
		return fmt.Errorf("lay out closure: %w", err)
	}
	if _, err := os.Lstat(dir); err == nil {
		return fmt.Errorf("lay out closure: %w", &fs.PathError{Op: "make", Path: dir, Err: fs.ErrExist})
	}
	parent, name := filepath.Split(filepath.Clean(dir))
	if parent == "" {
		parent = "."
	}
	draft, err := os.MkdirTemp(parent, name+DraftSuffix)
	if err != nil {
		return fmt.Errorf("lay out closure: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("lay out closure: %w", err), RemoveTree(draft))
		}
	}()
	if err := layOut(m, from, draft); err != nil {
		return err
	}
	return os.Rename(draft, dir)
}

func layOut(m *Manifest, from Contents, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	folders := m.Folders()
	for _, folder := range folders {
		if err := root.Mkdir(folder[1:], 0o755); err != nil {
			return err
		}
	}
	for _, f := range m.Files {
		if err := layOutFile(root, from, f); err != nil {
			return err
		}
	}
	for _, folder := range slices.Backward(folders) {
		if err := sealFolder(root, folder[1:]); err != nil {
			return err
		}
	}
	return sealFolder(root, ".")
}

func sealFolder(root *os.Root, name string) error {
	if err := seal(root, name, 0o555); err != nil {
		return err
	}
	dir, err := root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func layOutFile(root *os.Root, from Contents, f File) error {
	name := f.Path[1:]
	if f.Link != "" {
		return root.Symlink(f.Link, name)
	}
	if linker, ok := from.(Linker); ok && !f.Executable {
		// The folders were made just now by us, and are ours alone until the tree has its name.
		if linker.Link(f.SHA256, filepath.Join(root.Name(), name)) == nil {
			return nil
		}
	}
	file, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = Copy(file, from, f)
	if err == nil {
		err = file.Sync()
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	return seal(root, name, fs.FileMode(f.Mode()))
}

func seal(root *os.Root, name string, mode fs.FileMode) error {
	zero := time.Unix(0, 0)
	return errors.Join(root.Chtimes(name, zero, zero), root.Chmod(name, mode))
}

// RemoveTree takes a folder made by Materialise away, read-only as it is. One that isn't there is no error.
func RemoveTree(dir string) error {
	err := filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			return os.Chmod(name, 0o755)
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(err, os.RemoveAll(dir))
}
