package powercut_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sightline/runtime/closure"
	"sightline/runtime/closure/store"
	"sightline/runtime/supervisor/audit"
)

// The device's own folders and files.
const (
	stateFolder = "/var/lib/sightline"
	programs    = "/usr/lib/sightline"
	settings    = "/etc/sightline"
	supervisor  = "/usr/bin/sightline-supervisor"
	upstream    = "/world/acknowledged"
)

// notState is all of the device that no boot after the first may need.
var notState = []string{settings, programs, "/lib", "/lib64"}

const pipelineFile = `version: 1
name: powercut
device: dev
grace: 20s
sources:
  gate:
    rtsp: {url: "rtsp://127.0.0.1:8554/gate", username: viewer, password: "${CAMERA_PASSWORD}", transport: tcp, stall: 60s}
    staleness: 60s
models:
  scene: {inputs: [gate], model: gate.onnx, threshold: 0.5}
sinks:
  cloud: {inputs: [scene], mqtt: {url: "mqtt://127.0.0.1:1883", timeout: 60s}}
  file: {inputs: [scene], jsonl: {path: /var/lib/sightline/results.jsonl}}
http: {listen: "off"}
`

// install makes the device's disk, with the programs in folder and ONNX Runtime's library.
func (m *machine) install(t *testing.T, folder, library string) {
	t.Helper()
	root := filepath.Join(m.folder, "root")
	for _, name := range []string{stateFolder, programs, settings, "/usr/bin", "/dev", "/proc", "/sys", "/tmp", "/world/tmp", "/world/proc"} {
		if err := os.MkdirAll(filepath.Join(root, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	lay(t, root, "/usr/bin/sightline-supervisor", closure.Spec{Program: filepath.Join(folder, "sightline-supervisor")})
	lay(t, root, programs+"/sightline-publish", closure.Spec{Program: filepath.Join(folder, "sightline-publish")})
	lay(t, root, programs+"/sightline-capture", closure.Spec{Program: filepath.Join(folder, "sightline-capture")})
	lay(t, root, programs+"/sightline-classify", closure.Spec{
		Program: filepath.Join(folder, "sightline-classify"),
		Open:    []closure.Input{{From: library, To: "/lib/libonnxruntime.so"}}, LibraryDirs: []string{filepath.Dir(library)},
	})
	site := filepath.Join(m.folder, "site")
	build(t, site, "./testdata/site")
	lay(t, filepath.Join(root, "world"), "/stage", closure.Spec{Program: site})
	for _, name := range []string{"gate.onnx", "gate.yaml"} {
		copyFile(t, filepath.Join("../../../models/gate", name), filepath.Join(root, settings, name))
	}
	write(t, filepath.Join(root, settings, "front.yaml"), []byte(pipelineFile))
	m.disk = filepath.Join(m.folder, "disk.raw")
	tool(t, "mkfs.ext4", "-q", "-d", root, "-E", "lazy_itable_init=0,lazy_journal_init=0", m.disk, "1500M")
}

// lay puts a program, as name, and its libraries below root.
func lay(t *testing.T, root, name string, spec closure.Spec) {
	t.Helper()
	c, err := closure.Compute(spec)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range c.Manifest.Files {
		at := filepath.Join(root, f.Path)
		switch {
		case strings.HasPrefix(f.Path, "/etc/"): // a cache of where libraries are, in one closure
			continue
		case f.Path == "/stage":
			at = filepath.Join(root, name)
		}
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if f.Link != "" {
			if err := os.Symlink(f.Link, at); err != nil && !errors.Is(err, os.ErrExist) {
				t.Fatal(err)
			}
			continue
		}
		layFile(t, at, c, f)
	}
}

func layFile(t *testing.T, at string, c *closure.Closure, f closure.File) {
	t.Helper()
	file, err := os.OpenFile(at, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(closure.Copy(file, c, f), file.Close()); err != nil {
		t.Fatal(err)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	write(t, to, text)
}

func write(t *testing.T, name string, text []byte) {
	t.Helper()
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// tool runs a program of this machine.
func tool(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%q: %v\n%s", args, err, out)
	}
	return string(out)
}

// found is a copy of the device's disk after a power cut, as a boot would find it.
type found struct {
	t      *testing.T
	folder string
	image  string
}

// find copies the disk and has the journal of its file system replayed, as a mount would.
func (m *machine) find(t *testing.T) *found {
	t.Helper()
	f := &found{t: t, folder: t.TempDir()}
	f.image = filepath.Join(f.folder, "disk.raw")
	tool(t, "qemu-img", "convert", "-O", "raw", m.disk, f.image)
	out, err := exec.Command("e2fsck", "-f", "-p", f.image).CombinedOutput()
	if err != nil && exitCode(err) != 1 { // 1: the journal was replayed
		t.Errorf("the file system after the power cut: %v\n%s", err, out)
	}
	return f
}

func exitCode(err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	return -1
}

// file returns a file of the device; empty when it is not there.
func (f *found) file(name string) string {
	f.t.Helper()
	out, err := exec.Command("debugfs", "-R", "cat "+name, f.image).Output()
	if err != nil {
		f.t.Fatalf("read %s of the disk: %v", name, err)
	}
	return string(out)
}

// checkState verifies what the supervisor keeps: the audit log and the contents of all closures.
func (f *found) checkState() audit.Summary {
	f.t.Helper()
	tool(f.t, "debugfs", "-R", "rdump "+stateFolder+" "+f.folder, f.image)
	state := filepath.Join(f.folder, filepath.Base(stateFolder))
	defer func() { _ = closure.RemoveTree(state) }() // t.TempDir cannot remove read-only folders
	summary, err := audit.Verify(filepath.Join(state, "audit"), nil)
	if err != nil {
		f.t.Error(err)
	}
	s, err := store.Open(filepath.Join(state, "closures"))
	if err != nil {
		f.t.Fatal(err)
	}
	pinned, err := s.Pins()
	if err != nil || len(pinned) < 3 {
		f.t.Errorf("pinned closures: %v, %v", pinned, err)
	}
	for name, digest := range pinned {
		if err := s.Verify(digest); err != nil {
			f.t.Errorf("%s: %v", name, err)
		}
	}
	return summary
}
