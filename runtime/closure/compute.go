// Package closure computes the set of files that one stage needs and nothing else: its program, the
// libraries that it needs or opens, its data, the certificates it trusts. The set is named by the
// digest of its manifest; the same inputs give the same digest wherever they lie.
//
// Inside a closure the program is /stage, libraries are in /lib under the names that they are asked
// for by, and the dynamic loader is where the program names it.
package closure

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"sightline/runtime/closure/loader"
)

// Input is a file of this machine and where it shall be inside the closure.
type Input struct {
	From string // a file; for data also a folder, of which all files are taken
	To   string // absolute; "" for a library: /lib and its name
}

// Spec says what a stage consists of. Only Program must be set.
type Spec struct {
	// Platform is what the program must be for, such as "linux/arm64"; "" is whatever it is for.
	Platform     string
	Program      string
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
	l := loader.Loader{Root: spec.Root, Dirs: spec.LibraryDirs, HWCaps: spec.HWCaps}
	opened := make([]string, len(spec.Open))
	for i, in := range spec.Open {
		opened[i] = in.From
	}
	traced, err := l.Trace(spec.Program, opened)
	if err != nil {
		return nil, err
	}
	b := &builder{
		closure: &Closure{Manifest: &Manifest{Version: Version}, Origins: map[string]Origin{}, contents: map[Digest]source{}},
		files:   map[string]File{},
	}
	if err := b.platform(spec, traced.Program); err != nil {
		return nil, err
	}
	b.program(spec.Program, traced)
	b.libraries(spec.Open, traced)
	for _, in := range spec.Data {
		b.data(in)
	}
	if spec.Certificates != "" {
		b.certificates(spec.Certificates)
	}
	return b.finish()
}

type builder struct {
	closure *Closure
	files   map[string]File
	errs    []error
}

func (b *builder) platform(spec Spec, program *loader.Object) error {
	if program.Machine != loader.AMD64 && program.Machine != loader.ARM64 {
		return fmt.Errorf("program %q is for %s: only amd64 and arm64 are supported", spec.Program, program.Machine)
	}
	b.closure.Manifest.Platform = "linux/" + program.Machine.String()
	if got := b.closure.Manifest.Platform; spec.Platform != "" && spec.Platform != got {
		return fmt.Errorf("program %q is for %s, not %s", spec.Program, got, spec.Platform)
	}
	return nil
}

func (b *builder) program(from string, traced *loader.Result) {
	b.add(File{Path: ProgramPath, Kind: Program, Executable: true}, from, "")
	b.rpath(ProgramPath, traced.Program)
	if i := traced.Interpreter; i != nil {
		at := path.Clean("/" + traced.Program.Interpreter)
		b.closure.Manifest.Interpreter = at
		b.add(File{Path: at, Kind: Interpreter, Executable: true}, i.Path, from)
		for _, name := range i.Names[1:] { // it is also a library by another name: musl's libc
			b.link(path.Join(LibraryPath, path.Base(name)), at, Library)
		}
	}
}

func (b *builder) rpath(at string, object *loader.Object) {
	if len(object.RPath) > 0 {
		b.closure.Manifest.RPath = append(b.closure.Manifest.RPath, at)
	}
}

// libraries places each library once as a file and, if it goes by further names, as links to it.
func (b *builder) libraries(opened []Input, traced *loader.Result) {
	var cache []loader.CacheEntry
	for i, lib := range traced.Libraries {
		at, kind := path.Join(LibraryPath, path.Base(lib.Names[0])), Library
		names := lib.Names[1:]
		if lib.Opened {
			kind = Opened
			if to := opened[i].To; to != "" {
				at = path.Clean(to)
			}
			if lib.Object.SOName != "" {
				names = append(slices.Clip(names), lib.Object.SOName)
			}
		}
		b.add(File{Path: at, Kind: kind}, lib.Path, lib.NeededBy)
		b.rpath(at, lib.Object)
		cache = append(cache, loader.CacheEntry{Name: path.Base(at), Path: at, Machine: lib.Object.Machine})
		for _, name := range names {
			if link := path.Join(LibraryPath, path.Base(name)); link != at {
				b.link(link, at, kind)
				cache = append(cache, loader.CacheEntry{Name: path.Base(link), Path: link, Machine: lib.Object.Machine})
			}
		}
	}
	if len(cache) == 0 {
		return
	}
	data, err := loader.EncodeCache(cache)
	if err != nil {
		b.errs = append(b.errs, err)
		return
	}
	b.put(File{Path: CachePath, Kind: LoaderCache, Size: int64(len(data)), SHA256: Sum(data)}, source{data: data}, Origin{})
}

func (b *builder) data(in Input) {
	info, err := os.Stat(in.From)
	if err != nil {
		b.errs = append(b.errs, fmt.Errorf("add data: %w", err))
		return
	}
	if !info.IsDir() {
		b.add(File{Path: path.Clean(in.To), Kind: Data}, in.From, "")
		return
	}
	err = filepath.WalkDir(in.From, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		rel, err := filepath.Rel(in.From, name)
		if err == nil {
			b.add(File{Path: path.Join(in.To, filepath.ToSlash(rel)), Kind: Data}, name, "")
		}
		return err
	})
	if err != nil {
		b.errs = append(b.errs, fmt.Errorf("add data of folder %q: %w", in.From, err))
	}
}

func (b *builder) certificates(from string) {
	if err := checkCertificates(from); err != nil {
		b.errs = append(b.errs, fmt.Errorf("add certificates of %q: %w", from, err))
		return
	}
	b.add(File{Path: CertificatesPath, Kind: Certificates}, from, "")
}

func checkCertificates(name string) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	count := 0
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			return fmt.Errorf("holds a %s, which has no place among certificates", block.Type)
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return fmt.Errorf("certificate %d: %w", count+1, err)
		}
		count++
	}
	if count == 0 {
		return errors.New("holds no certificate")
	}
	return nil
}

// add hashes a file and puts it in. Symbolic links are followed: the closure has what they lead to.
func (b *builder) add(f File, from, neededBy string) {
	digest, size, err := hashFile(from)
	if err != nil {
		b.errs = append(b.errs, fmt.Errorf("add %s %q: %w", f.Kind, from, err))
		return
	}
	f.SHA256, f.Size = digest, size
	b.put(f, source{path: from}, Origin{Path: from, NeededBy: neededBy})
}

func (b *builder) link(at, to string, kind Kind) {
	rel, err := filepath.Rel(path.Dir(at), to)
	if err != nil {
		b.errs = append(b.errs, err)
		return
	}
	b.put(File{Path: at, Kind: kind, Link: rel}, source{}, b.closure.Origins[to])
}

// put refuses a second file in the place of another, unless both are the same.
func (b *builder) put(f File, content source, origin Origin) {
	if before, ok := b.files[f.Path]; ok && before != f {
		b.errs = append(b.errs, fmt.Errorf("both %q and %q would be %q in the closure",
			b.closure.Origins[f.Path].Path, origin.Path, f.Path))
		return
	}
	b.files[f.Path] = f
	b.closure.Origins[f.Path] = origin
	if f.Link == "" {
		b.closure.contents[f.SHA256] = content
	}
}

func (b *builder) finish() (*Closure, error) {
	if err := errors.Join(b.errs...); err != nil {
		return nil, err
	}
	m := b.closure.Manifest
	for _, f := range b.files {
		m.Files = append(m.Files, f)
	}
	slices.SortFunc(m.Files, func(x, y File) int { return strings.Compare(x.Path, y.Path) })
	slices.Sort(m.RPath)
	if err := m.Check(); err != nil {
		return nil, fmt.Errorf("compute closure: %w", err)
	}
	return b.closure, nil
}

func hashFile(name string) (Digest, int64, error) {
	file, err := os.Open(name)
	if err != nil {
		return "", 0, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return "", 0, err
	}
	if !info.Mode().IsRegular() {
		return "", 0, fmt.Errorf("is no regular file (%s)", info.Mode())
	}
	hash := sha256.New()
	size, err := io.Copy(hash, file)
	return Digest(hex.EncodeToString(hash.Sum(nil))), size, err
}
