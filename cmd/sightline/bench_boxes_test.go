package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"sightline/bench"
	"sightline/cmd/sightline/closures"
	"sightline/configs"
	"sightline/runtime/driver"
)

func TestBenchHoldsProcessBoxesAgainstInline(t *testing.T) {
	requireRuntime(t)
	stages := programs(t)
	f := &benchBoxes{
		benchFlags: benchFlags{options: bench.Options{
			Cameras: 1, Size: bench.Size{Width: 320, Height: 180}, FPS: 10, For: 2 * time.Second, Staleness: 5 * time.Second, Model: "gate", Provider: "cpu",
		}},
		compare: bench.BoxOptions{Rounds: 1, GuestFPS: 2, Idle: time.Second}, in: []string{configs.Process},
	}
	c := &cobra.Command{}
	c.SetContext(t.Context())
	c.Flags().String("stages", stages, "")
	b := f.boxes(c)
	if reason := b.Kinds[0].Skipped; reason != "" {
		t.Skip(reason)
	}
	asTest(b)
	b.Say = t.Logf
	report, err := b.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	checkBoxReport(t, report)
}

// asTest has the bench run the test binary as its program.
func asTest(b *bench.Boxes) {
	command, program := b.Command, b.Program
	as := func(c *exec.Cmd) *exec.Cmd {
		return exec.Command(os.Args[0], append([]string{"-test.run=^TestAsAProgram$", "--"}, c.Args[1:]...)...)
	}
	b.Command = func(name string, args ...string) *exec.Cmd { return as(command(name, args...)) }
	b.Program = func(args ...string) *exec.Cmd { return as(program(args...)) }
}

func checkBoxReport(t *testing.T, report *bench.BoxReport) {
	t.Helper()
	if len(report.Groups) != 1 || len(report.Groups[0].Runs) != 3 || len(report.Groups[0].Failed) > 0 {
		t.Fatalf("groups %+v", report.Groups)
	}
	for _, r := range report.Groups[0].Runs {
		if r.Results == 0 || r.Results > r.Pictures || r.Latency.P50 <= 0 || r.First <= 0 || r.Ready <= 0 || r.CPU <= 0 || r.Resident <= 0 {
			t.Errorf("%+v", r)
		}
		if r.Back < 0 || (r.Back == 0) != (r.In == bench.InPlace) {
			t.Errorf("in %s results come again after %s", r.In, r.Back)
		}
		for _, s := range r.Stages {
			if r.In == configs.Process && (s.Memory <= 0 || s.Closure <= 0 || s.Kind == "") {
				t.Errorf("stage %+v", s)
			}
		}
	}
	if i := report.Idle; i == nil || i.Boxes != 3 || i.Resident <= 0 || i.Program == "" {
		t.Errorf("idle %+v", i)
	}
	compared := report.Groups[0].Compared
	if len(compared) != 1 || compared[0].In != configs.Process || compared[0].Throughput <= 0 || len(report.Verdicts) != 6 {
		t.Errorf("compared %+v, verdicts %+v", compared, report.Verdicts)
	}
	if text := report.Table(); !strings.Contains(text, "process, publish upstream") {
		t.Errorf("the table is:\n%s", text)
	}
}

func TestBenchBoxesRefusesWhatItCannotMeasure(t *testing.T) {
	for _, args := range [][]string{{"--in", "crate"}, {"--rounds", "0"}, {"--size", "big"}, {"--guest-size", "big"}, {"--idle", "1ms"}, {"--fps", "0"}} {
		if status, _, stderr := command(append([]string{"bench", "boxes"}, args...)...); status != exitBadConfig {
			t.Errorf("%v: status %d, %s", args, status, stderr)
		}
	}
}

func TestBenchBoxesTellsWhyAKindIsNotMeasured(t *testing.T) {
	f := &benchBoxes{in: []string{configs.Process}}
	for _, k := range f.kinds(t.Context(), closures.Builder{Programs: t.TempDir()}) {
		if want := map[bool]string{true: "sightline-capture", false: "not asked for"}[k.Name == configs.Process]; !strings.Contains(k.Skipped, want) {
			t.Errorf("%s: %q", k.Name, k.Skipped)
		}
	}
	guest := bench.Kind{Name: configs.VM}
	if probed(&guest, driver.Probe{Engine: "QEMU 7.2 (TCG)"}); !guest.Emulated || guest.Skipped != "" {
		t.Errorf("a guest by TCG is %+v", guest)
	}
}

func TestTheRuntimeSectionOfABenchIsWhatTheFlagsSay(t *testing.T) {
	f := &benchBoxes{}
	if got := f.section(); len(got) != 0 {
		t.Errorf("without flags %v", got)
	}
	f.engines.VM.Kernel, f.engines.VM.Accelerator = "/boot/other", configs.AcceleratorTCG
	vm, ok := f.section()[configs.VM].(map[string]any)
	if !ok || vm["kernel"] != "/boot/other" || vm["accelerator"] != "tcg" {
		t.Errorf("%v", f.section())
	}
}
