package drivertest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"sightline/runtime/closure"
	"sightline/runtime/closure/pack"
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
	return &files{dir: dir, digest: keep(t, dir, spec)}
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

func (w *workshop) files() *files { return &files{dir: w.dir, digest: w.digest} }

// tampered returns the closure in another store, in which one byte of its data was changed.
func (w *workshop) tampered(t *testing.T) *files {
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
	return &files{dir: dir, digest: w.digest}
}

// files is a closure in a store.
type files struct {
	dir    string
	digest closure.Digest
}

var _ driver.Files = (*files)(nil)

// Digest implements driver.Files.
func (f *files) Digest() string { return "sha256:" + string(f.digest) }

// Folder implements driver.Files.
func (f *files) Folder(context.Context) (string, error) {
	s, err := store.Open(f.dir)
	if err != nil {
		return "", err
	}
	return s.Tree(f.digest)
}

// Archive implements driver.Files.
func (f *files) Archive(context.Context) (string, error) { return f.pack(pack.Tar{}) }

// Initramfs implements driver.Files.
func (f *files) Initramfs(_ context.Context, init string) (string, error) {
	data, err := os.ReadFile(init)
	if err != nil {
		return "", fmt.Errorf("init of the guest: %w", err)
	}
	return f.pack(pack.Initramfs{Init: data})
}

func (f *files) pack(p store.Packing) (string, error) {
	s, err := store.Open(f.dir)
	if err != nil {
		return "", err
	}
	if err := s.Verify(f.digest); err != nil {
		return "", err
	}
	packed, err := s.Pack(f.digest, p)
	return packed.Path, err
}
