// Package nanos writes the disk images that the Nanos unikernel runs a program from.
//
// An image is a table of partitions, of which the second one is a TFS file system with the program's
// closure. What the kernel is to do is in the root of that file system: the program and its
// arguments, the address of the network card. TFS is a log of tuples (Nanos, src/fs/tlog.c) before
// the contents of the files.
//
// The same closure and settings give the same bytes, and nothing of the machine that an image is
// written on gets into it. This is why it is written here and not by ops, the tool of Nanos, whose
// images differ each time, have libraries of the machine beside those of the closure, and which asks
// a server on the internet at each start.
package nanos

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net/netip"
	"path"
	"strconv"
	"strings"

	"sightline/runtime/closure"
	"sightline/runtime/closure/store"
)

const (
	sector       = 512 // bytes; all places are counted in sectors
	kernelLog    = 8   // before the first partition, for the kernel's own use
	fileSystem   = 1 + kernelLog
	extension    = 1024 // of the log; its first one is one sector
	typeLinux    = 0x83 // of a partition
	tfsVersion   = 5
	layout       = 1 // of what this package writes; part of the key
	maxArguments = 64 << 10
)

// The records of a log.
const (
	endOfLog       = 1
	tupleAvailable = 2
	tupleExtended  = 3
	logLink        = 5
)

const tfsMagic = "NVMTFS"

// Image is an image of a closure, as a store.Packing.
type Image struct {
	// Program is the absolute path of the program inside the closure, and its arguments.
	Program []string
	// Address is the address of the guest's network card, with the network that it reaches: it has
	// no route to anything else.
	Address netip.Prefix
}

var _ store.Packing = Image{}

// Key implements store.Packing.
func (i Image) Key() (string, error) {
	if err := i.check(); err != nil {
		return "", err
	}
	settings := fmt.Sprintf("%d %q %s", layout, i.Program, i.Address)
	return "nanos." + string(closure.Sum([]byte(settings))[:32]), nil
}

func (i Image) check() error {
	size := 0
	for _, word := range i.Program {
		if strings.ContainsRune(word, 0) {
			return fmt.Errorf("argument %q has a zero byte", word)
		}
		size += len(word) + 1
	}
	switch {
	case len(i.Program) == 0 || !path.IsAbs(i.Program[0]):
		return fmt.Errorf("program %q is not an absolute path inside the closure", i.Program)
	case size > maxArguments:
		return fmt.Errorf("arguments of %d bytes are longer than %d", size, maxArguments)
	case !i.Address.IsValid() || !i.Address.Addr().Is4():
		return fmt.Errorf("the guest's address %q is none of IPv4 with its network", i.Address)
	}
	return nil
}

// Pack implements store.Packing.
func (i Image) Pack(w io.Writer, m *closure.Manifest, from closure.Contents) error {
	if err := i.check(); err != nil {
		return fmt.Errorf("pack image: %w", err)
	}
	digest, err := m.Digest()
	if err != nil {
		return fmt.Errorf("pack image: %w", err)
	}
	log, extensions := i.log(m)
	out := bufio.NewWriterSize(w, 1<<16)
	files := uint64(0)
	for _, f := range m.Files {
		files += sectors(f.Size)
	}
	out.Write(partitions(1 + extensions*extension + files)) //nolint:errcheck // told by Flush
	out.Write(make([]byte, kernelLog*sector))               //nolint:errcheck // told by Flush
	writeLog(out, digest, log, extensions)
	for _, f := range m.Files {
		if f.Link != "" {
			continue
		}
		if err := closure.Copy(out, from, f); err != nil {
			return fmt.Errorf("pack image: %w", err)
		}
		out.Write(make([]byte, int64(sectors(f.Size))*sector-f.Size)) //nolint:errcheck // told by Flush
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("pack image: %w", err)
	}
	return nil
}

func sectors(size int64) uint64 { return (uint64(size) + sector - 1) / sector }

// log returns the encoded root of the file system, and how many extensions of the log it takes:
// where the files are depends on it, and how long it is on where the files are.
func (i Image) log(m *closure.Manifest) (log []byte, extensions uint64) {
	for extensions = 1; ; extensions++ {
		log = encodeTuple(i.root(m, 1+extensions*extension))
		if uint64(len(log)) <= extensions*room {
			return log, extensions
		}
	}
}

// root returns the root tuple: the settings of the kernel, and the files, whose contents begin at a
// sector of the file system.
func (i Image) root(m *closure.Manifest, first uint64) tuple {
	root := tuple{
		"children":             children(m, first),
		"program":              text(i.Program[0]),
		"arguments":            list(i.Program),
		"environment":          tuple{},
		"ipaddr":               text(i.Address.Addr().String()),
		"netmask":              text(mask(i.Address)),
		"gateway":              text("0.0.0.0"), // none; without this the kernel takes one of the network
		"debug_exit":           text("t"),       // exit as QEMU's device for that, with the program's code
		"readonly_rootfs":      text("t"),
		"transparent_hugepage": text("never"),
	}
	if m.Interpreter == "" {
		// Only what is marked as executable is mapped so. The kernel then maps no library's data,
		// as it takes a private copy that can be written for the file itself.
		root["exec_protection"] = text("t")
	}
	return root
}

func mask(p netip.Prefix) string {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], ^uint32(0)<<(32-p.Bits()))
	return netip.AddrFrom4(b).String()
}

func children(m *closure.Manifest, next uint64) tuple {
	top := tuple{}
	folders := map[string]tuple{"/": top}
	for _, name := range m.Folders() {
		made := tuple{}
		folders[path.Dir(name)][path.Base(name)] = tuple{"children": made}
		folders[name] = made
	}
	for _, f := range m.Files {
		folders[path.Dir(f.Path)][path.Base(f.Path)] = entry(f, next)
		next += sectors(f.Size)
	}
	return top
}

func entry(f closure.File, at uint64) tuple {
	if f.Link != "" {
		return tuple{"linktarget": text(f.Link)}
	}
	number := func(n uint64) text { return text(strconv.FormatUint(n, 10)) }
	extents := tuple{}
	if n := sectors(f.Size); n > 0 {
		extents["0"] = tuple{"offset": number(at), "length": number(n), "allocated": number(n)}
	}
	t := tuple{"filelength": number(uint64(f.Size)), "extents": extents}
	if mapsCode(f) {
		t["exec"] = text("t")
	}
	return t
}

// mapsCode says whether a file has code that is mapped: programs, and libraries, which needn't be executable.
func mapsCode(f closure.File) bool {
	switch f.Kind {
	case closure.Program, closure.Interpreter, closure.Library, closure.Opened:
		return true
	}
	return f.Executable
}

// partitions returns the first sector, with a partition of no size where a boot loader would have
// its kernel, and one of a file system of so many sectors.
func partitions(size uint64) []byte {
	b := make([]byte, sector)
	table := b[sector-2-4*16:]
	for n, sectors := range []uint64{0, size} {
		p := table[16*n:]
		p[4] = typeLinux
		binary.LittleEndian.PutUint32(p[8:], fileSystem)
		binary.LittleEndian.PutUint32(p[12:], uint32(sectors))
	}
	binary.LittleEndian.PutUint16(b[sector-2:], 0xaa55)
	return b
}

// room is how many bytes of a tuple surely fit into an extension, beside its header, the head of the
// record and the link to the next.
const room = extension*sector - 64

// writeLog writes the first sector of the file system and all extensions of its log.
func writeLog(out *bufio.Writer, digest closure.Digest, log []byte, extensions uint64) {
	uuid, _ := hex.DecodeString(string(digest[:32])) // a digest is hexadecimal
	first := appendHead(nil, 1)
	first = append(first, uuid...)
	first = append(first, 0) // no label
	first = appendLink(first, 1)
	writePadded(out, first, sector)
	total := uint64(len(log))
	for n := range extensions {
		b := appendHead(nil, extension)
		if n == 0 {
			b = appendVarint(append(b, tupleAvailable), total)
		} else {
			b = append(b, tupleExtended)
		}
		part := log[:min(len(log), room)]
		log = log[len(part):]
		b = append(appendVarint(b, uint64(len(part))), part...)
		if n+1 < extensions {
			b = appendLink(b, 1+(n+1)*extension)
		}
		writePadded(out, append(b, endOfLog), extension*sector)
	}
}

func appendHead(b []byte, size uint64) []byte {
	return appendVarint(appendVarint(append(b, tfsMagic...), tfsVersion), size)
}

func appendLink(b []byte, at uint64) []byte {
	return appendVarint(appendVarint(append(b, logLink), at), extension)
}

func writePadded(out *bufio.Writer, b []byte, size int) {
	out.Write(b)                         //nolint:errcheck // told by Flush
	out.Write(make([]byte, size-len(b))) //nolint:errcheck // told by Flush
}
