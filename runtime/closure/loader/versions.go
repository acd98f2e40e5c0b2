package loader

import (
	"debug/elf"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
)

// Limits and layout of the tables of symbol versions (Linux Standard Base, "Symbol Versioning").
const (
	maxVersions  = 1 << 20 // bytes of one table
	needSize     = 16
	needAuxSize  = 16
	defSize      = 20
	defAuxSize   = 8
	flagWeak     = 2
	maxVersionOf = 1 << 14 // entries of one table
)

// Version is a version of a library's symbols that an object can't be loaded without.
type Version struct {
	Library string // as in Needed
	Name    string // such as "GLIBC_2.34"
}

// VersionError says that a library was found, but is too old for who needs it.
type VersionError struct {
	Version  Version
	Path     string // of the library
	NeededBy string
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("library %q (%q) has no version %q, needed by %q: it is older than what that was built with",
		e.Version.Library, e.Path, e.Version.Name, e.NeededBy)
}

// readVersions reads which versions the object needs and defines.
func (o *Object) readVersions(r io.ReaderAt, entries []elf.Dyn64, segments []elf.Prog64, text []byte) error {
	for _, e := range entries {
		var read func(table, text []byte) error
		switch elf.DynTag(e.Tag) {
		case elf.DT_VERNEED:
			read = o.takeNeeds
		case elf.DT_VERDEF:
			read = o.takeDefinitions
		default:
			continue
		}
		table, err := readTable(r, e.Val, segments)
		if err != nil {
			return fmt.Errorf("table of versions: %w", err)
		}
		if err := read(table, text); err != nil {
			return fmt.Errorf("table of versions: %w", err)
		}
	}
	return nil
}

// readTable reads from an address in memory to the end of its segment, as a table has no size.
func readTable(r io.ReaderAt, address uint64, segments []elf.Prog64) ([]byte, error) {
	for _, s := range segments {
		if elf.ProgType(s.Type) == elf.PT_LOAD && address >= s.Vaddr && address-s.Vaddr < s.Filesz {
			within := address - s.Vaddr
			return readBytes(r, s.Off+within, min(s.Filesz-within, maxVersions), maxVersions)
		}
	}
	return nil, fmt.Errorf("%#x is in no segment", address)
}

func (o *Object) takeNeeds(table, text []byte) error {
	seen := 0
	return chain(table, 0, needSize, 12, func(at int, need []byte) error {
		library, err := stringAt(text, binary.LittleEndian.Uint32(need[4:]))
		if err != nil {
			return err
		}
		first := int64(at) + int64(binary.LittleEndian.Uint32(need[8:]))
		return chain(table, first, needAuxSize, 12, func(_ int, aux []byte) error {
			if seen++; seen > maxVersionOf {
				return fmt.Errorf("more than %d versions", maxVersionOf)
			}
			name, err := stringAt(text, binary.LittleEndian.Uint32(aux[8:]))
			if err != nil || binary.LittleEndian.Uint16(aux[4:])&flagWeak != 0 {
				return err
			}
			o.Versions = append(o.Versions, Version{library, name})
			return nil
		})
	})
}

func (o *Object) takeDefinitions(table, text []byte) error {
	return chain(table, 0, defSize, 16, func(at int, def []byte) error {
		aux := int64(at) + int64(binary.LittleEndian.Uint32(def[12:]))
		if aux+defAuxSize > int64(len(table)) {
			return fmt.Errorf("ends at %d, before %d", len(table), aux)
		}
		name, err := stringAt(text, binary.LittleEndian.Uint32(table[aux:]))
		o.Defines = append(o.Defines, name)
		return err
	})
}

// chain calls visit for each entry of size bytes, the first at the given place, which has at nextAt
// how far the following one is from it; zero ends the chain.
func chain(table []byte, at int64, size, nextAt int, visit func(at int, entry []byte) error) error {
	for count := 0; ; count++ {
		if at+int64(size) > int64(len(table)) {
			return fmt.Errorf("ends at %d, before %d", len(table), at)
		}
		if count == maxVersionOf {
			return fmt.Errorf("more than %d entries", maxVersionOf)
		}
		entry := table[at : at+int64(size)]
		if err := visit(int(at), entry); err != nil {
			return err
		}
		next := binary.LittleEndian.Uint32(entry[nextAt:])
		if next == 0 {
			return nil
		}
		at += int64(next)
	}
}

func stringAt(text []byte, at uint32) (string, error) {
	if uint64(at) >= uint64(len(text)) {
		return "", fmt.Errorf("string at %d of a table of %d bytes", at, len(text))
	}
	s := untilNul(text[at:min(len(text), int(at)+maxName)])
	return s, nil
}

// checkVersions compares what each object needs with what the libraries found for it define. A
// library that defines none at all serves everyone, as the loader has it.
func (t *trace) checkVersions() {
	if t.interpreter == nil {
		return
	}
	for _, by := range append([]*Library{t.main}, t.all()...) {
		for _, v := range by.Object.Versions {
			lib := t.named(v.Library)
			if lib != nil && len(lib.Object.Defines) > 0 && !slices.Contains(lib.Object.Defines, v.Name) {
				t.errs = append(t.errs, &VersionError{v, lib.Path, by.Path})
			}
		}
	}
}
