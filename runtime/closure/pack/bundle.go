package pack

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"sightline/runtime/closure"
)

// Bundle is a closure as a unikernel's image builder takes it.
type Bundle struct {
	Program string // the program, alone in its folder
	Root    string // a folder with everything else, as it shall be in the guest
}

// WriteBundle lays a closure out in the folder dir, which must not be there yet. There are no
// symbolic links in a bundle: what a link leads to is there under both names. All times are zero.
func WriteBundle(m *closure.Manifest, from closure.Contents, dir string) (Bundle, error) {
	plain := *m
	plain.Files = slices.Clone(m.Files)
	for i, f := range plain.Files {
		if f.Link == "" {
			continue
		}
		at := slices.IndexFunc(m.Files, func(g closure.File) bool { return g.Path == f.Target() })
		if at < 0 {
			return Bundle{}, fmt.Errorf("bundle: link %q leads to nothing", f.Path)
		}
		target := m.Files[at]
		target.Path, target.Kind = f.Path, f.Kind
		target.Executable = false
		plain.Files[i] = target
	}
	// What is only Contents is copied, never linked, so that times are those of the bundle.
	if err := closure.Materialise(&plain, struct{ closure.Contents }{from}, dir); err != nil {
		return Bundle{}, err
	}
	return splitBundle(dir)
}

// splitBundle moves the program out of the root.
func splitBundle(dir string) (b Bundle, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("bundle: %w", err), closure.RemoveTree(dir))
		}
	}()
	if err := os.Chmod(dir, 0o755); err != nil {
		return b, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return b, err
	}
	b = Bundle{Program: filepath.Join(dir, "program", filepath.Base(closure.ProgramPath)), Root: filepath.Join(dir, "root")}
	for _, sub := range []string{filepath.Dir(b.Program), b.Root} {
		if err := os.Mkdir(sub, 0o755); err != nil {
			return b, err
		}
	}
	for _, e := range entries {
		to := filepath.Join(b.Root, e.Name())
		if "/"+e.Name() == closure.ProgramPath {
			to = b.Program
		}
		if err := move(filepath.Join(dir, e.Name()), to, e.IsDir()); err != nil {
			return b, err
		}
	}
	return b, nil
}

// move renames; a folder must be writable to get another parent.
func move(from, to string, folder bool) error {
	if !folder {
		return os.Rename(from, to)
	}
	zero := time.Unix(0, 0)
	return errors.Join(os.Chmod(from, 0o755), os.Rename(from, to), os.Chtimes(to, zero, zero), os.Chmod(to, 0o555))
}
