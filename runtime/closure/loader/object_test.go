package loader

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestObjectsReadAsTheLinkerWroteThem(t *testing.T) {
	dir := t.TempDir()
	made := compile(t, "gcc", dir, "x.c", "int x(void){return 0;}\n", "-shared", "-fPIC", "-o", "libx.so", "-Wl,--no-as-needed",
		"-Wl,-soname,libx.so.7", "-Wl,--enable-new-dtags,-rpath,/a:$ORIGIN/b", "-Wl,-z,nodefaultlib", "-Wl,-f,libaux.so", "-lm")
	want := &Object{Machine: hostMachine(), SOName: "libx.so.7", Needed: []string{"libm.so.6", "libc.so.6"}, Auxiliary: []string{"libaux.so"},
		RunPath: []string{"/a", "$ORIGIN/b"}, NoDefault: true, hasRunPath: true}
	got, err := readFile(made)
	if err == nil { // these are the C library's
		got.Versions, got.Defines = nil, nil
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	// Section headers are not needed.
	clearSectionHeaders(t, made)
	if got, err = readFile(made); err == nil {
		got.Versions, got.Defines = nil, nil
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("without section headers: %+v, %v", got, err)
	}
}

func clearSectionHeaders(t *testing.T, name string) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	clear(data[40:48]) // e_shoff
	clear(data[60:64]) // e_shnum, e_shstrndx
	if err := os.WriteFile(name, data, 0o755); err != nil {
		t.Fatal(err)
	}
}

// minimal returns a small valid library.
func minimal() []byte {
	const headers, dynamic, text = 64, 64 + 2*56, 64 + 2*56 + 4*16
	strtab := []byte("\x00liba.so\x00libb.so\x00")
	b := append([]byte("\x7fELF\x02\x01\x01"), make([]byte, 9)...)
	u16 := func(v uint16) { b = binary.LittleEndian.AppendUint16(b, v) }
	u32 := func(v uint32) { b = binary.LittleEndian.AppendUint32(b, v) }
	u64 := func(v ...uint64) {
		for _, v := range v {
			b = binary.LittleEndian.AppendUint64(b, v)
		}
	}
	u16(3)
	u16(uint16(AMD64))
	u32(1)
	u64(0, headers, 0)
	u32(0)
	u16(64)
	u16(56)
	u16(2)
	u16(64)
	u32(0)
	size := uint64(text + len(strtab))
	u32(1)
	u32(5)
	u64(0, 0, 0, size, size, 4096)
	u32(2)
	u32(6)
	u64(dynamic, dynamic, dynamic, 4*16, 4*16, 8)
	u64(1, 1, 14, 9, 5, text, 10, uint64(len(strtab)))
	return append(b, strtab...)
}

// badObjects are refused, with a word of the reason.
func badObjects() map[string][]byte {
	change := func(at int, value uint64) []byte {
		data := minimal()
		binary.LittleEndian.PutUint64(data[at:], value)
		return data
	}
	class := minimal()
	class[4] = 1
	kind := minimal()
	kind[16] = 1
	return map[string][]byte{
		"not an ELF file":              []byte("#!/bin/sh\n"),
		"not a little-endian 64-bit":   class,
		"neither program nor library":  kind,
		"program headers of":           change(54, 0),
		"read program headers":         change(32, 1<<40),
		"read dynamic section":         change(64+56+32, 1<<40),
		"string at 4096 of a table":    change(176+8, 4096),
		"is in no segment":             change(176+40, 1<<40),
		"ends after its segment":       change(176+56, 1<<40),
		"read dynamic section: offset": change(64+56+8, 1<<63),
	}
}

func TestBadObjectsAreRefused(t *testing.T) {
	got, err := ReadObject(bytes.NewReader(minimal()))
	if err != nil || got.SOName != "libb.so" || len(got.Needed) != 1 || got.Needed[0] != "liba.so" {
		t.Fatalf("a good one: %+v, %v", got, err)
	}
	for reason, data := range badObjects() {
		if _, err := ReadObject(bytes.NewReader(data)); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%s: got %v", reason, err)
		}
	}
	if _, err := ReadObject(bytes.NewReader(nil)); !errors.Is(err, ErrNotELF) {
		t.Errorf("an empty file: %v", err)
	}
}

func FuzzReadObject(f *testing.F) {
	f.Add(minimal())
	for _, data := range badObjects() {
		f.Add(data)
	}
	if data, err := os.ReadFile("/bin/true"); err == nil {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		o, err := ReadObject(bytes.NewReader(data))
		if err == nil && len(o.Needed) > len(data)/16 {
			t.Errorf("%d needed of %d bytes", len(o.Needed), len(data))
		}
	})
}

// FuzzTrace walks from a mutated library in a root of its own.
func FuzzTrace(f *testing.F) {
	f.Add(minimal(), "/lib\ninclude /etc/*.conf\n")
	for _, data := range badObjects() {
		f.Add(data, "")
	}
	program := append(minimal(), 0)
	f.Fuzz(func(t *testing.T, data []byte, conf string) {
		root := t.TempDir()
		for name, content := range map[string][]byte{"lib/liba.so": data, "etc/ld.so.conf": []byte(conf), "main": program} {
			if err := os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(root, name), content, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		main := &Library{Path: root + "/main", Object: &Object{Machine: AMD64, Needed: []string{"liba.so"}}, found: place{path: root + "/main"}}
		s, err := newSearch(&Loader{Root: root}, AMD64)
		if err != nil {
			return
		}
		walk := &trace{loader: &Loader{Root: root}, main: main, search: s, interpreter: &Library{Object: &Object{}}}
		walk.walk()
		for _, lib := range walk.loaded {
			if !strings.HasPrefix(lib.Path, root) {
				t.Errorf("%s is out of the root", lib.Path)
			}
		}
	})
}
