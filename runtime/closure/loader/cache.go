package loader

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// The file that ldconfig writes, /etc/ld.so.cache, in the layout of glibc since 2.2 (its header
// dl-cache.h): magic, counts, then entries whose strings are given by offsets from the magic, then
// optional extensions, one of which names the glibc-hwcaps subfolders (since 2.33).
const (
	cacheMagic     = "glibc-ld.so.cache1.1"
	oldMagic       = "ld.so-1.7.0\x00"
	oldHeader      = 16
	oldEntry       = 12
	cacheHeader    = 48
	cacheEntry     = 24
	extensionMagic = 0xEAA42174
	hwcapsTag      = 1
	hwcapsBit      = 1 << 30 // of the upper half of an entry's hwcap
	littleEndian   = 2
)

// Flags of a cache entry: a library for libc6, and the machine.
const (
	flagsAMD64 = 0x0303
	flagsARM64 = 0x0a03
)

// CacheEntry is one library that ldconfig saw.
type CacheEntry struct {
	Name    string // what it is asked for by
	Path    string // below the root
	Machine Machine
	// HWCap is the glibc-hwcaps subfolder it lies in, such as "x86-64-v3"; "" where it serves all.
	HWCap string
}

// ParseCache reads a cache file. Entries for machines and CPU features that are not known here are
// left out. The result is in the file's order.
func ParseCache(data []byte) ([]CacheEntry, error) {
	data, err := skipOldCache(data)
	if err != nil {
		return nil, err
	}
	if len(data) < cacheHeader || string(data[:len(cacheMagic)]) != cacheMagic {
		return nil, errors.New("not a library cache of glibc")
	}
	// Zero stands for the byte order of the machine that wrote it.
	if order := data[28] & 3; order != littleEndian && order != 0 {
		return nil, errors.New("library cache of a big-endian machine")
	}
	count := int64(binary.LittleEndian.Uint32(data[20:]))
	if cacheHeader+count*cacheEntry > int64(len(data)) {
		return nil, fmt.Errorf("library cache of %d bytes is too short for %d entries", len(data), count)
	}
	hwcaps, err := cacheHWCaps(data)
	if err != nil {
		return nil, err
	}
	entries := make([]CacheEntry, 0, count)
	for i := range int(count) {
		e, known, err := cacheEntryAt(data, data[cacheHeader+i*cacheEntry:], hwcaps)
		if err != nil {
			return nil, fmt.Errorf("library cache, entry %d: %w", i, err)
		}
		if known {
			entries = append(entries, e)
		}
	}
	return entries, nil
}

// skipOldCache returns what follows the table of the oldest layout, which some ldconfigs write first.
func skipOldCache(data []byte) ([]byte, error) {
	if len(data) < oldHeader || string(data[:len(oldMagic)]) != oldMagic {
		return data, nil
	}
	end := oldHeader + int64(binary.LittleEndian.Uint32(data[12:]))*oldEntry
	end = (end + 7) &^ 7
	if end >= int64(len(data)) {
		return nil, errors.New("library cache in the layout of glibc before 2.2 only")
	}
	return data[end:], nil
}

func cacheEntryAt(data, entry []byte, hwcaps []string) (e CacheEntry, known bool, err error) {
	switch binary.LittleEndian.Uint32(entry) {
	case flagsAMD64:
		e.Machine = AMD64
	case flagsARM64:
		e.Machine = ARM64
	default:
		return e, false, nil
	}
	if hwcap := binary.LittleEndian.Uint64(entry[16:]); hwcap != 0 {
		index := uint32(hwcap)
		if hwcap>>32 != hwcapsBit || uint64(index) >= uint64(len(hwcaps)) {
			return e, false, nil // the hwcaps that glibc 2.37 gave up
		}
		e.HWCap = hwcaps[index]
	}
	if e.Name, err = cacheString(data, binary.LittleEndian.Uint32(entry[4:])); err != nil {
		return e, false, err
	}
	e.Path, err = cacheString(data, binary.LittleEndian.Uint32(entry[8:]))
	return e, true, err
}

func cacheString(data []byte, offset uint32) (string, error) {
	if int64(offset) >= int64(len(data)) {
		return "", fmt.Errorf("string at %d of %d bytes", offset, len(data))
	}
	rest := data[offset:min(int64(len(data)), int64(offset)+maxName)]
	end := bytes.IndexByte(rest, 0)
	if end < 0 {
		return "", fmt.Errorf("string at %d has no end", offset)
	}
	return string(rest[:end]), nil
}

// cacheHWCaps reads the names of the glibc-hwcaps subfolders from the extensions, if there are any.
func cacheHWCaps(data []byte) ([]string, error) {
	at := int64(binary.LittleEndian.Uint32(data[32:]))
	if at == 0 {
		return nil, nil
	}
	if at+8 > int64(len(data)) || binary.LittleEndian.Uint32(data[at:]) != extensionMagic {
		return nil, nil // as the loader does: an unknown extension is none
	}
	count := int64(binary.LittleEndian.Uint32(data[at+4:]))
	if at+8+count*16 > int64(len(data)) {
		return nil, fmt.Errorf("library cache is too short for %d extensions", count)
	}
	for i := range count {
		section := data[at+8+i*16:]
		if binary.LittleEndian.Uint32(section) == hwcapsTag {
			return hwcapsNames(data, binary.LittleEndian.Uint32(section[8:]), binary.LittleEndian.Uint32(section[12:]))
		}
	}
	return nil, nil
}

func hwcapsNames(data []byte, offset, size uint32) ([]string, error) {
	if int64(offset)+int64(size) > int64(len(data)) {
		return nil, fmt.Errorf("library cache is too short for its hwcaps (%d bytes at %d)", size, offset)
	}
	names := make([]string, 0, size/4)
	for i := range size / 4 {
		name, err := cacheString(data, binary.LittleEndian.Uint32(data[offset+i*4:]))
		if err != nil {
			return nil, fmt.Errorf("library cache, hwcap %d: %w", i, err)
		}
		names = append(names, name)
	}
	return names, nil
}

// EncodeCache writes a cache file that the loader can search, for libraries without HWCap. The same
// entries give the same bytes in whatever order.
func EncodeCache(entries []CacheEntry) ([]byte, error) {
	entries = slices.Clone(entries)
	slices.SortFunc(entries, func(a, b CacheEntry) int {
		if c := compareNames(b.Name, a.Name); c != 0 {
			return c
		}
		return strings.Compare(a.Path, b.Path)
	})
	head := make([]byte, cacheHeader, cacheHeader+len(entries)*cacheEntry)
	copy(head, cacheMagic)
	var text []byte
	base := uint32(cap(head))
	for _, e := range entries {
		flags := uint32(flagsAMD64)
		switch {
		case e.HWCap != "":
			return nil, fmt.Errorf("write library cache: %q is in subfolder %q", e.Name, e.HWCap)
		case e.Machine == ARM64:
			flags = flagsARM64
		case e.Machine != AMD64:
			return nil, fmt.Errorf("write library cache: %q is for %s", e.Name, e.Machine)
		}
		head = binary.LittleEndian.AppendUint32(head, flags)
		head = binary.LittleEndian.AppendUint32(head, base+uint32(len(text)))
		text = append(append(text, e.Name...), 0)
		head = binary.LittleEndian.AppendUint32(head, base+uint32(len(text)))
		text = append(append(text, e.Path...), 0)
		head = append(head, make([]byte, 12)...)
	}
	binary.LittleEndian.PutUint32(head[20:], uint32(len(entries)))
	binary.LittleEndian.PutUint32(head[24:], uint32(len(text)))
	head[28] = littleEndian
	return append(head, text...), nil
}

// compareNames orders as the loader's binary search expects it: byte by byte, but runs of digits by
// their number, and a digit after any other byte.
func compareNames(a, b string) int {
	for a != "" && b != "" {
		switch {
		case isDigit(a[0]) && isDigit(b[0]):
			var x, y uint32
			x, a = leadingNumber(a)
			y, b = leadingNumber(b)
			if x != y {
				return cmpInt(x < y)
			}
		case isDigit(a[0]):
			return 1
		case isDigit(b[0]):
			return -1
		case a[0] != b[0]:
			return cmpInt(int8(a[0]) < int8(b[0]))
		default:
			a, b = a[1:], b[1:]
		}
	}
	return strings.Compare(a, b)
}

func cmpInt(less bool) int {
	if less {
		return -1
	}
	return 1
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func leadingNumber(s string) (n uint32, rest string) {
	for s != "" && isDigit(s[0]) {
		n, s = n*10+uint32(s[0]-'0'), s[1:]
	}
	return n, s
}
