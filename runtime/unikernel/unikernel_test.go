package unikernel

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"sightline/runtime/cgroup"
	"sightline/runtime/driver"
	"sightline/runtime/drivertest"
	"sightline/runtime/outlive"
)

func TestMain(m *testing.M) {
	if code, ok := drivertest.Main(os.Args, newDriver); ok {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

func newDriver() driver.Driver { return New() }

// left finds what there is of a box in the process table and among the cgroups.
func left(spec driver.Spec) []string {
	var found []string
	names, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, name := range names {
		line, _ := os.ReadFile(name) // gone meanwhile
		if strings.Contains(string(line), "\x00guest="+spec.ID+"\x00") {
			found = append(found, filepath.Dir(name))
		}
	}
	if outlive.CheckID(spec.ID) != nil {
		return found
	}
	parents, _ := cgroup.Find(false)
	for _, dir := range parents.Of(spec.ID).Dirs() {
		if _, err := os.Stat(dir); err == nil {
			found = append(found, dir)
		}
	}
	return found
}

func harness() drivertest.Harness {
	return drivertest.Harness{New: newDriver, Left: left, Patience: 2 * time.Minute, Skip: map[string]string{}}
}

func TestDriver(t *testing.T) { drivertest.Run(t, harness()) }

func TestProbe(t *testing.T) {
	d := &Driver{Arch: runtime.GOARCH}
	begin := time.Now()
	p := d.Probe(t.Context())
	if p.Err != nil {
		t.Skip(p.Err)
	}
	t.Logf("%s in %v\nprotect %q\nlacks %q", p.Engine, time.Since(begin), p.Protect, p.Lacks)
}
