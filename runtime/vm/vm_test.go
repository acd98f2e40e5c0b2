package vm

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"sightline/runtime/cgroup"
	"sightline/runtime/driver"
	"sightline/runtime/drivertest"
	"sightline/runtime/outlive"
	"sightline/runtime/qemu"
)

// Variables of the environment by which supervisors in other processes find what a test has built.
const (
	initVariable    = "SIGHTLINE_TEST_INIT"
	guestVariable   = "SIGHTLINE_TEST_GUEST" // an unpacked kernel package, see scripts/setup
	machineVariable = "SIGHTLINE_TEST_MACHINE"
	stageVariable   = "SIGHTLINE_TEST_STAGE"
)

func TestMain(m *testing.M) {
	if code, ok := drivertest.Main(os.Args, newDriver); ok {
		os.Exit(code)
	}
	if len(os.Args) == 5 && os.Args[1] == guestArgument {
		os.Exit(superviseGuest(os.Args[2], os.Args[3], os.Args[4]))
	}
	os.Exit(tested(m))
}

// tested builds the init for both architectures and runs the tests.
func tested(m *testing.M) int {
	dir, err := os.MkdirTemp("", "init")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer os.RemoveAll(dir)
	if os.Getenv(initVariable) != "" {
		return m.Run() // as another user
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		fmt.Println(err)
		return 1
	}
	for _, arch := range []string{"amd64", "arm64"} {
		build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(dir, arch), "sightline/cmd/init")
		build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false", "GOARCH="+arch)
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Printf("build the init: %v\n%s", err, out)
			return 1
		}
	}
	os.Setenv(initVariable, dir)
	return m.Run()
}

func newDriver() driver.Driver { return driverFor(runtime.GOARCH) }

// driverFor returns a driver with what the tests have built and unpacked.
func driverFor(arch string) *Driver {
	d := &Driver{Arch: arch, Init: filepath.Join(os.Getenv(initVariable), arch), machine: qemu.Machine(os.Getenv(machineVariable))}
	found, _ := filepath.Glob(filepath.Join(os.Getenv(guestVariable), "boot/vmlinuz-*-cloud-"+arch))
	if len(found) > 0 && os.Getenv(guestVariable) != "" {
		d.Kernel = slices.MaxFunc(found, byVersion)
	}
	return d
}

// left finds what there is of a box in the process table.
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
	return drivertest.Harness{
		New: newDriver, Left: left, TellsExit: true, Patience: stagePatience, Stage: os.Getenv(stageVariable),
		Stalls: true, // Linux translated by QEMU 7.2 on a busy machine
		Skip: map[string]string{
			"a box gets no more of the processors than it may": "inside a guest a processor that the host takes away seems to be there; TestAGuestGetsNoMoreOfTheProcessors measures from outside",
		},
	}
}

func TestDriver(t *testing.T) { drivertest.Run(t, harness()) }

// TestDriverOfAUserWithoutPrivileges runs what differs for a supervisor that isn't root.
func TestDriverOfAUserWithoutPrivileges(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can become other users")
	}
	if p := newDriver().Probe(t.Context()); p.Err != nil {
		t.Skip(p.Err)
	}
	dir, err := os.MkdirTemp("", "suite")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	const nobody = 65534
	stage := filepath.Join(dir, "stage")
	if err := errors.Join(os.Rename(drivertest.BuildStage(t, ""), stage), os.Chmod(stage, 0o755), os.Chown(dir, nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	guest := filepath.Join(dir, "guest") // where the repository is, the user may not come
	if from := os.Getenv(guestVariable); from != "" {
		if err := os.CopyFS(guest, os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
	}
	command := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.v", "-test.run=^TestDriver$/^(a_box_says|a_box_outlives|a_limit)", "-test.timeout=9m")
	command.Dir = dir
	command.Env = []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + dir, stageVariable + "=" + stage, initVariable + "=" + os.Getenv(initVariable), guestVariable + "=" + guest}
	command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := command.CombinedOutput()
	if err != nil {
		t.Errorf("%v", err)
	}
	t.Logf("as user %d:\n%s", nobody, out)
}
