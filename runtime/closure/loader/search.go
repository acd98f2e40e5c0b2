package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// place is a path: below the loader's root, or of this machine as a whole.
type place struct {
	path   string
	rooted bool
}

func (p place) join(name string) place { return place{path.Join(p.path, name), p.rooted} }

// search is what is the same for all look-ups of one trace.
type search struct {
	root     string
	machine  Machine
	hwcaps   []string
	env      []place // where LD_LIBRARY_PATH is searched
	cache    map[string][]CacheEntry
	conf     []place // folders of ld.so.conf, where the cache says nothing about this machine
	defaults []place
	lib      string // what $LIB stands for
}

// triplets are the names of Debian's folders per machine.
func triplet(m Machine) (string, error) {
	switch m {
	case AMD64:
		return "x86_64-linux-gnu", nil
	case ARM64:
		return "aarch64-linux-gnu", nil
	}
	return "", fmt.Errorf("libraries for %s are not supported", m)
}

func newSearch(l *Loader, machine Machine) (*search, error) {
	s := &search{root: filepath.Clean("/" + l.Root), machine: machine, hwcaps: l.HWCaps}
	if l.Root != "" {
		abs, err := filepath.Abs(l.Root)
		if err != nil {
			return nil, err
		}
		s.root = abs
	}
	for _, dir := range l.Dirs {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return nil, err
		}
		s.env = append(s.env, place{path: abs})
	}
	multi, err := triplet(machine)
	if err != nil {
		return nil, err
	}
	s.setDefaults(multi)
	return s, s.readCache()
}

// setDefaults chooses the standard folders: those of Debian where they are, lib64 where that is, and
// what every loader has. Which of them the root's own loader has can't be told without running it.
func (s *search) setDefaults(multi string) {
	s.lib = "lib64"
	for _, dir := range []string{"/lib/" + multi, "/usr/lib/" + multi} {
		if _, err := resolveIn(s.root, dir); err == nil {
			s.lib = "lib/" + multi
		}
	}
	for _, dir := range []string{"/lib/" + multi, "/usr/lib/" + multi, "/lib64", "/usr/lib64", "/lib", "/usr/lib"} {
		s.defaults = append(s.defaults, place{dir, true})
	}
}

// readCache reads ld.so.cache or, where it has nothing for the machine (it is a foreign one, or the
// root was never booted), the folders that ld.so.conf names.
func (s *search) readCache() error {
	s.cache = map[string][]CacheEntry{}
	const name = "/etc/ld.so.cache"
	host, err := resolveIn(s.root, name)
	if err == nil {
		data, err := os.ReadFile(host)
		if err != nil {
			return fmt.Errorf("read library cache: %w", err)
		}
		entries, err := ParseCache(data)
		if err != nil {
			return fmt.Errorf("read %q: %w", host, err)
		}
		for _, e := range entries {
			if e.Machine == s.machine {
				s.cache[e.Name] = append(s.cache[e.Name], e)
			}
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("find library cache: %w", err)
	}
	if len(s.cache) > 0 {
		return nil
	}
	dirs, err := readConf(s.root, "/etc/ld.so.conf")
	for _, dir := range dirs {
		s.conf = append(s.conf, place{dir, true})
	}
	return err
}

// lookup is the search for one name.
type lookup struct {
	*search
	name   string
	by     *Library
	looked []string
	passed []string
	found  *Library
}

// find searches in the loader's order: ld.so(8), "resolves shared object dependencies".
func (s *search) find(name string, by, main *Library) (*Library, error) {
	l := &lookup{search: s, name: name, by: by}
	err := l.run(main)
	if err != nil {
		return nil, fmt.Errorf("library %q, needed by %q: %w", name, by.Path, err)
	}
	if l.found == nil {
		return nil, &MissingError{Name: name, NeededBy: by.Path, Looked: l.looked, Passed: l.passed}
	}
	return l.found, nil
}

func (l *lookup) run(main *Library) error {
	if strings.Contains(l.name, "/") {
		at := l.expand(l.name, l.by)
		l.looked = append(l.looked, at.path)
		return l.try(at)
	}
	steps := []func() error{
		func() error { return l.tryRPaths(main) },
		func() error { return l.tryDirs(l.env) },
		func() error { return l.tryPaths(l.by.Object.RunPath, l.by) },
		l.tryCache,
		func() error { return l.tryDirs(l.conf) },
		l.tryDefaults,
	}
	for _, step := range steps {
		if err := step(); err != nil || l.found != nil {
			return err
		}
	}
	return nil
}

// tryRPaths searches DT_RPATH of who asks, of who loaded that, up to the program; but none at all
// when who asks has DT_RUNPATH, and not those of objects that have it.
func (l *lookup) tryRPaths(main *Library) error {
	if l.by.Object.hasRunPath {
		return nil
	}
	chain := []*Library{}
	for at := l.by; at != nil; at = at.parent {
		chain = append(chain, at)
	}
	if !slices.Contains(chain, main) {
		chain = append(chain, main)
	}
	for _, at := range chain {
		if at.Object.hasRunPath {
			continue
		}
		if err := l.tryPaths(at.Object.RPath, at); err != nil || l.found != nil {
			return err
		}
	}
	return nil
}

func (l *lookup) tryPaths(paths []string, of *Library) error {
	dirs := make([]place, 0, len(paths))
	for _, p := range paths {
		if p != "" { // the loader takes the working folder, which a box has not
			dirs = append(dirs, l.expand(p, of))
		}
	}
	return l.tryDirs(dirs)
}

// expand replaces $ORIGIN, $LIB and $PLATFORM, with or without braces.
func (s *search) expand(text string, of *Library) place {
	rooted := true
	for _, token := range []string{"$ORIGIN", "${ORIGIN}"} {
		if strings.Contains(text, token) {
			rooted = of.found.rooted
			text = strings.ReplaceAll(text, token, path.Dir(of.found.path))
		}
	}
	platform := map[Machine]string{AMD64: "x86_64", ARM64: "aarch64"}[s.machine]
	text = strings.NewReplacer("${LIB}", s.lib, "$LIB", s.lib, "${PLATFORM}", platform, "$PLATFORM", platform).Replace(text)
	return place{path.Clean("/" + text), rooted}
}

func (l *lookup) tryDefaults() error {
	if l.by.Object.NoDefault {
		return nil
	}
	return l.tryDirs(l.defaults)
}

// tryDirs looks in each folder, in its glibc-hwcaps subfolders first.
func (l *lookup) tryDirs(dirs []place) error {
	for _, dir := range dirs {
		if !slices.Contains(l.looked, dir.path) {
			l.looked = append(l.looked, dir.path)
		}
		for _, sub := range l.hwcaps {
			if err := l.try(dir.join("glibc-hwcaps/" + sub).join(l.name)); err != nil || l.found != nil {
				return err
			}
		}
		if err := l.try(dir.join(l.name)); err != nil || l.found != nil {
			return err
		}
	}
	return nil
}

func (l *lookup) tryCache() error {
	if len(l.cache) > 0 {
		l.looked = append(l.looked, "/etc/ld.so.cache")
	}
	for _, e := range l.ranked(l.cache[l.name]) {
		at := place{path.Clean("/" + e.Path), true}
		if l.by.Object.NoDefault && slices.Contains(l.defaults, place{path.Dir(at.path), true}) {
			continue
		}
		if err := l.try(at); err != nil || l.found != nil {
			return err
		}
	}
	return nil
}

// ranked returns the usable ones of the entries for one name: wanted hwcaps in their order first.
func (s *search) ranked(entries []CacheEntry) []CacheEntry {
	var out []CacheEntry
	for _, want := range append(slices.Clip(s.hwcaps), "") {
		for _, e := range entries {
			if e.HWCap == want {
				out = append(out, e)
			}
		}
	}
	return out
}

// try takes the file as the library unless it isn't there or is for another machine. A file that
// is no ELF file at all ends the search with an error, as the loader does.
func (l *lookup) try(at place) error {
	host, err := l.resolve(at)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			l.passed = append(l.passed, fmt.Sprintf("%s: %v", at.path, err))
		}
		return nil
	}
	object, err := readFile(host)
	switch {
	case errors.Is(err, ErrForeign):
		l.passed = append(l.passed, fmt.Sprintf("%s: %v", host, err))
		return nil
	case err != nil:
		return fmt.Errorf("read %q: %w", host, err)
	case object.Machine != l.machine:
		l.passed = append(l.passed, fmt.Sprintf("%s: is for %s, not %s", host, object.Machine, l.machine))
		return nil
	}
	l.found = &Library{Names: []string{l.name}, Path: host, NeededBy: l.by.Path, Object: object, found: at, parent: l.by}
	return nil
}

func (s *search) resolve(p place) (string, error) {
	if p.rooted {
		return resolveIn(s.root, p.path)
	}
	return filepath.EvalSymlinks(p.path)
}
