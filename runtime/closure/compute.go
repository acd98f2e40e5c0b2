// Package closure computes the set of files that one stage needs and nothing else: its program, the
// libraries that it needs or opens, its data, the certificates it trusts. The set is named by the
// digest of its manifest; the same inputs give the same digest wherever they lie.
//
// Inside a closure the program is /stage, libraries are in /lib under the names that they are asked
// for by, and the dynamic loader is where the program names it.
package closure

import (
	"cmp"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strings"

	"sightline/runtime/closure/loader"
)

// Input is a file of this machine and where it shall be inside the closure.
type Input struct {
	From string // a file; for data also a folder, of which all files are taken
	To   string // absolute; for a library also a name in /lib, or "" for its own
}

// Spec says what a stage consists of: a program with what it needs, or, for a stage in place, Data alone.
type Spec struct {
	// Platform is what the program must be for, such as "linux/arm64"; "" is whatever it is for.
	Platform     string
	Program      string  // "": Data is all there is
	Open         []Input // libraries that the program opens by itself, in its order
	Data         []Input
	Certificates string // a file of certificates in PEM

	// Root is where libraries are looked for, for programs of another machine; "" is "/".
	Root        string
	LibraryDirs []string // searched as LD_LIBRARY_PATH would be
	HWCaps      []string // see loader.Loader
}

// Origin says where a file of the closure comes from, for people; it is no part of the manifest.
type Origin struct {
	Path     string // on this machine; "" for a file that was made
	NeededBy string // of a library: who asks for it first, on this machine
}

// Closure is a manifest with where its contents are now.
type Closure struct {
	Manifest *Manifest
	Origins  map[string]Origin // by path inside the closure

	contents map[Digest]source
}

type source struct {
	path string
	data []byte // where path is empty
}

// Open returns the content with this digest. The files may have been changed since Compute: who
// reads them must check the digest.
func (c *Closure) Open(d Digest) (io.ReadCloser, error) {
	s, ok := c.contents[d]
	if !ok {
		return nil, fmt.Errorf("content %s: %w", d, fs.ErrNotExist)
	}
	if s.path == "" {
		return io.NopCloser(strings.NewReader(string(s.data))), nil
	}
	return os.Open(s.path)
}

// Compute finds and hashes all files of a stage. Libraries that are missing are told all at once,
// each as a *loader.MissingError.
func Compute(spec Spec) (*Closure, error) {
	b := &builder{
		closure: &Closure{Manifest: &Manifest{Version: Version}, Origins: map[string]Origin{}, contents: map[Digest]source{}},
		files:   map[string]File{},
	}
	if spec.Program == "" {
		b.closure.Manifest.Platform = cmp.Or(spec.Platform, "linux/"+runtime.GOARCH)
	} else if err := b.programs(spec); err != nil {
		return nil, err
	}
	for _, in := range spec.Data {
		b.data(in)
	}
	if spec.Certificates != "" {
		b.certificates(spec.Certificates)
	}
	return b.finish()
}

// programs adds the program, the libraries and what finds them.
func (b *builder) programs(spec Spec) error {
	l := loader.Loader{Root: spec.Root, Dirs: spec.LibraryDirs, HWCaps: spec.HWCaps}
	opened := make([]string, len(spec.Open))
	for i, in := range spec.Open {
		opened[i] = in.From
	}
	traced, err := l.Trace(spec.Program, opened)
	if err != nil {
		return err
	}
	if err := b.platform(spec, traced.Program); err != nil {
		return err
	}
	b.program(spec.Program, traced)
	b.libraries(spec.Open, traced)
	return nil
}
