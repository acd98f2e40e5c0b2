package closure

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode/utf8"
)

// Check tells all that is wrong with the manifest: paths that are no clean absolute ones, twice
// there or below a file, links that lead to no file of the closure, no program, bad digests.
func (m *Manifest) Check() error {
	var errs []error
	if m.Version != Version {
		errs = append(errs, fmt.Errorf("manifest of version %d, not %d", m.Version, Version))
	}
	if !slices.Contains([]string{"linux/amd64", "linux/arm64"}, m.Platform) {
		errs = append(errs, fmt.Errorf("platform %q is not supported", m.Platform))
	}
	if len(m.Files) > MaxFiles {
		return fmt.Errorf("%d files, more than %d", len(m.Files), MaxFiles)
	}
	if !slices.IsSortedFunc(m.Files, func(a, b File) int { return strings.Compare(a.Path, b.Path) }) {
		errs = append(errs, errors.New("files are not sorted by path"))
	}
	byPath := make(map[string]File, len(m.Files))
	for _, f := range m.Files {
		if _, twice := byPath[f.Path]; twice {
			errs = append(errs, fmt.Errorf("file %q is there twice", f.Path))
		}
		byPath[f.Path] = f
	}
	for _, f := range m.Files {
		if err := f.check(byPath); err != nil {
			errs = append(errs, fmt.Errorf("file %q: %w", f.Path, err))
		}
	}
	return errors.Join(append(errs, m.checkRoles(byPath)...)...)
}

func (m *Manifest) checkRoles(byPath map[string]File) (errs []error) {
	if f := byPath[ProgramPath]; !m.dataAlone() && (f.Kind != Program || f.Link != "" || !f.Executable) {
		errs = append(errs, fmt.Errorf("no program at %q", ProgramPath))
	}
	if f := byPath[m.Interpreter]; m.Interpreter != "" && (f.Kind != Interpreter || f.Link != "" || !f.Executable) {
		errs = append(errs, fmt.Errorf("no interpreter at %q", m.Interpreter))
	}
	for _, p := range m.RPath {
		if f, ok := byPath[p]; !ok || f.Link != "" {
			errs = append(errs, fmt.Errorf("rpath of %q, which is not there", p))
		}
	}
	if !slices.IsSorted(m.RPath) {
		errs = append(errs, errors.New("rpath is not sorted"))
	}
	return errs
}

// dataAlone tells whether there is nothing to run: a closure of data is for a stage in place.
func (m *Manifest) dataAlone() bool {
	other := func(f File) bool { return f.Kind != Data }
	return len(m.Files) > 0 && m.Interpreter == "" && !slices.ContainsFunc(m.Files, other)
}

func (f File) check(byPath map[string]File) error {
	if err := CheckPath(f.Path); err != nil {
		return err
	}
	for dir := path.Dir(f.Path); dir != "/"; dir = path.Dir(dir) {
		if _, file := byPath[dir]; file {
			return fmt.Errorf("is below %q, which is no folder", dir)
		}
	}
	if !slices.Contains([]Kind{Program, Interpreter, Library, Opened, Data, Certificates, LoaderCache}, f.Kind) {
		return fmt.Errorf("kind %q is unknown", f.Kind)
	}
	if f.Link == "" {
		if f.Size < 0 {
			return fmt.Errorf("size %d", f.Size)
		}
		return f.SHA256.Check()
	}
	return f.checkLink(byPath)
}

func (f File) checkLink(byPath map[string]File) error {
	if f.SHA256 != "" || f.Size != 0 || f.Executable {
		return errors.New("is a link and yet a file")
	}
	if path.IsAbs(f.Link) || f.Link != path.Clean(f.Link) || strings.Count(f.Link, "..") > strings.Count(f.Path, "/")-1 {
		return fmt.Errorf("link %q leads out", f.Link)
	}
	if target, ok := byPath[f.Target()]; !ok || target.Link != "" {
		return fmt.Errorf("link %q leads to no file of the closure", f.Link)
	}
	return nil
}

// CheckPath returns an error unless p is a path that a closure may have: absolute, clean, of
// printable UTF-8, not the root itself, not below /proc, /sys or /dev.
func CheckPath(p string) error {
	if !path.IsAbs(p) || path.Clean(p) != p || p == "/" {
		return errors.New("is not a clean absolute path")
	}
	if len(p) > maxPath || !utf8.ValidString(p) || strings.ContainsFunc(p, func(r rune) bool { return r < ' ' || r == 0x7f || r == utf8.RuneError }) {
		return fmt.Errorf("is longer than %d bytes or not printable", maxPath)
	}
	parts := strings.Split(p[1:], "/")
	if slices.ContainsFunc(parts, func(part string) bool { return len(part) > 255 }) {
		return errors.New("has a part of more than 255 bytes")
	}
	if slices.Contains([]string{"proc", "sys", "dev"}, parts[0]) {
		return fmt.Errorf("is in /%s, which the system owns", parts[0])
	}
	return nil
}
