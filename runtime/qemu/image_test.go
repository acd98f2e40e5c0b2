package qemu

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// qcow2 makes a header, changed by put, which sets 32 bits at an offset.
func qcow2(changes ...uint32) []byte {
	header := make([]byte, 512)
	copy(header, qcow2Magic)
	put := func(at int, value uint32) { binary.BigEndian.PutUint32(header[at:], value) }
	put(qcow2Version, 3)
	put(20, 16)
	put(qcow2Size+4, 1<<20)
	put(qcow2HeaderLength, 104)
	for i := 0; i+1 < len(changes); i += 2 {
		put(int(changes[i]), changes[i+1])
	}
	return header
}

// images are headers and what is said of them; "" is nothing.
func images() map[string]struct {
	header []byte
	says   string
} {
	return map[string]struct {
		header []byte
		says   string
	}{
		"good":                              {qcow2(), ""},
		"good and old":                      {qcow2(qcow2Version, 2, qcow2HeaderLength, 0), ""},
		"dirty":                             {qcow2(qcow2Incompatible+4, 1), ""},
		"with a table of features":          {qcow2(104, 0x6803f857, 108, 9), ""},
		"on a backing image":                {qcow2(qcow2BackingAt+4, 512, qcow2BackingSize, 11), "another image"},
		"on a backing image, old":           {qcow2(qcow2Version, 2, qcow2BackingAt, 1), "another image"},
		"with a data file":                  {qcow2(qcow2Incompatible+4, qcow2DataFile), "another file"},
		"with the name of a data file":      {qcow2(104, qcow2Extension, 108, 8), "another file"},
		"with a data file after a table":    {qcow2(104, 0x6803f857, 108, 9, 128, qcow2Extension), "another file"},
		"encrypted":                         {qcow2(qcow2Crypt, 1), "encrypted"},
		"of the first version":              {qcow2(qcow2Version, 1), "version 1"},
		"of unknown features":               {qcow2(qcow2Incompatible, 1), "not known"},
		"without room":                      {qcow2(qcow2Size+4, 0), "without room"},
		"with a header that leaves":         {qcow2(qcow2HeaderLength, 1<<31), "header of"},
		"with an extension that never ends": {qcow2(104, 7, 108, 1<<31), "more than a page"},
		"cut off":                           {qcow2()[:90], "cut off"},
		"another thing":                     {[]byte("MZ, or anything else"), "no qcow2"},
		"empty":                             {nil, "empty"},
	}
}

func TestImagesThatLeadElsewhereAreRefused(t *testing.T) {
	for name, image := range images() {
		err := checkHeader(image.header, Qcow2)
		switch {
		case image.says == "" && err != nil:
			t.Errorf("an image %s is refused: %v", name, err)
		case image.says != "" && (err == nil || !strings.Contains(err.Error(), image.says)):
			t.Errorf("of an image %s is said %v instead of %q", name, err, image.says)
		}
	}
}

func FuzzCheckHeader(f *testing.F) {
	for _, image := range images() {
		f.Add(image.header)
	}
	f.Fuzz(func(t *testing.T, header []byte) {
		if checkHeader(header, Qcow2) == nil && binary.BigEndian.Uint64(header[qcow2BackingAt:]) != 0 {
			t.Error("stands on another image")
		}
	})
}

func TestImagesOfQEMUsOwnTool(t *testing.T) {
	tool, err := exec.LookPath("qemu-img")
	if err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	make := func(name string, args ...string) string {
		path := filepath.Join(dir, name)
		if out, err := exec.CommandContext(t.Context(), tool, append([]string{"create", "-q", "-f", "qcow2"}, append(args, path, "8M")...)...).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return path
	}
	base := make("base")
	for path, good := range map[string]bool{
		base: true, make("old", "-o", "compat=0.10"): true, make("extended", "-o", "extended_l2=on"): true, make("zstd", "-o", "compression_type=zstd"): true,
		make("backed", "-b", base, "-F", "qcow2"): false, make("data", "-o", "data_file="+filepath.Join(dir, "data.raw")): false,
	} {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := CheckImage(f, Qcow2); (err == nil) != good {
			t.Errorf("%s: %v", filepath.Base(path), err)
		}
	}
}
