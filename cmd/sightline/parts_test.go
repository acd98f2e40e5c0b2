package main

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"sightline/models/onnx/library"
)

func TestARuntimeThatIsInstalledLaterIsTakenThen(t *testing.T) {
	found, _, err := library.Find("")
	if err != nil {
		t.Skip(err)
	}
	t.Setenv(library.Variable, "")
	later := filepath.Join(t.TempDir(), "libonnxruntime.so")
	i := &inference{library: later}
	if _, err := i.start(); err == nil {
		t.Fatal("started without a library")
	}
	if err := os.Symlink(found, later); err != nil {
		t.Fatal(err)
	}
	first, err := i.start()
	if err != nil {
		t.Fatal(err)
	}
	if second, err := i.start(); second != first || err != nil {
		t.Errorf("started again: %v", err)
	}
	if err := i.close(); err != nil {
		t.Error(err)
	}
}

func TestPartsThatWereNotNeededClose(t *testing.T) {
	_, closeParts := newParts("nowhere.so", io.Discard)
	if err := closeParts(); err != nil {
		t.Error(err)
	}
}
