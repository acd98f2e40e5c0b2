package container

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"sightline/runtime/container/enginetest"
)

// TestProbeOfThisUser is started by the test below, as another user.
func TestProbeOfThisUser(t *testing.T) {
	host := os.Getenv(hostVariable)
	if host == "" {
		t.Skip("is started by another test")
	}
	p := (&Driver{Host: host}).Probe(t.Context())
	t.Logf("engine: %s\nprotects: %q\nlacks: %q\nerror: %v", p.Engine, p.Protect, p.Lacks, p.Err)
	if p.Err != nil {
		t.Fail()
	}
}

func TestAUserOfTheEnginesGroupRunsBoxes(t *testing.T) {
	e := enginetest.Docker(t, "--group", "nogroup")
	const nogroup = 65534
	out, err := probeAs(t, e, 65533, nogroup)
	if err != nil || !strings.Contains(out, "run as the supervisor's user") {
		t.Errorf("in the group: %v\n%s", err, out)
	}
	out, err = probeAs(t, e, 65533, 65533)
	if err == nil || !strings.Contains(out, "usermod -aG nogroup") {
		t.Errorf("not in the group: %v\n%s", err, out)
	}
}

// probeAs runs TestProbeOfThisUser.
func probeAs(t *testing.T, e *enginetest.Engine, uid, gid int) (string, error) {
	t.Helper()
	dir, err := os.MkdirTemp("", "user")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	e.Admit()
	command := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.v", "-test.run=^TestProbeOfThisUser$")
	command.Dir = dir
	command.Env = []string{"TMPDIR=" + dir, hostVariable + "=" + e.Host}
	command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	out, err := command.CombinedOutput()
	return string(out), err
}
