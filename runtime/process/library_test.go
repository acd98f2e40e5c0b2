package process

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sightline/runtime/closure"
	"sightline/runtime/driver"
	"sightline/runtime/drivertest"
)

// linked is a program that needs the C library and another, opens its model, and says which files
// its code is in and where its wire is.
const linked = `#include <link.h>
#include <math.h>
#include <stdio.h>
int show(struct dl_phdr_info *i, size_t s, void *d) { printf("code in %s\n", i->dlpi_name); return 0; }
int main(int c, char **v) {
	char model[64] = "";
	FILE *f = fopen("model/labels", "r");
	if (!f) return 1;
	fgets(model, sizeof model, f);
	dl_iterate_phdr(show, 0);
	printf("model %s, %g, wire %s\n", model, cos(c - 2), v[c - 1]);
	return 0;
}
`

func linkedClosure(t *testing.T) driver.Files {
	t.Helper()
	compiler, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	source, program, model := filepath.Join(dir, "main.c"), filepath.Join(dir, "main"), filepath.Join(dir, "labels")
	for name, text := range map[string]string{source: linked, model: "cat"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.CommandContext(t.Context(), compiler, "-D_GNU_SOURCE", "-fno-builtin", "-o", program, source, "-lm").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return drivertest.Closure(t, closure.Spec{Program: program, Data: []closure.Input{{From: model, To: "/model/labels"}}})
}

func TestAProgramRunsWithTheLibrariesOfItsClosureOnly(t *testing.T) {
	files := linkedClosure(t)
	for name, ways := range map[string][]way{"in the best way": nil, "without namespaces": {{}}} {
		t.Run(name, func(t *testing.T) {
			dir, err := os.MkdirTemp("", "box")
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(dir)
			socket := filepath.Join(dir, "wire.sock")
			if err := os.WriteFile(socket, nil, 0o600); err != nil { // nobody dials it
				t.Fatal(err)
			}
			var log strings.Builder
			d := &Driver{ways: ways}
			box, err := d.Start(t.Context(), driver.Spec{ID: filepath.Base(dir), Files: files, Program: []string{closure.ProgramPath}, Dir: dir, Socket: socket, Log: &log})
			if err != nil {
				t.Fatal(err)
			}
			select {
			case <-box.Done():
			case <-time.After(time.Minute):
				t.Fatal(box.Stop(t.Context(), 0))
			}
			checkLinked(t, box.Exit(), log.String())
		})
	}
}

func checkLinked(t *testing.T, exit driver.Exit, log string) {
	t.Helper()
	if exit != (driver.Exit{}) || !strings.Contains(log, "model cat, 1, wire ") || !strings.Contains(log, "/wire.sock\n") {
		t.Errorf("exit is %q after\n%s", exit, log)
	}
	for line := range strings.Lines(log) {
		name, ok := strings.CutPrefix(strings.TrimSpace(line), "code in ")
		if !ok || name == "" || strings.Contains(name, "vdso") {
			continue
		}
		if dir := filepath.Dir(strings.TrimPrefix(name, ".")); dir != closure.LibraryPath && !strings.HasPrefix(filepath.Base(name), "ld-linux") {
			t.Errorf("code in %s, which is not in the closure", name)
		}
	}
}

func TestAGPUIsRefusedWhereThereIsNone(t *testing.T) {
	if devices := gpuDevices(); len(devices) > 0 {
		t.Skipf("there is one: %q", devices)
	}
	var refused *driver.RefusedError
	err := (&host{}).check(driver.Spec{ID: "a", Program: []string{"/stage"}, Dir: "/d", Socket: "/d/s", GPU: true})
	if !errors.As(err, &refused) || refused.Instead == "" {
		t.Error(err)
	}
}
