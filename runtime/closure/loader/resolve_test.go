package loader

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestLinksStayBelowTheRoot(t *testing.T) {
	root := t.TempDir()
	links := map[string]string{
		"lib": "usr/lib", "abs": "/usr/lib/real", "up": "../../../../usr/lib/real", "loop": "loop", "deep": "abs", "out": "/etc/hostname",
	}
	if err := os.MkdirAll(filepath.Join(root, "usr/lib"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "usr/lib/real"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, target := range links {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"/lib/real", "/abs", "/up", "/deep", "lib/../../abs", "/../../lib/real", "//lib//real/"} {
		if got, err := resolveIn(root, name); err != nil || got != root+"/usr/lib/real" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	for name, want := range map[string]error{"/none": fs.ErrNotExist, "/out": fs.ErrNotExist, "/loop": syscall.ELOOP, "/abs/below": fs.ErrNotExist} {
		if got, err := resolveIn(root, name); !errors.Is(err, want) {
			t.Errorf("%s: %q, %v, want %v", name, got, err, want)
		}
	}
}

func TestLdSoConfIsReadWithItsIncludes(t *testing.T) {
	root := t.TempDir()
	files := map[string]string{
		"etc/ld.so.conf":          "# all\ninclude ld.so.conf.d/*.conf\n/opt/last\nhwcap 0 nosegneg\n",
		"etc/ld.so.conf.d/b.conf": "/opt/b, /opt/c:/opt/d=libc6 # folders\nrelative\n",
		"etc/ld.so.conf.d/a.conf": "/opt/a\ninclude /etc/ld.so.conf\n",
		"etc/ld.so.conf.d/a.old":  "/opt/old\n",
	}
	for name, text := range files {
		name = filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	got, err := readConf(root, "/etc/ld.so.conf")
	want := []string{"/opt/a", "/opt/b", "/opt/c", "/opt/d", "/opt/last"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err := readConf(root, "/etc/none"); err != nil || got != nil {
		t.Errorf("a missing file: %q, %v", got, err)
	}
}

func FuzzParseConf(f *testing.F) {
	for _, seed := range []string{"include a b\n/x,/y:/z=libc6\n", "#\nhwcap 1 x", "\r\n \t"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, d := range parseConf(text) {
			if !d.include && !strings.HasPrefix(d.path, "/") {
				t.Errorf("folder %q", d.path)
			}
		}
	})
}
