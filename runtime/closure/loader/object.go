package loader

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// Limits of what is read of one file, far above what any linker writes.
const (
	maxHeaders = 1024
	maxDynamic = 1 << 20
	maxStrings = 16 << 20
	maxName    = 4096
)

// Machine is the kind of CPU that code is for.
type Machine uint16

// The machines that closures can be made for.
const (
	AMD64 = Machine(elf.EM_X86_64)
	ARM64 = Machine(elf.EM_AARCH64)
)

// String returns the machine's name as Go has it.
func (m Machine) String() string {
	switch m {
	case AMD64:
		return "amd64"
	case ARM64:
		return "arm64"
	}
	return fmt.Sprintf("unknown machine %d", uint16(m))
}

// ErrNotELF is returned for a file that is no ELF program or library at all.
var ErrNotELF = errors.New("not an ELF file")

// ErrForeign is returned for an ELF file that no supported machine runs, such as a 32-bit one. The
// loader passes over such libraries and searches on.
var ErrForeign = errors.New("not a little-endian 64-bit ELF file")

// Object is what the loader reads of one program or library: its program headers and its dynamic
// section (System V gABI, chapter 5). Section headers are not used, as they may be stripped.
type Object struct {
	Machine     Machine
	Interpreter string   // of a dynamic program
	SOName      string   // the name a library gives itself; may be empty
	Needed      []string // DT_NEEDED and DT_FILTER
	Auxiliary   []string // DT_AUXILIARY
	RPath       []string // DT_RPATH, taken apart, $ORIGIN and the like as they stand
	RunPath     []string // DT_RUNPATH, likewise
	NoDefault   bool     // DF_1_NODEFLIB: standard folders are not searched for it
	Versions    []Version
	Defines     []string // versions of its own symbols

	hasRunPath bool
}

func readFile(name string) (*Object, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("is no regular file (%s)", info.Mode())
	}
	return ReadObject(file)
}

// ReadObject reads a program or library. It returns ErrNotELF or ErrForeign, or an error that says
// what is wrong with the file; it reads a bounded part of it.
func ReadObject(r io.ReaderAt) (*Object, error) {
	var header elf.Header64
	if err := readAt(r, 0, &header); err != nil {
		return nil, ErrNotELF
	}
	switch {
	case string(header.Ident[:4]) != elf.ELFMAG:
		return nil, ErrNotELF
	case elf.Class(header.Ident[elf.EI_CLASS]) != elf.ELFCLASS64,
		elf.Data(header.Ident[elf.EI_DATA]) != elf.ELFDATA2LSB:
		return nil, ErrForeign
	case elf.Type(header.Type) != elf.ET_EXEC && elf.Type(header.Type) != elf.ET_DYN:
		return nil, fmt.Errorf("ELF file of type %d is neither program nor library", header.Type)
	case header.Phentsize != 56 || header.Phnum == 0 || header.Phnum > maxHeaders:
		return nil, fmt.Errorf("ELF file with %d program headers of %d bytes", header.Phnum, header.Phentsize)
	}
	segments := make([]elf.Prog64, header.Phnum)
	if err := readAt(r, header.Phoff, segments); err != nil {
		return nil, fmt.Errorf("read program headers: %w", err)
	}
	o := &Object{Machine: Machine(header.Machine)}
	return o, o.read(r, segments)
}

func (o *Object) read(r io.ReaderAt, segments []elf.Prog64) error {
	for _, s := range segments {
		switch elf.ProgType(s.Type) {
		case elf.PT_INTERP:
			name, err := readBytes(r, s.Off, s.Filesz, maxName)
			if err != nil {
				return fmt.Errorf("read interpreter's name: %w", err)
			}
			o.Interpreter = untilNul(name)
		case elf.PT_DYNAMIC:
			if err := o.readDynamic(r, s, segments); err != nil {
				return fmt.Errorf("read dynamic section: %w", err)
			}
		}
	}
	return nil
}

func (o *Object) readDynamic(r io.ReaderAt, dynamic elf.Prog64, segments []elf.Prog64) error {
	data, err := readBytes(r, dynamic.Off, dynamic.Filesz, maxDynamic)
	if err != nil {
		return err
	}
	entries := make([]elf.Dyn64, len(data)/16)
	if err := binary.Read(bytes.NewReader(data), binary.LittleEndian, entries); err != nil {
		return err
	}
	for i, e := range entries {
		if elf.DynTag(e.Tag) == elf.DT_NULL {
			entries = entries[:i]
			break
		}
	}
	text, err := readStrings(r, entries, segments)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := o.take(e, text); err != nil {
			return err
		}
	}
	return o.readVersions(r, entries, segments, text)
}

func (o *Object) take(e elf.Dyn64, text []byte) error {
	tag := elf.DynTag(e.Tag)
	switch tag {
	case elf.DT_FLAGS_1:
		o.NoDefault = e.Val&uint64(elf.DF_1_NODEFLIB) != 0
		return nil
	case elf.DT_NEEDED, elf.DT_FILTER, elf.DT_AUXILIARY, elf.DT_SONAME, elf.DT_RPATH, elf.DT_RUNPATH:
	default:
		return nil
	}
	if e.Val >= uint64(len(text)) {
		return fmt.Errorf("string at %d of a table of %d bytes", e.Val, len(text))
	}
	s := untilNul(text[e.Val:])
	if len(s) > maxName {
		return fmt.Errorf("string of %d bytes at %d", len(s), e.Val)
	}
	switch tag {
	case elf.DT_NEEDED, elf.DT_FILTER:
		o.Needed = append(o.Needed, s)
	case elf.DT_AUXILIARY:
		o.Auxiliary = append(o.Auxiliary, s)
	case elf.DT_SONAME:
		o.SOName = s
	case elf.DT_RPATH:
		o.RPath = strings.Split(s, ":")
	case elf.DT_RUNPATH:
		o.RunPath, o.hasRunPath = strings.Split(s, ":"), true
	}
	return nil
}

// readStrings reads the string table, which the dynamic section names by its address in memory.
func readStrings(r io.ReaderAt, entries []elf.Dyn64, segments []elf.Prog64) ([]byte, error) {
	var address, size uint64
	for _, e := range entries {
		switch elf.DynTag(e.Tag) {
		case elf.DT_STRTAB:
			address = e.Val
		case elf.DT_STRSZ:
			size = e.Val
		}
	}
	if size == 0 {
		return nil, nil
	}
	for _, s := range segments {
		if elf.ProgType(s.Type) != elf.PT_LOAD || address < s.Vaddr || address-s.Vaddr >= s.Filesz {
			continue
		}
		within := address - s.Vaddr
		if size > s.Filesz-within {
			return nil, fmt.Errorf("string table of %d bytes ends after its segment", size)
		}
		return readBytes(r, s.Off+within, size, maxStrings)
	}
	return nil, fmt.Errorf("string table at %#x is in no segment", address)
}

func readAt(r io.ReaderAt, offset uint64, into any) error {
	size := binary.Size(into)
	data, err := readBytes(r, offset, uint64(size), uint64(size))
	if err != nil {
		return err
	}
	return binary.Read(bytes.NewReader(data), binary.LittleEndian, into)
}

func readBytes(r io.ReaderAt, offset, size, most uint64) ([]byte, error) {
	if size > most {
		return nil, fmt.Errorf("%d bytes, more than %d", size, most)
	}
	if offset > 1<<62 {
		return nil, fmt.Errorf("offset %#x", offset)
	}
	var data bytes.Buffer // grows with what is there, not with what is claimed
	n, err := io.Copy(&data, io.NewSectionReader(r, int64(offset), int64(size)))
	if err != nil {
		return nil, err
	}
	if uint64(n) != size {
		return nil, io.ErrUnexpectedEOF
	}
	return data.Bytes(), nil
}

func untilNul(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}
