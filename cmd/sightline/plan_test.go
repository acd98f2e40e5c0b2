package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sightline/cmd/sightline/closures"
	"sightline/configs"
	"sightline/runtime/driver"
)

// stagePrograms returns a folder with a program for each kind of stages; small ones stand in for them,
// as nothing is started here.
func stagePrograms(t *testing.T) string {
	t.Helper()
	folder, err := buildStages()
	if err != nil {
		t.Fatal(err)
	}
	return folder
}

// stagesFolder is what buildStages made.
var stagesFolder string

// buildStages builds once for all tests of the run; TestMain removes the folder.
var buildStages = sync.OnceValues(func() (string, error) {
	folder, err := os.MkdirTemp("", "sightline-stages-")
	if err != nil {
		return "", err
	}
	stagesFolder = folder
	for kind, stand := range map[string]string{closures.Capture: "dynamic", closures.Classify: "dynamic", closures.Publish: "static"} {
		command := exec.Command("go", "build", "-trimpath", "-o", filepath.Join(folder, "sightline-"+kind), "./closures/testdata/"+stand)
		command.Env = append(os.Environ(), "CGO_LDFLAGS=")
		if stand == "static" {
			command.Env = append(command.Env, "CGO_ENABLED=0")
		}
		if out, err := command.CombinedOutput(); err != nil {
			return folder, errors.Join(err, errors.New(string(out)))
		}
	}
	return folder, nil
})

func TestPlanSaysWhatWouldRunAndWhatEachStageMayReach(t *testing.T) {
	requireRuntime(t)
	t.Setenv("SIGHTLINE_TEST_PASSWORD", "p#ss")
	status, stdout, stderr := command("plan", "--stages", stagePrograms(t), write(t, wellFile))
	if status != exitWell {
		t.Fatalf("status %d: %s\n%s", status, stderr, stdout)
	}
	for _, part := range []string{
		"publish out", "classify scene", "capture gate", "box        inline", "box        process: Linux", "provider   cpu (asked for: cpu)",
		"network    camera 127.0.0.1:1", "network    nothing", "sha256:", "closure    ", "limits     none", "protects   ",
		"transport tcp (a box has no UDP)",
	} {
		if !strings.Contains(stdout, part) {
			t.Errorf("no %q in\n%s", part, stdout)
		}
	}
	status, stdout, _ = command("plan", "--runtime-default", "inline", write(t, strings.Replace(wellFile, "model: gate", "model: gate, provider: cuda", 1)))
	if status != exitFailed || !strings.Contains(stdout, "MISSING") || !strings.Contains(stdout, "provider cuda does not come up") {
		t.Errorf("a named provider that is not there: status %d\n%s", status, stdout)
	}
}

func TestPlanOfStagesInPlaceNeedsNoPrograms(t *testing.T) {
	requireRuntime(t)
	t.Setenv("SIGHTLINE_TEST_PASSWORD", "p#ss")
	status, stdout, stderr := command("plan", "--runtime-default", "inline", "--stages", t.TempDir(), write(t, wellFile))
	if status != exitWell || strings.Contains(stdout, "closure") || !strings.Contains(stdout, "transport auto\n") {
		t.Errorf("status %d: %s\n%s", status, stderr, stdout)
	}
}

func TestPlanSaysWhatIsMissingAndHowToGetIt(t *testing.T) {
	requireRuntime(t)
	t.Setenv("SIGHTLINE_TEST_PASSWORD", "p#ss")
	status, stdout, stderr := command("plan", "--stages", t.TempDir(), write(t, wellFile))
	if status != exitFailed || !strings.Contains(stderr, "2 of the stages and guests would not run here") {
		t.Errorf("status %d: %s", status, stderr)
	}
	for _, part := range []string{"sightline-capture is not there", "sightline-classify is not there", "`make build`"} {
		if !strings.Contains(stdout, part) {
			t.Errorf("no %q in\n%s", part, stdout)
		}
	}
}

func TestPlanShowsNoPasswordOfAnAddress(t *testing.T) {
	t.Setenv("SIGHTLINE_TEST_PASSWORD", "p#ss")
	t.Setenv("SIGHTLINE_TEST_PATH", "user=admin_password=Geheim_channel=1")
	text := strings.Replace(wellFile, "127.0.0.1:1/gate", "127.0.0.1:1/${SIGHTLINE_TEST_PATH}", 1)
	_, stdout, stderr := command("plan", "--runtime-default", "inline", write(t, text))
	if !strings.Contains(stdout, "rtsp://127.0.0.1:1/${SIGHTLINE_TEST_PATH}") || strings.Contains(stdout+stderr, "Geheim") {
		t.Errorf("stdout:\n%s\nstderr:\n%s", stdout, stderr)
	}
}

// asked is a driver that keeps what it is asked about, and refuses limits of processors.
type asked struct {
	probe  driver.Probe
	probed int
	specs  []driver.Spec
}

func (*asked) Name() string { return "process" }

func (a *asked) Probe(context.Context) driver.Probe {
	a.probed++
	return a.probe
}

func (a *asked) Check(spec driver.Spec) error {
	a.specs = append(a.specs, spec)
	if spec.Limits.CPUs > 0 {
		return &driver.RefusedError{Driver: "process", What: "a limit of 2 processors", Why: "no cpu controller", Instead: "leave cpus out"}
	}
	return nil
}

func (*asked) Start(context.Context, driver.Spec) (driver.Box, error) { panic("a plan starts nothing") }

func (*asked) Recover(context.Context, driver.Spec) (driver.Box, error) {
	panic("a plan recovers nothing")
}

var (
	_ driver.Driver  = (*asked)(nil)
	_ driver.Checker = (*asked)(nil)
)

// planOf prints the plan of a pipeline file with drivers of a test.
func planOf(t *testing.T, text string, drivers map[string]driver.Driver) (string, error) {
	t.Helper()
	c := newPlan()
	c.SetContext(context.Background())
	p, err := configs.Parse("front.yaml", []byte(text), configs.Options{BuiltIn: builtInModels(), Folder: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	table, closeParts := newParts("", io.Discard)
	pl := planner{
		pipeline: p, table: table, out: &out, builder: closures.Builder{Programs: stagePrograms(t), BuiltIn: builtInModels()},
		drivers: drivers, probes: map[string]driver.Probe{}, missing: map[string]bool{}, told: map[string]string{},
	}
	err = pl.print(c)
	if err := closeParts(); err != nil {
		t.Error(err)
	}
	return out.String(), err
}

func TestPlanAsksDriversWhatTheyWouldRefuse(t *testing.T) {
	requireRuntime(t)
	t.Setenv("SIGHTLINE_TEST_PASSWORD", "p#ss")
	d := &asked{probe: driver.Probe{Engine: "Engine 1.2", Protect: []string{"walls"}, Lacks: []string{"a roof: it rains"}}}
	text := wellFile + "runtime: {stages: {scene: {cpus: 2, memory: 64MiB, pids: 32}}}\n"
	out, err := planOf(t, text, map[string]driver.Driver{configs.Process: d})
	if err == nil || !strings.Contains(err.Error(), "1 of the stages") {
		t.Errorf("got %v", err)
	}
	for _, part := range []string{
		"box        process: Engine 1.2", "limits     memory 64MiB, 2 processors, 32 processes and threads", "protects   walls", "protects   as scene above", "lacks      a roof: it rains",
		"MISSING    process box refuses a limit of 2 processors: no cpu controller (leave cpus out)",
	} {
		if !strings.Contains(out, part) {
			t.Errorf("no %q in\n%s", part, out)
		}
	}
	if d.probed != 1 || len(d.specs) != 2 {
		t.Errorf("probed %d times, checked %d specs", d.probed, len(d.specs))
	}
	for _, spec := range d.specs {
		m, err := spec.Files.Manifest(context.Background())
		if err != nil || m.Check() != nil || spec.Log == nil || spec.ID == "" || filepath.Dir(spec.Socket) != spec.Dir {
			t.Errorf("%+v %v", spec, err)
		}
	}
}

func TestPlanOfBoxesThatDoNotRunHere(t *testing.T) {
	requireRuntime(t)
	t.Setenv("SIGHTLINE_TEST_PASSWORD", "p#ss")
	disk := filepath.Join(t.TempDir(), "old.img")
	if err := os.WriteFile(disk, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	text := wellFile + "runtime: {stages: {gate: {in: vm}}, guests: {old: {disk: " + disk + ", format: raw, cpus: 2, grants: {plc: \"192.0.2.1:502\"}}}}\n"
	d := &asked{probe: driver.Probe{Err: errors.New("no engine (apt install engine)")}}
	out, err := planOf(t, text, map[string]driver.Driver{configs.Process: d})
	if err == nil || !strings.Contains(err.Error(), "of the stages and guests") {
		t.Errorf("got %v", err)
	}
	for _, part := range []string{
		"MISSING    no engine (apt install engine)", "MISSING    this program has no vm boxes (write in: process)", "guest old",
		"raw of 1.00 MiB, what it writes stays", "limits     memory 1GiB, 2 processors", "network    plc 192.0.2.1:502 (in the guest 10.0.2.100:502)",
	} {
		if !strings.Contains(out, part) {
			t.Errorf("no %q in\n%s", part, out)
		}
	}
	if len(d.specs) != 0 {
		t.Error("a driver that does not work here was asked for more")
	}
}

func TestDurationsAreWrittenAsPeopleDo(t *testing.T) {
	for d, want := range map[time.Duration]string{
		72 * time.Hour: "72h", 90 * time.Second: "1m30s", 10 * time.Second: "10s", 20 * time.Minute: "20m",
		10 * time.Hour: "10h", 0: "0s", 500 * time.Millisecond: "500ms", time.Hour + 30*time.Second: "1h0m30s",
	} {
		if got := plain(d); got != want {
			t.Errorf("%v is written %q, not %q", d, got, want)
		}
	}
}
