package drivertest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"sightline/runtime/closure"
	"sightline/runtime/closure/store"
	"sightline/runtime/driver"
)

// DataPath and Data are a file that the suite's closure has beside its program.
const (
	DataPath = "/model/labels"
	Data     = "cat\ndog\n"
)

// workshop has the suite's closure in a store.
type workshop struct {
	dir    string // of the store
	digest closure.Digest
	secret string // a file outside the closure that anyone may read
}

// BuildStage builds the suite's program for an architecture; "" is this machine's.
func BuildStage(t *testing.T, arch string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "stage")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, "sightline/runtime/drivertest/stage")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false", "GOARCH="+arch)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the stage: %v\n%s", err, out)
	}
	return program
}

func newWorkshop(t *testing.T, h Harness) *workshop {
	t.Helper()
	program := h.Stage
	if program == "" {
		program = BuildStage(t, h.Arch)
	}
	dir := t.TempDir()
	data := filepath.Join(dir, "labels")
	w := &workshop{dir: filepath.Join(dir, "store"), secret: filepath.Join(dir, "secret")}
	for name, text := range map[string]string{data: Data, w.secret: "secret"} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	w.digest = keep(t, w.dir, closure.Spec{Program: program, Data: []closure.Input{{From: data, To: DataPath}}})
	return w
}

// Closure computes a closure for a driver's own tests, and keeps it in a store until the test ends.
func Closure(t *testing.T, spec closure.Spec) driver.Files {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "store")
	return open(t, dir, keep(t, dir, spec))
}

func keep(t *testing.T, dir string, spec closure.Spec) closure.Digest {
	t.Helper()
	c, err := closure.Compute(spec)
	if err != nil {
		t.Fatal(err)
	}
	kept, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	digest, err := kept.Put(c, "suite")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := kept.DropTree(digest); err != nil { // its folders are read-only
			t.Error(err)
		}
	})
	return digest
}

func (w *workshop) files(t *testing.T) driver.Files { return open(t, w.dir, w.digest) }

// tampered returns the closure in another store, in which one byte of its data was changed.
func (w *workshop) tampered(t *testing.T) driver.Files {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "store")
	if err := os.CopyFS(filepath.Join(dir, "blobs"), os.DirFS(filepath.Join(w.dir, "blobs"))); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(dir, "manifests"), os.DirFS(filepath.Join(w.dir, "manifests"))); err != nil {
		t.Fatal(err)
	}
	blob := filepath.Join(dir, "blobs", string(closure.Sum([]byte(Data))))
	if err := os.Chmod(blob, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(blob, []byte("cat\ndoG\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return open(t, dir, w.digest)
}

func open(t *testing.T, dir string, digest closure.Digest) driver.Files {
	t.Helper()
	s, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s.Kept(digest)
}
