package process

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sightline/runtime/driver"
	"sightline/runtime/drivertest"
)

func TestMain(m *testing.M) {
	if code, ok := Main(os.Args); ok {
		os.Exit(code)
	}
	if code, ok := drivertest.Main(os.Args, newDriver); ok {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

func newDriver() driver.Driver { return New() }

// left finds what there is of a box in the process table and among the cgroups.
func left(spec driver.Spec) []string {
	var found []string
	names, _ := filepath.Glob("/proc/[0-9]*")
	for _, name := range names {
		cgroup, _ := os.ReadFile(name + "/cgroup") // gone meanwhile
		status, _ := os.ReadFile(name + "/status")
		user := fmt.Sprintf("\nUid:\t%d\t", uidOf(spec.ID))
		if strings.Contains(string(cgroup), "/"+groupFolder+"/"+spec.ID+"\n") || strings.Contains(string(status), user) {
			found = append(found, name)
		}
	}
	parents, _ := findGroups()
	for _, dir := range parents.of(spec.ID).dirs() {
		if _, err := os.Stat(dir); err == nil {
			found = append(found, dir)
		}
	}
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	if strings.Contains(string(mounts), spec.Dir) {
		found = append(found, "a mount on "+spec.Dir)
	}
	return found
}

func TestDriver(t *testing.T) {
	drivertest.Run(t, drivertest.Harness{New: newDriver, Left: left})
}
