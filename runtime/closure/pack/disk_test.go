package pack

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sightline/runtime/closure"
)

// checker finds a program of e2fsprogs, which may be out of the search path.
func checker(t testing.TB, name string) string {
	t.Helper()
	for _, dir := range []string{"/sbin", "/usr/sbin"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return filepath.Join(dir, name)
		}
	}
	t.Skipf("%s is not installed", name)
	return ""
}

func writeDisk(t testing.TB, data []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(name, data, 0o444); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestADiskIsAFaultlessFileSystem(t *testing.T) {
	c := stage(t)
	disk := writeDisk(t, packed(t, Disk{}, c))
	tool(t, nil, "", checker(t, "e2fsck"), "-f", "-n", disk)
	dir := t.TempDir()
	tool(t, nil, "", checker(t, "debugfs"), "-R", "rdump / "+dir, disk)
	for _, name := range []string{"dev", "proc", "sys", "tmp", "lost+found"} {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := sealed(t, c.Manifest, dir); err != nil {
		t.Error(err)
	}
	nodes := tool(t, nil, "", checker(t, "debugfs"), "-R", "ls -l /dev", disk)
	if !strings.Contains(nodes, "20600 (3)") || !strings.Contains(nodes, "20666 (3)") {
		t.Errorf("the nodes are\n%s", nodes)
	}
}

func TestTheKernelMountsADisk(t *testing.T) {
	c := stage(t)
	disk := writeDisk(t, packed(t, Disk{}, c))
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "ext4", "-o", "ro,loop", disk, dir).CombinedOutput(); err != nil {
		t.Skipf("no mounting here: %v: %s", err, out)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, 0) })
	for _, f := range c.Manifest.Files {
		at := filepath.Join(dir, f.Path)
		if f.Link != "" {
			if target, err := os.Readlink(at); err != nil || target != f.Link {
				t.Errorf("%s: %q, %v", f.Path, target, err)
			}
			continue
		}
		if data, err := os.ReadFile(at); err != nil || closure.Sum(data) != f.SHA256 {
			t.Errorf("%s: other content, %v", f.Path, err)
		}
		if info, err := os.Stat(at); err != nil || uint32(info.Mode().Perm()) != f.Mode() {
			t.Errorf("%s: %v, %v", f.Path, info, err)
		}
	}
	var info unix.Stat_t
	if err := unix.Stat(dir+"/dev/console", &info); err != nil || info.Rdev != unix.Mkdev(5, 1) {
		t.Errorf("console: %+v, %v", info, err)
	}
}

// zeros are contents of any size, by their digests.
type zeros map[closure.Digest]int64

func (z zeros) Open(d closure.Digest) (io.ReadCloser, error) {
	return io.NopCloser(io.LimitReader(zero{}, z[d])), nil
}

type zero struct{}

func (zero) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// made makes a manifest of files of zeros with these sizes.
func made(t testing.TB, sizes map[string]int64) (*closure.Manifest, zeros) {
	t.Helper()
	m, contents := &closure.Manifest{Version: closure.Version, Platform: "linux/amd64"}, zeros{}
	sizes[closure.ProgramPath] = 1
	for name, size := range sizes {
		hash := sha256.New()
		if _, err := io.CopyN(hash, zero{}, size); err != nil {
			t.Fatal(err)
		}
		d := closure.Digest(fmt.Sprintf("%x", hash.Sum(nil)))
		contents[d] = size
		f := closure.File{Path: name, Kind: closure.Data, Size: size, SHA256: d}
		if name == closure.ProgramPath {
			f.Kind, f.Executable = closure.Program, true
		}
		m.Files = append(m.Files, f)
	}
	slices.SortFunc(m.Files, func(a, b closure.File) int { return strings.Compare(a.Path, b.Path) })
	return m, contents
}

// holes writes a file without its zeros.
type holes struct{ file *os.File }

func (h holes) Write(p []byte) (int, error) {
	if bytes.Equal(p, make([]byte, len(p))) {
		_, err := h.file.Seek(int64(len(p)), io.SeekCurrent)
		return len(p), err
	}
	return h.file.Write(p)
}

func TestDisksOfOddShapesAreFaultless(t *testing.T) {
	fsck := checker(t, "e2fsck")
	many := map[string]int64{}
	for i := range 3000 {
		many[fmt.Sprintf("/data/%03d/%s%d", i%7, strings.Repeat("n", i%200), i)] = int64(i % 3 * 4096)
	}
	for name, sizes := range map[string]map[string]int64{
		"nothing but a program":                      {},
		"many files in big folders":                  many,
		"just a block, and one byte more":            {"/a": 4096, "/b": 4097, "/c": 0},
		"several groups and extents":                 {"/a": 150 << 20, "/b": 1 << 20, "/z": 3},
		"a file of more extents than an inode takes": {"/a": 4<<27 + 1, "/z": 9000},
	} {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && len(sizes) > 0 && sizes["/a"] > 1<<24 {
				t.Skip("large")
			}
			m, contents := made(t, sizes)
			file, err := os.Create(filepath.Join(t.TempDir(), "disk"))
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			if err := (Disk{}).Pack(holes{file}, m, contents); err != nil {
				t.Fatal(err)
			}
			size, err := file.Seek(0, io.SeekCurrent)
			if err == nil {
				err = file.Truncate(size)
			}
			if err != nil {
				t.Fatal(err)
			}
			tool(t, nil, "", fsck, "-f", "-n", file.Name())
			for _, f := range m.Files[:min(3, len(m.Files))] {
				got := tool(t, nil, "", checker(t, "debugfs"), "-R", "stat \""+f.Path+"\"", file.Name())
				if !strings.Contains(got, fmt.Sprintf("Size: %d\n", f.Size)) {
					t.Errorf("%s of %d bytes:\n%s", f.Path, f.Size, got)
				}
			}
		})
	}
}
