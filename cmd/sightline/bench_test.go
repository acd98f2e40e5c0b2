package main

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"sightline/bench"
)

// TestAsAProgram is no test: it lets the test binary run as sightline, with the arguments after --.
func TestAsAProgram(*testing.T) {
	if flag.NArg() > 0 {
		os.Exit(run(flag.Args(), os.Stdout, os.Stderr))
	}
}

// newTestHarness is the harness of `bench` with the test binary as its program.
func newTestHarness(t *testing.T, f *benchFlags) *bench.Harness {
	t.Helper()
	requireRuntime(t)
	table, closeParts := newParts(os.Getenv("SIGHTLINE_ONNXRUNTIME"), os.Stdout)
	t.Cleanup(func() {
		if err := closeParts(); err != nil {
			t.Error(err)
		}
	})
	h := newHarness(&cobra.Command{}, f, table)
	command := h.Command
	h.Command = func(name string, args ...string) *exec.Cmd {
		real := command(name, args...)
		return exec.Command(os.Args[0], append([]string{"-test.run=^TestAsAProgram$", "--"}, real.Args[1:]...)...)
	}
	h.Say = t.Logf
	return h
}

// That the figures are good is not the business of these tests.

func TestBenchMeasuresAWholePipeline(t *testing.T) {
	cpu, heap := filepath.Join(t.TempDir(), "cpu"), filepath.Join(t.TempDir(), "heap")
	report, err := newTestHarness(t, &benchFlags{cpu: cpu, heap: heap, options: bench.Options{
		Cameras: 2, Size: bench.Size{Width: 320, Height: 180}, FPS: 10, For: 2 * time.Second, Staleness: 5 * time.Second,
		Model: "gate", Provider: "cpu", Transport: "tcp",
	}}).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w, l := report.Whole, report.Limit
	if w.Results == 0 || w.Results > w.Pictures || w.NoClock > 0 {
		t.Errorf("%d results of %d pictures, %d without a clock", w.Results, w.Pictures, w.NoClock)
	}
	if w.Latency.P50 <= 0 || w.Latency.Max < w.Latency.P50 || l.Chain.P50 <= 0 || l.CPU() <= 0 || w.CPU.Pipeline <= 0 || w.Memory.Min <= 0 {
		t.Errorf("latency %+v, limit %+v, processor %+v, memory %+v", w.Latency, l, w.CPU, w.Memory)
	}
	for _, count := range []string{"frames_received", "frames_decoded", "frames_sent", "frames_analysed"} {
		if w.Counts[count] <= 0 {
			t.Errorf("%s is %v", count, w.Counts[count])
		}
	}
	if text := report.Table(); !strings.Contains(text, "capture to received") || !strings.Contains(text, "camera02") {
		t.Errorf("the table is:\n%s", text)
	}
	for _, profile := range []string{cpu, heap} {
		if info, err := os.Stat(profile); err != nil || info.Size() == 0 {
			t.Errorf("the profile is %v, %v", info, err)
		}
	}
}

func TestBenchComparesTwoBuildsWithMoreAndMoreCameras(t *testing.T) {
	h := newTestHarness(t, &benchFlags{options: bench.Options{
		Cameras: 1, Size: bench.Size{Width: 320, Height: 180}, FPS: 10, For: time.Second, Staleness: 5 * time.Second, Model: "gate", Provider: "cpu", Transport: "tcp",
	}})
	others := 0
	crowd := &bench.Crowd{Harness: h, Counts: []int{1, 2}, Rounds: 1, Against: func(name string, args ...string) *exec.Cmd {
		others++
		return h.Command(name, args...)
	}}
	report, err := crowd.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if others != 2 || len(report.Runs) != 4 {
		t.Errorf("%d runs, the other build in %d", len(report.Runs), others)
	}
	for _, r := range report.Runs {
		if r.Results == 0 || len(r.Stages) != r.Cameras+2 {
			t.Errorf("%d cameras: %d results, stages %v", r.Cameras, r.Results, r.Stages)
		}
	}
	if text := report.Table(); !strings.Contains(text, "cameras: 2") || !strings.Contains(text, "of the other's") {
		t.Errorf("the table is:\n%s", text)
	}
}

func TestBenchMeasuresStages(t *testing.T) {
	report, err := newTestHarness(t, &benchFlags{options: bench.Options{
		Cameras: 1, Size: bench.Size{Width: 320, Height: 180}, FPS: 10, For: time.Second, Model: "gate", Provider: "cpu",
	}}).Stages(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range report.Stages {
		if names = append(names, s.Name); s.Time.Count == 0 || s.Time.P50 <= 0 {
			t.Errorf("%+v", s)
		}
	}
	if got := strings.Join(names, " "); got != "decode scale prepare infer publish" {
		t.Errorf("stages %s", got)
	}
}

func TestBenchRecordsForPeers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "recording")
	if status, _, stderr := command("bench", "record", path, "--size", "96x96", "--fps", "2"); status != exitWell {
		t.Fatalf("status %d, %s", status, stderr)
	}
	if r, err := bench.Load(path); err != nil || r.FPS != 2 || r.Size.Width != 96 {
		t.Errorf("recorded %+v, %v", r, err)
	}
}

func TestBenchRefusesWhatItCannotMeasure(t *testing.T) {
	for _, args := range [][]string{
		{"bench", "--size", "big"}, {"bench", "--cameras", "0"}, {"bench", "stages", "--fps", "1000"}, {"bench", "--for", "1ms"},
		{"bench", "cameras", "--counts", "0"}, {"bench", "cameras", "--rounds", "0"}, {"bench", "cameras", "--against", "no-such-program"}, {"bench", "cameras", "--size", "big"},
		{"bench", "site", "recording", "many"}, {"bench", "site"}, {"bench", "everything"}, {"bench", "record", "recording", "--size", "1x1"},
	} {
		if status, _, stderr := command(args...); status != exitBadConfig {
			t.Errorf("%v: status %d, %s", args, status, stderr)
		}
	}
	if status, _, stderr := command("bench", "--model", "nowhere.onnx", "--size", "96x96", "--fps", "1", "--for", "1s"); status != exitFailed || !strings.Contains(stderr, "nowhere.onnx") {
		t.Errorf("status %d, %s", status, stderr)
	}
}
