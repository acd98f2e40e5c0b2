package closure

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Version is the version of the manifest's form.
const Version = 1

// Limits of a manifest.
const (
	MaxManifest = 16 << 20 // bytes
	MaxFiles    = 65536
	maxPath     = 1024 // bytes; a component has at most 255
)

// Places inside every closure.
const (
	ProgramPath      = "/stage"
	LibraryPath      = "/lib"
	CachePath        = "/etc/ld.so.cache"
	CertificatesPath = "/etc/ssl/certs/ca-certificates.crt" // where crypto/x509 looks first
)

// Digest is the SHA-256 of a file or a manifest, written as 64 lower-case hexadecimal digits.
type Digest string

// Sum returns the digest of data.
func Sum(data []byte) Digest {
	sum := sha256.Sum256(data)
	return Digest(hex.EncodeToString(sum[:]))
}

// Check returns an error when d is not written as a digest is.
func (d Digest) Check() error {
	if raw, err := hex.DecodeString(string(d)); err != nil || len(raw) != sha256.Size || strings.ToLower(string(d)) != string(d) {
		return fmt.Errorf("%q is not a SHA-256 digest", string(d))
	}
	return nil
}

// Kind says what a file is there for.
type Kind string

// The kinds of files.
const (
	Program      Kind = "program"
	Interpreter  Kind = "interpreter" // the dynamic loader, where the program names it
	Library      Kind = "library"     // needed by the program or by another library
	Opened       Kind = "opened"      // a library that the program opens by itself
	Data         Kind = "data"        // a model, a card
	Certificates Kind = "certificates"
	LoaderCache  Kind = "loader_cache" // tells the loader where the libraries are
)

// File is one file of a closure, or a symbolic link to one.
type File struct {
	Path string `json:"path"` // inside the closure, absolute
	Kind Kind   `json:"kind"`
	// Link, if not empty, makes this a symbolic link: relative, to a file of the closure that is no link.
	Link       string `json:"link,omitempty"`
	Executable bool   `json:"executable,omitempty"`
	Size       int64  `json:"size,omitempty"`   // bytes
	SHA256     Digest `json:"sha256,omitempty"` // of a file, not of a link
}

// Mode returns the permissions that every packing gives the file.
func (f File) Mode() uint32 {
	switch {
	case f.Link != "":
		return 0o777
	case f.Executable:
		return 0o555
	}
	return 0o444
}

// Target returns the path inside the closure that the link leads to.
func (f File) Target() string { return path.Join(path.Dir(f.Path), f.Link) }

// Manifest lists what is in a closure, and nothing of where it came from or when: the same inputs
// give the same bytes. It is not changed once it is made.
type Manifest struct {
	Version  int    `json:"version"`
	Platform string `json:"platform"` // "linux/amd64"
	// Interpreter is the path of the dynamic loader; empty when the program is static.
	Interpreter string `json:"interpreter,omitempty"`
	// RPath lists the objects with DT_RPATH, which a loader started by hand must be told to ignore.
	RPath []string `json:"rpath,omitempty"`
	Files []File   `json:"files"` // sorted by path
}

// Encode returns the manifest's only form in bytes.
func (m *Manifest) Encode() ([]byte, error) {
	if err := m.Check(); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", " ")
	if err := encoder.Encode(m); err != nil {
		return nil, fmt.Errorf("encode manifest: %w", err)
	}
	if out.Len() > MaxManifest {
		return nil, fmt.Errorf("manifest of %d bytes, more than %d", out.Len(), MaxManifest)
	}
	return out.Bytes(), nil
}

// Digest returns the digest of the encoded manifest, which names the closure.
func (m *Manifest) Digest() (Digest, error) {
	data, err := m.Encode()
	return Sum(data), err
}

// Size returns the bytes of all files, each content counted once.
func (m *Manifest) Size() int64 {
	var size int64
	seen := map[Digest]bool{}
	for _, f := range m.Files {
		if f.Link == "" && !seen[f.SHA256] {
			seen[f.SHA256] = true
			size += f.Size
		}
	}
	return size
}

// ParseManifest reads what Encode wrote, and nothing else: no unknown fields, no other spelling of
// the same, so that a closure has one digest only.
func ParseManifest(data []byte) (*Manifest, error) {
	if len(data) > MaxManifest {
		return nil, fmt.Errorf("manifest of %d bytes, more than %d", len(data), MaxManifest)
	}
	m := &Manifest{}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(m); err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	again, err := m.Encode()
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	if !bytes.Equal(again, data) {
		return nil, errors.New("read manifest: not in its canonical form")
	}
	return m, nil
}

// Folders returns all folders that the files are in, parents first, without the root.
func (m *Manifest) Folders() []string {
	seen := map[string]bool{}
	var dirs []string
	for _, f := range m.Files {
		for dir := path.Dir(f.Path); dir != "/" && !seen[dir]; dir = path.Dir(dir) {
			seen[dir] = true
			dirs = append(dirs, dir)
		}
	}
	slices.Sort(dirs)
	return dirs
}

// Command returns the command line that runs the program from a copy of the closure in the folder
// root, without root becoming the root folder: by the closure's own loader, with the libraries of
// the closure and no others. Arguments of the stage are appended by the caller. LD_LIBRARY_PATH and
// LD_PRELOAD must not be set, and root must have no ":" in it.
func (m *Manifest) Command(root string) []string {
	program := path.Join(root, ProgramPath)
	if m.Interpreter == "" {
		return []string{program}
	}
	command := []string{path.Join(root, m.Interpreter), "--library-path", path.Join(root, LibraryPath)}
	if strings.HasPrefix(path.Base(m.Interpreter), "ld-musl-") {
		return append(command, program) // it has no cache, and takes this path before any DT_RPATH
	}
	command = append(command, "--inhibit-cache")
	if len(m.RPath) > 0 {
		objects := []string{""} // the loader knows the program itself by no name
		for _, p := range m.RPath {
			objects = append(objects, path.Join(root, p))
		}
		command = append(command, "--inhibit-rpath", strings.Join(objects, ":"))
	}
	return append(command, program)
}
