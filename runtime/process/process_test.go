package process

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"sightline/runtime/cgroup"
	"sightline/runtime/driver"
	"sightline/runtime/drivertest"
	"sightline/runtime/landlock"
	"sightline/runtime/outlive"
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

// Variables of the environment by which a test starts this program as another user.
const (
	wayVariable   = "SIGHTLINE_TEST_WAY"
	stageVariable = "SIGHTLINE_TEST_STAGE"
)

// newDriver returns the driver, which goes the way that the environment says.
func newDriver() driver.Driver {
	d := New()
	switch os.Getenv(wayVariable) {
	case "plain":
		d.ways = []way{{ownUser: os.Geteuid() == 0}}
	case "unified":
		d.unified = true
	}
	return d
}

func number(text string) int {
	n, _ := strconv.Atoi(text) // 0 is no process
	return n
}

// left finds what there is of a box in the process table and among the cgroups.
func left(spec driver.Spec) []string {
	if outlive.CheckID(spec.ID) != nil {
		return nil
	}
	var found []string
	names, _ := filepath.Glob("/proc/[0-9]*")
	for _, name := range names {
		if s, err := outlive.ReadStat(number(filepath.Base(name))); err != nil || s.Dead() {
			continue // who inherits a box whose supervisor was killed may be slow to reap it
		}
		inGroup, _ := os.ReadFile(name + "/cgroup") // gone meanwhile
		status, _ := os.ReadFile(name + "/status")
		line, _ := os.ReadFile(name + "/cmdline")
		user := fmt.Sprintf("\nUid:\t%d\t", outlive.UserOf(spec.ID))
		switch {
		case strings.Contains(string(inGroup), "/"+cgroup.Folder+"/"+spec.ID+"\n"), strings.Contains(string(status), user):
			found = append(found, name)
		case strings.HasSuffix(string(line), "/stage\x00sleep\x00") && amongOurs(name): // of a session that nothing names
			found = append(found, name+", a child of a stage")
		}
	}
	parents, _ := cgroup.Find(os.Getenv(wayVariable) == "unified")
	for _, dir := range parents.Of(spec.ID).Dirs() {
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

// amongOurs says that a process is in the namespace of this one: the children of other tests' containers are not.
func amongOurs(name string) bool {
	ours, _ := os.Readlink("/proc/self/ns/pid")
	its, err := os.Readlink(name + "/ns/pid")
	return err == nil && its == ours
}

func harness() drivertest.Harness {
	return drivertest.Harness{New: newDriver, Left: left, TellsExit: outlive.TellsExit(), Stage: os.Getenv(stageVariable)}
}

func TestDriver(t *testing.T) {
	h := harness()
	if os.Getenv(wayVariable) == "plain" {
		h.Skip = map[string]string{"a box has its closure": "without a mount namespace it is the working directory, not the root"}
		if os.Geteuid() != 0 {
			h.Skip["a box can't dial the wire of another"] = "without a mount namespace it reaches all unix sockets that its user may dial; Probe says so"
			if landlock.Version() < 6 {
				h.Skip["a box can't end its supervisor"] = "signals are not kept in by this kernel"
			}
		}
	}
	drivertest.Run(t, h)
}

// testAs runs the suite once more in another process.
func testAs(t *testing.T, uid uint32, way string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can become other users")
	}
	stage := drivertest.BuildStage(t, "")
	dir, err := os.MkdirTemp("", "suite")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	program := filepath.Join(dir, "stage")
	if err := errors.Join(os.Rename(stage, program), os.Chmod(program, 0o755), os.Chown(dir, int(uid), int(uid))); err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.v", "-test.run=^TestDriver$", "-test.timeout=5m")
	command.Dir = dir
	command.Env = []string{"TMPDIR=" + dir, wayVariable + "=" + way, stageVariable + "=" + program}
	command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	out, err := command.CombinedOutput()
	if err != nil {
		t.Errorf("%v", err)
	}
	t.Logf("as user %d:\n%s", uid, out)
}

func TestDriverOfAUserWithoutPrivileges(t *testing.T) { testAs(t, 65534, "") }

func TestDriverWithoutNamespaces(t *testing.T) { testAs(t, 0, "plain") }

func TestDriverOfAUserWithoutNamespaces(t *testing.T) { testAs(t, 65534, "plain") }

func TestDriverInUnifiedGroups(t *testing.T) {
	found, errs := cgroup.Find(true)
	if len(found.Folders) == 0 {
		t.Skipf("no cgroup v2: %v", errs)
	}
	t.Cleanup(func() { os.Remove(found.Folders[""]) }) // stays as long as the machine runs
	testAs(t, 0, "unified")
}
