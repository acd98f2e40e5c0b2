// Package loader finds the shared libraries of a program the way glibc's dynamic loader would
// (ld.so(8)), without running anything, so also for another machine below another root.
package loader

import (
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
)

// Loader looks for libraries below one root. It keeps nothing between calls of Trace.
type Loader struct {
	// Root is the folder that paths such as /lib and /etc/ld.so.cache are below; "" is "/".
	Root string
	// Dirs are folders of this machine (not below Root) that are searched where the loader would
	// search LD_LIBRARY_PATH.
	Dirs []string
	// HWCaps are the glibc-hwcaps subfolders to prefer, best first, such as "x86-64-v3". None gives
	// the libraries that run on every CPU of the machine's kind.
	HWCaps []string
}

// Library is one file that the loader would map.
type Library struct {
	// Names are those it was asked for by, the first one first: "libc.so.6". A name with a slash
	// was asked for by its path.
	Names []string
	// Path is where it is on this machine, symbolic links resolved.
	Path string
	// NeededBy is the path of the first that asked for it; "" for the interpreter.
	NeededBy string
	Object   *Object
	// Opened tells that it was named to Trace as one that the program opens by itself.
	Opened bool

	found  place
	parent *Library
}

// Result is what Trace found.
type Result struct {
	Program     *Object
	Interpreter *Library   // nil when the program is static
	Libraries   []*Library // in the order of loading, without the interpreter
}

// MissingError says which library was not found, for whom, and where it was looked for.
type MissingError struct {
	Name     string
	NeededBy string
	Looked   []string // folders and files, in the order of looking
	Passed   []string // files of that name that were passed over, with the reason
}

func (e *MissingError) Error() string {
	text := fmt.Sprintf("library %q, needed by %q, is in none of %q", e.Name, e.NeededBy, e.Looked)
	if len(e.Passed) > 0 {
		text += fmt.Sprintf(" (passed over: %q)", e.Passed)
	}
	return text
}

// Trace returns the program's interpreter and all libraries that it needs, and those that the
// libraries in opened need, breadth first. Both name files of this machine. All that is missing or
// too old is told in one error, each as a *MissingError or a *VersionError.
func (l *Loader) Trace(program string, opened []string) (*Result, error) {
	real, err := filepath.EvalSymlinks(program)
	if err != nil {
		return nil, fmt.Errorf("find program: %w", err)
	}
	if real, err = filepath.Abs(real); err != nil {
		return nil, fmt.Errorf("find program: %w", err)
	}
	object, err := readFile(real)
	if err != nil {
		return nil, fmt.Errorf("read program %q: %w", program, err)
	}
	t := &trace{loader: l, main: &Library{Path: real, Object: object, found: place{path: real}}}
	if err := t.begin(); err != nil {
		return nil, err
	}
	t.open(opened)
	t.walk()
	t.checkVersions()
	if err := errors.Join(t.errs...); err != nil {
		return nil, err
	}
	return &Result{Program: object, Interpreter: t.interpreter, Libraries: t.loaded}, nil
}

type trace struct {
	loader      *Loader
	main        *Library
	interpreter *Library
	loaded      []*Library
	search      *search
	errs        []error
}

// begin reads the interpreter and the search configuration below the root.
func (t *trace) begin() error {
	object := t.main.Object
	if object.Interpreter == "" {
		if len(object.Needed) > 0 {
			return fmt.Errorf("program %q needs libraries but names no interpreter", t.main.Path)
		}
		return nil
	}
	var err error
	if t.search, err = newSearch(t.loader, object.Machine); err != nil {
		return err
	}
	at := place{path: path.Clean("/" + object.Interpreter), rooted: true}
	host, err := t.search.resolve(at)
	if err != nil {
		return fmt.Errorf("interpreter %q of program %q: %w", object.Interpreter, t.main.Path, err)
	}
	found, err := readFile(host)
	if err != nil {
		return fmt.Errorf("read interpreter %q: %w", host, err)
	}
	if found.Machine != object.Machine {
		return fmt.Errorf("interpreter %q is for %s, program %q for %s", host, found.Machine, t.main.Path, object.Machine)
	}
	t.interpreter = &Library{Path: host, Object: found, found: at, Names: []string{path.Base(at.path)}}
	return nil
}

// open takes the libraries that the program opens by itself as loaded, in their order.
func (t *trace) open(names []string) {
	for _, name := range names {
		if t.interpreter == nil {
			t.errs = append(t.errs, fmt.Errorf("open %q: program %q is static and can open no library", name, t.main.Path))
			continue
		}
		lib, err := t.openOne(name)
		if err != nil {
			t.errs = append(t.errs, fmt.Errorf("open library %q: %w", name, err))
			continue
		}
		t.loaded = append(t.loaded, lib)
	}
}

func (t *trace) openOne(name string) (*Library, error) {
	found, err := filepath.Abs(name)
	if err != nil {
		return nil, err
	}
	host, err := filepath.EvalSymlinks(found)
	if err != nil {
		return nil, err
	}
	object, err := readFile(host)
	if err != nil {
		return nil, err
	}
	if object.Machine != t.main.Object.Machine {
		return nil, fmt.Errorf("is for %s, program %q for %s", object.Machine, t.main.Path, t.main.Object.Machine)
	}
	return &Library{Names: []string{name}, Path: host, NeededBy: t.main.Path, Object: object, Opened: true,
		found: place{path: found}, parent: t.main}, nil
}

// walk loads what the program needs, then what those need, and so on.
func (t *trace) walk() {
	if t.interpreter == nil {
		return
	}
	opened := slices.Clone(t.loaded)
	t.loadAll(t.main)
	for _, lib := range opened {
		t.loadAll(lib)
	}
	for i := len(opened); i < len(t.loaded); i++ {
		t.loadAll(t.loaded[i])
	}
}

func (t *trace) loadAll(by *Library) {
	for _, name := range by.Object.Needed {
		if err := t.load(name, by); err != nil {
			t.errs = append(t.errs, err)
		}
	}
	for _, name := range by.Object.Auxiliary { // may be missing
		var missing *MissingError
		if err := t.load(name, by); err != nil && !errors.As(err, &missing) {
			t.errs = append(t.errs, err)
		}
	}
}

// load finds one library, unless one with its name or its very file is loaded already.
func (t *trace) load(name string, by *Library) error {
	if t.known(name) {
		return nil
	}
	lib, err := t.search.find(name, by, t.main)
	if err != nil {
		if t.toldMissing(name, err) {
			return nil
		}
		return err
	}
	for _, other := range t.all() {
		if other.Path == lib.Path {
			other.Names = append(other.Names, name)
			return nil
		}
	}
	t.loaded = append(t.loaded, lib)
	return nil
}

// toldMissing tells whether it was said already that name is missing: once is enough.
func (t *trace) toldMissing(name string, err error) bool {
	var now, before *MissingError
	return errors.As(err, &now) && slices.ContainsFunc(t.errs, func(e error) bool {
		return errors.As(e, &before) && before.Name == name
	})
}

func (t *trace) known(name string) bool { return t.named(name) != nil }

// named returns the loaded library that a name stands for, or nil.
func (t *trace) named(name string) *Library {
	for _, l := range t.all() {
		if slices.Contains(l.Names, name) || l.Object.SOName == name {
			return l
		}
	}
	return nil
}

func (t *trace) all() []*Library {
	return append(slices.Clip(t.loaded), t.interpreter)
}
