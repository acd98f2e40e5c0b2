package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

type note struct {
	Text string `json:"text"`
}

func TestAFileIsReplacedWhole(t *testing.T) {
	name := filepath.Join(t.TempDir(), "note.json")
	for _, text := range []string{"first", strings.Repeat("a", 9000), "last"} {
		if err := WriteJSON(name, note{text}); err != nil {
			t.Fatal(err)
		}
		var n note
		if err := ReadJSON(name, 1<<20, &n); err != nil || n.Text != text {
			t.Errorf("%q (%v)", n.Text, err)
		}
	}
	info, err := os.Stat(name)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v (%v)", info.Mode(), err)
	}
	if _, err := os.Stat(name + Temporary); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("left: %v", err)
	}
}

func TestWhatIsNotOneKnownValueIsRefused(t *testing.T) {
	name := filepath.Join(t.TempDir(), "note.json")
	for what, text := range map[string]string{
		"empty": "", "cut off": `{"text":`, "unknown field": `{"txet":"a"}`, "two": `{"text":"a"}{}`,
		"too long": `{"text":"` + strings.Repeat("a", 100) + `"}`,
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var n note
		if err := ReadJSON(name, 100, &n); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestAFullDiskIsSaidInWords(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting a small disk takes root")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=16k"); err != nil {
		t.Skipf("no small disk can be mounted here: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	name := filepath.Join(dir, "note.json")
	if err := WriteJSON(name, note{"first"}); err != nil {
		t.Fatal(err)
	}
	err := WriteJSON(name, note{strings.Repeat("a", 64<<10)})
	if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "is full") {
		t.Errorf("said: %v", err)
	}
	var n note
	if err := ReadJSON(name, 1<<20, &n); err != nil || n.Text != "first" {
		t.Errorf("the old one is %q (%v)", n.Text, err)
	}
	if _, err := os.Stat(name + Temporary); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("left: %v", err)
	}
}
