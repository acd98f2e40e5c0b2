package unikernel

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sightline/runtime/cgroup"
	"sightline/runtime/closure"
	"sightline/runtime/driver"
	"sightline/runtime/drivertest"
	"sightline/runtime/qemu"
)

func TestVersionsBecomePathsOnlyWhenTheyAreSome(t *testing.T) {
	for text, want := range map[string]string{
		"0.1.55": "0.1.55", "0.1.55\n": "0.1.55", "nightly": "nightly", "": "", "../x": "", "a/b": "", ".": "", "..": "", "-arm": "",
		strings.Repeat("1", 65): "", "0.1\n0.2": "",
	} {
		if got, err := parseVersion([]byte(text)); got != want || (err == nil) != (want != "") {
			t.Errorf("%q is %q, %v", text, got, err)
		}
	}
}

func FuzzParseVersion(f *testing.F) {
	f.Add([]byte("0.1.55\n"))
	f.Add([]byte("../.."))
	f.Fuzz(func(t *testing.T, text []byte) {
		version, err := parseVersion(text)
		if err == nil && (filepath.Base(version) != version || !filepath.IsLocal(version) || version == ".") {
			t.Errorf("%q is no name of a folder", version)
		}
	})
}

func TestTheKernelsLinesAreKnown(t *testing.T) {
	for line, want := range map[string]bool{
		"[10.488674] page fill failed with (result:out of memory)\n": true,
		"[1.743422] page fault: out of memory, program killed\n":     true,
		"fatal error: runtime: out of memory\n":                      true,
		"[0.112066] en1: assigned 10.0.2.101\n":                      false,
		"page fill failed with (result:out of memory)\n":             false,
		"[x.1] page fill failed with (result:out of memory)\n":       false,
		"[1.] page fill failed with (result:out of memory)\n":        false,
		"":      false,
		"[] ":   false,
		"[.] x": false,
		"[1.2] the classifier says: page, out of memory\n": false,
	} {
		if got := tellsNoMemory([]byte(line)); got != want {
			t.Errorf("%q: %v", line, got)
		}
	}
}

func FuzzConsole(f *testing.F) {
	f.Add([]byte("[10.488674] page fill failed with (result:out of memory)\n"))
	f.Add([]byte("[1.2"))
	f.Fuzz(func(t *testing.T, line []byte) {
		var out bytes.Buffer
		w := watch(&out)
		for range 2 {
			if n, err := w.Write(line); n != len(line) || err != nil {
				t.Errorf("wrote %d, %v", n, err)
			}
		}
		if w.starved() != tellsNoMemory(line) || !bytes.Equal(out.Bytes(), append(line[:len(line):len(line)], line...)) {
			t.Errorf("%q is not passed on, or misunderstood", line)
		}
	})
}

func TestExitsAreUnderstood(t *testing.T) {
	for _, c := range []struct {
		name            string
		qemu            driver.Exit
		arch            string
		starved, forced bool
		outOfMemory     bool
		code            int
		reason          string
	}{
		{name: "the program ended well", qemu: driver.Exit{Code: 1}, arch: "amd64"},
		{name: "with 7", qemu: driver.Exit{Code: 15}, arch: "amd64", code: 7},
		{name: "it faulted", qemu: driver.Exit{Code: codeFault<<1 | 1}, arch: "amd64", code: codeFault, reason: "it faulted"},
		{name: "the kernel gave up", qemu: driver.Exit{Code: codeHalt<<1 | 1}, arch: "amd64", code: codeHalt, reason: "the guest's kernel gave up"},
		{name: "without memory", qemu: driver.Exit{Code: 5}, arch: "amd64", starved: true, code: 2, reason: "out of memory"},
		{name: "it says so, but ends well", qemu: driver.Exit{Code: 1}, arch: "amd64", starved: true},
		{name: "turned off", qemu: driver.Exit{}, arch: "amd64", code: -1},
		{name: "turned off on arm64", qemu: driver.Exit{}, arch: "arm64", code: -1},
		{name: "without memory on arm64", qemu: driver.Exit{Code: -1, Signal: "SIGKILL"}, arch: "arm64", starved: true, code: -1, reason: "out of memory"},
		{name: "killed", qemu: driver.Exit{Code: -1, Signal: "SIGKILL"}, arch: "amd64", code: -1},
		{name: "by force", qemu: driver.Exit{Code: -1, Signal: "SIGKILL"}, arch: "amd64", forced: true, code: -1, reason: "killed by force"},
		{name: "QEMU's own limit", qemu: driver.Exit{Code: -1, Signal: "SIGKILL"}, arch: "amd64", outOfMemory: true, code: -1, reason: "QEMU is out of memory"},
		{name: "something is left", qemu: driver.Exit{Code: 15, Reason: "left behind: x"}, arch: "amd64", code: 7, reason: "left behind: x"},
		{name: "and it faulted", qemu: driver.Exit{Code: 253, Reason: "left behind: x"}, arch: "amd64", code: codeFault, reason: "it faulted; left behind: x"},
	} {
		b := &box{console: watch(&bytes.Buffer{})}
		b.forced.Store(c.forced)
		if c.starved {
			close(b.console.starve)
		}
		got := b.exitOf(qemu.End{Exit: c.qemu, OutOfMemory: c.outOfMemory}, c.arch)
		if want := (driver.Exit{Code: c.code, Signal: c.qemu.Signal, Reason: c.reason}); got != want {
			t.Errorf("%s: %+v, not %+v", c.name, got, want)
		}
	}
}

// program is an ELF file for an architecture.
func program(t *testing.T, at, arch string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at, trialProgram(arch), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestReleasesAreFound(t *testing.T) {
	home := t.TempDir()
	t.Setenv(homeSetting, home)
	ops := filepath.Join(home, opsFolder)
	how := "curl https://ops.city/get.sh -sSfL | sh"
	if _, err := findRelease("", "amd64"); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), how) {
		t.Errorf("without ops: %v", err)
	}
	program(t, filepath.Join(ops, "0.1.55", kernelFile), "amd64")
	if err := os.WriteFile(filepath.Join(ops, latestFile), []byte("0.1.55\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if r, err := findRelease("", "amd64"); err != nil || r.version != "0.1.55" || r.kernel != filepath.Join(ops, "0.1.55", kernelFile) {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := findRelease("", "arm64"); err == nil || !strings.Contains(err.Error(), how) || !strings.Contains(err.Error(), "update --arm") {
		t.Errorf("without one for arm64: %v", err)
	}
	arm := filepath.Join(ops, "0.1.55-arm")
	program(t, filepath.Join(arm, kernelFile), "arm64")
	for _, given := range []string{"", filepath.Join(ops, "0.1.55"), arm} {
		if r, err := findRelease(given, "arm64"); err != nil || r.version != "0.1.55" || r.kernel != filepath.Join(arm, kernelFile) {
			t.Errorf("%q: %+v, %v", given, r, err)
		}
	}
	if err := os.WriteFile(filepath.Join(ops, latestFile), []byte("../../etc"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := findRelease("", "amd64"); err == nil || !strings.Contains(err.Error(), "not the version") {
		t.Errorf("a path for a version: %v", err)
	}
	if err := os.WriteFile(filepath.Join(arm, kernelFile), []byte("no ELF"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := findRelease(arm, "arm64"); err == nil || !strings.Contains(err.Error(), "open kernel") {
		t.Errorf("what is no kernel: %v", err)
	}
}

func TestWhatCannotBeHadIsRefusedWithTheNearest(t *testing.T) {
	static := drivertest.Closure(t, closure.Spec{Program: drivertest.BuildStage(t, "")})
	shared := drivertest.Closure(t, closure.Spec{Program: "/bin/true"})
	with := func(files driver.Files, change func(*driver.Spec)) driver.Spec {
		s := driver.Spec{ID: "box", Files: files, Program: []string{"/stage"}, Dir: "/d", Socket: "/d/wire.sock"}
		change(&s)
		return s
	}
	limits := func(files driver.Files, l driver.Limits) driver.Spec {
		return with(files, func(s *driver.Spec) { s.Limits = l })
	}
	whole, parts := &host{Host: &qemu.Host{}}, &host{Host: &qemu.Host{Groups: cgroup.Groups{Folders: map[string]string{"cpu": "/sys"}}}}
	for _, c := range []struct {
		name    string
		host    *host
		spec    driver.Spec
		refusal string // part of it; "": it is taken
	}{
		{"nothing special", whole, limits(static, driver.Limits{}), ""},
		{"the least", whole, limits(static, driver.Limits{Memory: 96 << 20, CPUs: 1}), ""},
		{"too little memory", whole, limits(static, driver.Limits{Memory: 64 << 20}), "at least 96MiB"},
		{"too little memory for libraries", whole, limits(shared, driver.Limits{Memory: 255 << 20}), "at least 256MiB"},
		{"enough for libraries", whole, limits(shared, driver.Limits{Memory: 256 << 20}), ""},
		{"memory below nothing", whole, limits(static, driver.Limits{Memory: -1}), "at least"},
		{"four processors", whole, limits(static, driver.Limits{CPUs: 4}), ""},
		{"five processors", whole, limits(static, driver.Limits{CPUs: 5}), "use in: vm"},
		{"half a processor without cgroups", whole, limits(static, driver.Limits{CPUs: 0.5}), "whole processors"},
		{"half a processor", parts, limits(static, driver.Limits{CPUs: 0.5}), ""},
		{"processes", parts, limits(static, driver.Limits{PIDs: 64}), "leave it out"},
		{"the GPU", parts, with(static, func(s *driver.Spec) { s.GPU = true }), "provider: cpu"},
	} {
		err := c.host.check(c.spec)
		var refused *driver.RefusedError
		if c.refusal == "" {
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		if !errors.As(err, &refused) || refused.What == "" || refused.Why == "" || !strings.Contains(refused.Instead, c.refusal) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	for text, change := range map[string]func(*driver.Spec){
		"ID": func(s *driver.Spec) { s.ID = "A" }, "program": func(s *driver.Spec) { s.Program = nil },
		"absolute": func(s *driver.Spec) { s.Program = []string{"stage"} }, "is not in": func(s *driver.Spec) { s.Socket = "/e/wire.sock" },
	} {
		if err := whole.check(with(static, change)); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
