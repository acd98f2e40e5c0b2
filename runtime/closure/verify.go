package closure

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
)

// Difference is one way in which a folder is not what a manifest says.
type Difference struct {
	Path   string // inside the closure
	Reason string
}

func (d *Difference) Error() string { return fmt.Sprintf("%q %s", d.Path, d.Reason) }

// VerifyTree compares a folder with the manifest, contents by their digests: nothing may be missing,
// changed, added, or have other permissions. It tells all differences, each as a *Difference.
func VerifyTree(m *Manifest, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("verify tree: %w", err)
	}
	defer root.Close()
	v := verifier{root: root, want: map[string]File{}, folders: map[string]bool{"/": true}}
	for _, f := range m.Files {
		v.want[f.Path] = f
	}
	for _, folder := range m.Folders() {
		v.folders[folder] = true
	}
	err = fs.WalkDir(root.FS(), ".", v.visit)
	for _, f := range m.Files {
		if _, missing := v.want[f.Path]; missing {
			v.differs(f.Path, "is missing")
		}
	}
	return errors.Join(append(v.errs, err)...)
}

type verifier struct {
	root    *os.Root
	want    map[string]File // not seen yet
	folders map[string]bool
	errs    []error
}

func (v *verifier) differs(p, reason string) {
	v.errs = append(v.errs, &Difference{p, reason})
}

func (v *verifier) visit(name string, entry fs.DirEntry, err error) error {
	if err != nil {
		return err
	}
	p := path.Join("/", name)
	if entry.IsDir() {
		if !v.folders[p] {
			v.differs(p, "is a folder that does not belong there")
			return fs.SkipDir
		}
		return v.mode(name, p, 0o555)
	}
	f, ok := v.want[p]
	if !ok {
		v.differs(p, "does not belong there")
		return nil
	}
	delete(v.want, p)
	if f.Link != "" {
		if target, err := v.root.Readlink(name); err != nil || target != f.Link {
			v.differs(p, fmt.Sprintf("is no link to %q", f.Link))
		}
		return nil
	}
	if !entry.Type().IsRegular() {
		v.differs(p, "is no regular file")
		return nil
	}
	return errors.Join(v.mode(name, p, fs.FileMode(f.Mode())), v.content(name, f))
}

func (v *verifier) mode(name, p string, want fs.FileMode) error {
	info, err := v.root.Lstat(name)
	if err == nil && info.Mode().Perm() != want {
		v.differs(p, fmt.Sprintf("has permissions %s, not %s", info.Mode().Perm(), want))
	}
	return err
}

func (v *verifier) content(name string, f File) error {
	file, err := v.root.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := Copy(io.Discard, opened{file}, f); err != nil {
		v.differs(f.Path, "was changed: "+err.Error())
	}
	return nil
}

// opened is a file as contents.
type opened struct{ file *os.File }

func (o opened) Open(Digest) (io.ReadCloser, error) { return io.NopCloser(o.file), nil }
