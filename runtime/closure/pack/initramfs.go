package pack

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"sightline/runtime/closure"
	"sightline/runtime/closure/store"
)

// Extra is a file of the guest that is no part of the stage: its init, a kernel module.
type Extra struct {
	Path       string // absolute
	Executable bool
	Data       []byte
}

// Initramfs is the root file system of a Linux guest as a cpio archive in the "newc" form of the
// kernel's buffer-format documentation: the closure, Init as /init, the extra files, the empty
// folders /proc, /sys, /dev and /tmp, and the nodes /dev/console and /dev/null.
type Initramfs struct {
	Init  []byte  // the program that the kernel starts
	Extra []Extra // none may take the place of another file
	Plain bool    // not compressed; else gzip
}

// maxCpioFile is what the form's 32-bit sizes can say.
const maxCpioFile = 1<<32 - 1

// Key implements store.Packing.
func (i Initramfs) Key() (string, error) {
	settings, err := json.Marshal(i)
	if err != nil {
		return "", err
	}
	return "initramfs." + string(closure.Sum(settings)), nil
}

// Pack implements store.Packing.
func (i Initramfs) Pack(w io.Writer, m *closure.Manifest, from closure.Contents) error {
	entries, err := i.entries(m)
	if err != nil {
		return fmt.Errorf("pack initramfs: %w", err)
	}
	buffered := bufio.NewWriterSize(w, 1<<16)
	err = i.compressed(buffered, func(w io.Writer) error { return writeCpio(w, entries, from) })
	if err := errors.Join(err, buffered.Flush()); err != nil {
		return fmt.Errorf("pack initramfs: %w", err)
	}
	return nil
}

func (i Initramfs) compressed(w io.Writer, write func(io.Writer) error) error {
	if i.Plain {
		return write(w)
	}
	// Libraries compress nearly as well at the fastest level, which takes a third of the time. The
	// header has neither name nor time.
	z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		return err
	}
	return errors.Join(write(z), z.Close())
}

// node is one entry of a guest's file system.
type node struct {
	path         string
	mode         uint32 // with the type, as in stat(2)
	major, minor uint32 // of a device
	link         string
	data         []byte
	file         *closure.File // where the data is a content of the closure
}

func (n node) size() int64 {
	if n.file != nil {
		return n.file.Size
	}
	return int64(len(n.data) + len(n.link))
}

// Types of files, as in stat(2).
const (
	typeDir  = 0o040000
	typeChar = 0o020000
	typeFile = 0o100000
	typeSym  = 0o120000
	typeMask = 0o170000
)

// entries returns all entries, each folder before what is in it.
func (i Initramfs) entries(m *closure.Manifest) ([]node, error) {
	nodes, err := closureNodes(m)
	if err != nil {
		return nil, err
	}
	if len(i.Init) == 0 {
		return nil, errors.New("no init is given")
	}
	for _, e := range append([]Extra{{Path: "/init", Executable: true, Data: i.Init}}, i.Extra...) {
		if err := closure.CheckPath(e.Path); err != nil {
			return nil, fmt.Errorf("extra file %q: %w", e.Path, err)
		}
		mode := uint32(typeFile | 0o444)
		if e.Executable {
			mode = typeFile | 0o555
		}
		nodes = append(nodes, node{path: e.Path, mode: mode, data: e.Data})
	}
	return withFolders(append(nodes, devices()...), "/proc", "/sys", "/tmp")
}

// devices are there before a guest mounts anything on /dev.
func devices() []node {
	return []node{
		{path: "/dev/console", mode: typeChar | 0o600, major: 5, minor: 1},
		{path: "/dev/null", mode: typeChar | 0o666, major: 1, minor: 3},
	}
}

func closureNodes(m *closure.Manifest) ([]node, error) {
	if err := m.Check(); err != nil {
		return nil, err
	}
	nodes := make([]node, 0, len(m.Files))
	for at := range m.Files {
		f := &m.Files[at]
		switch {
		case f.Link != "":
			nodes = append(nodes, node{path: f.Path, mode: typeSym | 0o777, link: f.Link})
		case f.Size > maxCpioFile:
			return nil, fmt.Errorf("file %q has %d bytes, more than %d", f.Path, f.Size, int64(maxCpioFile))
		default:
			nodes = append(nodes, node{path: f.Path, mode: typeFile | f.Mode(), file: f})
		}
	}
	return nodes, nil
}

// withFolders adds the folders that the nodes are in, and further ones, and sorts all by path.
func withFolders(nodes []node, further ...string) ([]node, error) {
	files := map[string]bool{}
	for _, n := range nodes {
		if files[n.path] {
			return nil, fmt.Errorf("file %q is there twice", n.path)
		}
		files[n.path] = true
	}
	seen := map[string]bool{"/": true}
	for _, n := range slices.Clone(nodes) {
		further = append(further, path.Dir(n.path))
	}
	for _, dir := range further {
		for ; !seen[dir]; dir = path.Dir(dir) {
			if files[dir] {
				return nil, fmt.Errorf("file %q would have to be a folder too", dir)
			}
			seen[dir] = true
			mode := uint32(typeDir | 0o755)
			if dir == "/tmp" {
				mode = typeDir | 0o1777
			}
			nodes = append(nodes, node{path: dir, mode: mode})
		}
	}
	slices.SortFunc(nodes, func(a, b node) int { return strings.Compare(a.path, b.path) })
	return nodes, nil
}

// writeCpio numbers the entries from 1: a number twice would be a hard link.
func writeCpio(w io.Writer, nodes []node, from closure.Contents) error {
	out := &counter{w: w}
	for at, n := range append(nodes, node{path: "/TRAILER!!!"}) {
		name, links, inode := n.path[1:], 1, at+1
		if n.mode&typeMask == typeDir {
			links = 2
		}
		if n.mode == 0 {
			inode = 0
		}
		_, err := fmt.Fprintf(out, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00",
			inode, n.mode, 0, 0, links, 0, n.size(), 0, 0, n.major, n.minor, len(name)+1, 0, name)
		if err != nil {
			return err
		}
		if err := out.pad(4); err != nil {
			return err
		}
		if err := n.write(out, from); err != nil {
			return err
		}
		if err := out.pad(4); err != nil {
			return err
		}
	}
	return out.pad(512)
}

func (n node) write(w io.Writer, from closure.Contents) error {
	if n.file != nil {
		return closure.Copy(w, from, *n.file)
	}
	_, err := io.WriteString(w, string(n.data)+n.link)
	return err
}

// pad writes zeros up to the next multiple of size.
func (c *counter) pad(size int64) error {
	_, err := c.Write(make([]byte, (size-c.n%size)%size))
	return err
}

var _ store.Packing = Initramfs{}
