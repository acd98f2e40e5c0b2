package soak

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestADiskIsFullAndHasRoomAgain(t *testing.T) {
	at := filepath.Join(t.TempDir(), "state")
	d, err := newDisk(at)
	if errors.Is(err, syscall.EPERM) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	mounted := true
	t.Cleanup(func() {
		if mounted {
			_ = d.remove() // the test has failed
		}
	})
	if err := os.MkdirAll(filepath.Join(at, "below"), 0o700); err != nil {
		t.Fatal(err)
	}
	name, text := filepath.Join(at, "below", "file"), bytes.Repeat([]byte("a line\n"), 10_000)
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("below/file", filepath.Join(at, "link")); err != nil {
		t.Fatal(err)
	}
	for _, more := range []string{"2", "3", "4"} {
		if err := d.fill(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name+more, text, 0o600); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("on a full disk: %v", err)
		}
		if err := d.empty(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name+more, text, 0o600); err != nil {
			t.Errorf("on a disk with room: %v", err)
		}
	}
	if _, err := newDisk(at); err == nil {
		t.Error("a disk where something lies")
	}
	if err := d.leave(); err != nil {
		t.Fatal(err)
	}
	mounted = false
	for _, path := range []string{name, name + "4", filepath.Join(at, "link")} {
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, text) {
			t.Errorf("%s: %d bytes are left of %d (%v)", path, len(got), len(text), err)
		}
	}
	if entries, err := os.ReadDir(filepath.Dir(at)); err != nil || len(entries) != 1 {
		t.Errorf("%v (%v)", entries, err)
	}
}
