package closure

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

type memory map[Digest]string

func (m memory) Open(d Digest) (io.ReadCloser, error) {
	text, ok := m[d]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return io.NopCloser(strings.NewReader(text)), nil
}

func smallContents() memory { return memory{Sum([]byte("a")): "a", Sum([]byte("s")): "s"} }

func layOutSmall(t *testing.T) (*Manifest, string) {
	t.Helper()
	m, dir := small(), newTree(t)
	if err := Materialise(m, smallContents(), dir); err != nil {
		t.Fatal(err)
	}
	return m, dir
}

func TestATreeIsReadOnlyAndVerifies(t *testing.T) {
	m, dir := layOutSmall(t)
	if err := VerifyTree(m, dir); err != nil {
		t.Error(err)
	}
	for name, mode := range map[string]fs.FileMode{"stage": 0o555, "opt/liba.so.1": 0o444, "opt": fs.ModeDir | 0o555} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode() != mode || info.ModTime().Unix() != 0 {
			t.Errorf("%s: %v %v, %v", name, info.Mode(), info.ModTime(), err)
		}
	}
	if err := Materialise(m, smallContents(), dir); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over itself: %v", err)
	}
}

func TestEveryChangeOfATreeIsTold(t *testing.T) {
	for _, c := range []struct {
		path, reason string
		change       func(dir string) error
	}{
		{"/stage", "was changed", func(dir string) error { return os.WriteFile(dir+"/stage", []byte("x"), 0) }},
		{"/stage", "was changed", func(dir string) error { return os.WriteFile(dir+"/stage", []byte("ss"), 0) }},
		{"/stage", "is missing", func(dir string) error { return os.Remove(dir + "/stage") }},
		{"/stage", "has permissions", func(dir string) error { return os.Chmod(dir+"/stage", 0o755) }},
		{"/opt", "has permissions", func(dir string) error { return os.Chmod(dir+"/opt", 0o755) }},
		{"/stage", "no regular file", func(dir string) error {
			return errors.Join(os.Remove(dir+"/stage"), os.Symlink("opt/liba.so.1", dir+"/stage"))
		}},
		{"/lib/liba.so", "is no link to", func(dir string) error {
			return errors.Join(os.Remove(dir+"/lib/liba.so"), os.Symlink("/etc/passwd", dir+"/lib/liba.so"))
		}},
		{"/opt/more", "does not belong", func(dir string) error { return os.WriteFile(dir+"/opt/more", nil, 0o444) }},
		{"/etc", "folder that does not belong", func(dir string) error { return os.Mkdir(dir+"/etc", 0o555) }},
		{"/opt", "does not belong", func(dir string) error {
			return errors.Join(os.Rename(dir+"/opt", dir+"/old"), os.Symlink("old", dir+"/opt"))
		}},
	} {
		m, dir := layOutSmall(t)
		for _, folder := range []string{"", "/opt", "/lib"} {
			if err := os.Chmod(dir+folder, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		_ = os.Chmod(dir+"/stage", 0o644)
		if err := c.change(dir); err != nil {
			t.Fatal(err)
		}
		err := VerifyTree(m, dir)
		if !told(err, c.path, c.reason) {
			t.Errorf("%s %s: got %v", c.path, c.reason, err)
		}
	}
}

func told(err error, path, reason string) bool {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return false
	}
	for _, e := range joined.Unwrap() {
		var d *Difference
		if errors.As(e, &d) && d.Path == path && strings.Contains(d.Reason, reason) {
			return true
		}
	}
	return false
}

func TestContentsThatAreNotWhatTheySayAreNotLaidOut(t *testing.T) {
	for name, contents := range map[string]memory{
		"other":   {Sum([]byte("a")): "a", Sum([]byte("s")): "x"},
		"longer":  {Sum([]byte("a")): "a", Sum([]byte("s")): "s and more"},
		"shorter": {Sum([]byte("a")): "a", Sum([]byte("s")): ""},
		"missing": {Sum([]byte("a")): "a"},
	} {
		dir := t.TempDir()
		if err := Materialise(small(), contents, filepath.Join(dir, "tree")); err == nil || !strings.Contains(err.Error(), "/stage") {
			t.Errorf("%s: %v", name, err)
		}
		if left, _ := os.ReadDir(dir); len(left) != 0 {
			t.Errorf("%s: left %v", name, left)
		}
	}
}
