package nanos

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"path"
	"slices"
	"strings"
	"testing"

	"sightline/runtime/closure"
)

// contents are the contents of a made-up closure.
type contents map[closure.Digest][]byte

func (c contents) Open(d closure.Digest) (io.ReadCloser, error) {
	data, ok := c[d]
	if !ok {
		return nil, errors.New("no such content")
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}

// made makes a closure of files by their paths; "->" before a content makes a link.
func made(files map[string]string) (*closure.Manifest, contents) {
	m, all := &closure.Manifest{Version: closure.Version, Platform: "linux/amd64"}, contents{}
	files[closure.ProgramPath] = "program"
	for name, text := range files {
		f := closure.File{Path: name, Kind: closure.Data, Size: int64(len(text)), SHA256: closure.Sum([]byte(text))}
		if target, ok := strings.CutPrefix(text, "->"); ok {
			f.Link, f.Size, f.SHA256 = target, 0, ""
		} else {
			all[f.SHA256] = []byte(text)
		}
		if name == closure.ProgramPath {
			f.Kind, f.Executable = closure.Program, true
		}
		m.Files = append(m.Files, f)
	}
	slices.SortFunc(m.Files, func(a, b closure.File) int { return strings.Compare(a.Path, b.Path) })
	return m, all
}

func settings(program ...string) Image {
	return Image{Program: program, Address: netip.MustParsePrefix("10.0.2.101/31")}
}

func packed(t testing.TB, i Image, m *closure.Manifest, from closure.Contents) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := i.Pack(&b, m, from); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// disk reads an image as the kernel does, by the rules of its src/fs/tlog.c and src/runtime/tuple.c.
type disk struct {
	t     testing.TB
	data  []byte // of the file system
	log   []byte // the tuple that the log has, in one piece
	names map[uint64]string
	count uint64
}

func readDisk(t testing.TB, image []byte) *disk {
	t.Helper()
	if binary.LittleEndian.Uint16(image[510:]) != 0xaa55 || image[510-48+4] == 0 {
		t.Fatal("no table of partitions")
	}
	second := image[510-48:]
	start, count := binary.LittleEndian.Uint32(second[8:]), binary.LittleEndian.Uint32(second[12:])
	if int(start+count)*sector != len(image) {
		t.Fatalf("a file system of %d sectors at %d is not all of %d bytes", count, start, len(image))
	}
	d := &disk{t: t, data: image[int(start)*sector:], names: map[uint64]string{}}
	d.readLog()
	return d
}

// varint takes a number off the front.
func varint(b *[]byte) (n uint64) {
	for {
		c := (*b)[0]
		*b = (*b)[1:]
		n = n<<7 | uint64(c&0x7f)
		if c&0x80 == 0 {
			return n
		}
	}
}

func (d *disk) readLog() {
	at, size, total, seen := uint64(0), uint64(1), uint64(0), 0
	for size != 0 {
		b := d.data[at*sector : (at+size)*sector]
		if !bytes.HasPrefix(b, []byte(tfsMagic)) {
			d.t.Fatalf("no log at sector %d", at)
		}
		b = b[len(tfsMagic):]
		if version, length := varint(&b), varint(&b); version != tfsVersion || length != size {
			d.t.Fatalf("log of version %d and %d sectors instead of %d", version, length, size)
		}
		if at == 0 {
			b = b[bytes.IndexByte(b[16:], 0)+17:] // UUID and label
		}
		size = 0
		for b[0] != endOfLog && size == 0 {
			record := b[0]
			b = b[1:]
			switch record {
			case tupleAvailable, tupleExtended:
				if record == tupleAvailable {
					total = varint(&b)
				}
				n := varint(&b)
				d.log, b = append(d.log, b[:n]...), b[n:]
			case logLink:
				at, size = varint(&b), varint(&b)
			default:
				d.t.Fatalf("record %d in the log", record)
			}
		}
		seen++
	}
	if uint64(len(d.log)) != total || seen < 2 {
		d.t.Fatalf("a tuple of %d bytes has %d, in %d parts of the log", total, len(d.log), seen)
	}
}

func (d *disk) header() (flags, kind byte, n uint64) {
	c := d.log[0]
	d.log = d.log[1:]
	n = uint64(c & 7)
	for more := c&longer != 0; more; {
		g := d.log[0]
		d.log = d.log[1:]
		n, more = n<<7|uint64(g&0x7f), g&0x80 != 0
	}
	return c & immediate, c >> 4 & 7, n
}

func (d *disk) take(n uint64) string {
	text := string(d.log[:n])
	d.log = d.log[n:]
	return text
}

func (d *disk) symbol() string {
	flags, kind, n := d.header()
	if kind != kindBuffer {
		d.t.Fatalf("a symbol of kind %d", kind)
	}
	if flags == 0 {
		return d.names[n]
	}
	name := d.take(n)
	d.count++
	d.names[d.count] = name
	return name
}

func (d *disk) value() any {
	flags, kind, n := d.header()
	if flags != immediate {
		d.t.Fatal("a value by its number")
	}
	switch kind {
	case kindText:
		return d.take(n)
	case kindTuple:
		d.count++
		all := map[string]any{}
		for range n {
			name := d.symbol()
			all[name] = d.value()
		}
		return all
	case kindList:
		d.count++
		var all []any
		for range n {
			all = append(all, d.value())
		}
		return all
	}
	d.t.Fatalf("a value of kind %d", kind)
	return nil
}

// files returns the files by their paths, as made takes them.
func (d *disk) files(at string, dir map[string]any) map[string]string {
	all := map[string]string{}
	children, _ := dir["children"].(map[string]any)
	for name, child := range children {
		c, _ := child.(map[string]any)
		if target, ok := c["linktarget"]; ok {
			all[path.Join(at, name)] = fmt.Sprint("->", target)
			continue
		}
		if _, ok := c["extents"]; ok {
			all[path.Join(at, name)] = d.content(c)
			continue
		}
		for p, text := range d.files(path.Join(at, name), c) {
			all[p] = text
		}
	}
	return all
}

func (d *disk) content(file map[string]any) string {
	var length, offset, count, allocated int
	if _, err := fmt.Sscan(file["filelength"].(string), &length); err != nil {
		d.t.Fatal(err)
	}
	extents := file["extents"].(map[string]any)
	if length == 0 {
		return ""
	}
	extent := extents["0"].(map[string]any)
	for name, into := range map[string]*int{"offset": &offset, "length": &count, "allocated": &allocated} {
		if _, err := fmt.Sscan(extent[name].(string), into); err != nil {
			d.t.Fatal(err)
		}
	}
	if count != (length+sector-1)/sector || allocated != count {
		d.t.Errorf("%d bytes in %d sectors of %d", length, count, allocated)
	}
	return string(d.data[offset*sector : offset*sector+length])
}

func TestAnImageHasTheClosureAndTheSettings(t *testing.T) {
	files := map[string]string{
		"/lib/a/b.so.1": strings.Repeat("library", 1000), "/lib/b.so": "->a/b.so.1", "/model/empty": "",
		"/model/sector": strings.Repeat("s", sector), "/model/more": strings.Repeat("s", sector+1),
	}
	m, from := made(files)
	d := readDisk(t, packed(t, settings("/stage", "one", "two words", "10.0.2.100:7777"), m, from))
	root := d.value().(map[string]any)
	if got := d.files("/", root); fmt.Sprint(got) != fmt.Sprint(files) {
		t.Errorf("files are %.300v", got)
	}
	delete(root, "children")
	want := map[string]any{
		"program": "/stage", "arguments": []any{"/stage", "one", "two words", "10.0.2.100:7777"}, "environment": map[string]any{},
		"ipaddr": "10.0.2.101", "netmask": "255.255.255.254", "gateway": "0.0.0.0",
		"debug_exit": "t", "readonly_rootfs": "t", "transparent_hugepage": "never", "exec_protection": "t",
	}
	if fmt.Sprint(root) != fmt.Sprint(want) {
		t.Errorf("settings are\n%v, not\n%v", root, want)
	}
}

func TestTheLogOfManyFilesGoesOn(t *testing.T) {
	files := map[string]string{}
	for i := range 9000 {
		files[fmt.Sprintf("/data/%d/%s-%d", i%11, strings.Repeat("n", i%100), i)] = fmt.Sprint(i)
	}
	m, from := made(files)
	d := readDisk(t, packed(t, settings("/stage"), m, from))
	if len(d.log) <= room {
		t.Fatalf("a log of %d bytes goes into one extension", len(d.log))
	}
	if got := d.files("/", d.value().(map[string]any)); fmt.Sprint(got) != fmt.Sprint(files) {
		t.Error("files are others")
	}
}

func TestAnImageIsTheSameEachTime(t *testing.T) {
	m, from := made(map[string]string{"/a/b": "c", "/a/d": "e", "/f": "g"})
	first := packed(t, settings("/stage"), m, from)
	for range 5 {
		if !bytes.Equal(first, packed(t, settings("/stage"), m, from)) {
			t.Fatal("it is another")
		}
	}
	if other, _ := made(map[string]string{"/a/b": "c"}); bytes.Equal(first[sector*fileSystem:][:sector], packed(t, settings("/stage"), other, from)[sector*fileSystem:][:sector]) {
		t.Error("another closure has the same UUID")
	}
}

func TestKeysAreOfTheSettings(t *testing.T) {
	keys := map[string]string{}
	for _, i := range []Image{
		settings("/stage"), settings("/stage", "a b"), settings("/stage", "a", "b"), settings("/stage", `a" "b`),
		{Program: []string{"/stage"}, Address: netip.MustParsePrefix("10.0.2.101/24")},
	} {
		key, err := i.Key()
		if err != nil {
			t.Fatal(err)
		}
		if other, ok := keys[key]; ok {
			t.Errorf("%+v has the key of %s", i, other)
		}
		keys[key] = fmt.Sprint(i)
	}
}

func TestWhatTheKernelWouldNotRunIsRefused(t *testing.T) {
	m, from := made(map[string]string{})
	for text, i := range map[string]Image{
		"not an absolute path": settings("stage"), "[]": settings(), "zero byte": settings("/stage", "a\x00b"),
		"longer than": settings("/stage", strings.Repeat("a", maxArguments)), "IPv4": {Program: []string{"/stage"}, Address: netip.MustParsePrefix("fe80::1/64")},
	} {
		if _, err := i.Key(); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("key: %v, without %q", err, text)
		}
		if err := i.Pack(io.Discard, m, from); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("pack: %v, without %q", err, text)
		}
	}
}

func TestAChangedContentIsTold(t *testing.T) {
	m, from := made(map[string]string{"/model": "data"})
	from[closure.Sum([]byte("data"))] = []byte("dato")
	if err := settings("/stage").Pack(io.Discard, m, from); err == nil || !strings.Contains(err.Error(), "/model") {
		t.Errorf("packed: %v", err)
	}
}

func FuzzArguments(f *testing.F) {
	f.Add("/stage", "one", []byte("content"))
	f.Add("/a/b", "\xff\n\"", []byte{})
	f.Fuzz(func(t *testing.T, program, argument string, content []byte) {
		i := settings(program, argument)
		if _, err := i.Key(); err != nil {
			return
		}
		m, from := made(map[string]string{"/data": "d" + string(content)})
		d := readDisk(t, packed(t, i, m, from))
		root := d.value().(map[string]any)
		if got := root["arguments"].([]any); len(got) != 2 || got[0] != program || got[1] != argument {
			t.Errorf("arguments are %q", got)
		}
		if got := d.files("/", root)["/data"]; got != "d"+string(content) {
			t.Errorf("content is %q", got)
		}
	})
}
