package closure

import (
	"cmp"
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
		names, kind := lib.Names, Library
		if lib.Opened {
			names, kind = openedNames(opened[i], lib), Opened
		}
		places := make([]string, len(names))
		for i, name := range names {
			places[i] = b.libraryPlace(name, lib.NeededBy)
			cache = append(cache, loader.CacheEntry{Name: path.Base(places[i]), Path: places[i], Machine: lib.Object.Machine})
		}
		b.add(File{Path: places[0], Kind: kind}, lib.Path, lib.NeededBy)
		b.rpath(places[0], lib.Object)
		for _, link := range places[1:] {
			if link != places[0] {
				b.link(link, places[0], kind)
			}
		}
	}
	b.cache(cache)
}

// openedNames are where the library shall be, the names that others need it by, and its own.
func openedNames(in Input, lib *loader.Library) []string {
	to := in.To
	if to == "" {
		to = path.Base(in.From)
	}
	names := append([]string{to}, lib.Names[1:]...)
	if lib.Object.SOName != "" {
		names = append(names, lib.Object.SOName)
	}
	return names
}

// libraryPlace is where the loader looks for the name: a path, or a name in the folder of libraries.
func (b *builder) libraryPlace(name, neededBy string) string {
	if !strings.Contains(name, "/") {
		return path.Join(LibraryPath, name)
	}
	if !path.IsAbs(name) {
		b.errs = append(b.errs, fmt.Errorf("library %q, needed by %q: the name is a path from some folder, which a closure has not", name, neededBy))
	}
	return path.Clean(name)
}

// cache puts in a file by which the loader finds the libraries, whatever its standard folders are.
func (b *builder) cache(entries []loader.CacheEntry) {
	if len(entries) == 0 {
		return
	}
	slices.SortFunc(entries, func(x, y loader.CacheEntry) int {
		return cmp.Or(strings.Compare(x.Name, y.Name), strings.Compare(x.Path, y.Path))
	})
	data, err := loader.EncodeCache(slices.Compact(entries))
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
