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

// TestBenchMeasuresAWholePipeline runs the bench with all its processes, small and short. That the
// figures are good is not its business.
func TestBenchMeasuresAWholePipeline(t *testing.T) {
	requireRuntime(t)
	options := bench.Options{
		Cameras: 2, Size: bench.Size{Width: 320, Height: 180}, FPS: 10, For: 2 * time.Second, Staleness: 5 * time.Second,
		Model: "gate", Provider: "cpu", Transport: "tcp",
	}
	table, closeParts := newParts(os.Getenv("SIGHTLINE_ONNXRUNTIME"), os.Stdout)
	defer func() {
		if err := closeParts(); err != nil {
			t.Error(err)
		}
	}()
	h := newHarness(&cobra.Command{}, options, table)
	h.Say = t.Logf
	h.Command = func(name string, args ...string) *exec.Cmd {
		return exec.Command(os.Args[0], append([]string{"-test.run=^TestAsAProgram$", "--", "bench", name}, args...)...)
	}
	report, err := h.Run(t.Context())
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
}

func TestBenchMeasuresStages(t *testing.T) {
	requireRuntime(t)
	options := bench.Options{Cameras: 1, Size: bench.Size{Width: 320, Height: 180}, FPS: 10, For: time.Second, Model: "gate", Provider: "cpu"}
	table, closeParts := newParts(os.Getenv("SIGHTLINE_ONNXRUNTIME"), os.Stdout)
	defer func() {
		if err := closeParts(); err != nil {
			t.Error(err)
		}
	}()
	h := newHarness(&cobra.Command{}, options, table)
	h.Say = t.Logf
	h.Command = func(name string, args ...string) *exec.Cmd {
		return exec.Command(os.Args[0], append([]string{"-test.run=^TestAsAProgram$", "--", "bench", name}, args...)...)
	}
	report, err := h.Stages(t.Context())
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
	path := filepath.Join(t.TempDir(), "report.json")
	if err := report.Save(path); err != nil {
		t.Error(err)
	}
}

func TestBenchRefusesWhatItCannotMeasure(t *testing.T) {
	for _, args := range [][]string{
		{"bench", "--size", "big"}, {"bench", "--cameras", "0"}, {"bench", "stages", "--fps", "1000"}, {"bench", "--for", "1ms"},
		{"bench", "site", "recording", "many"}, {"bench", "site"}, {"bench", "everything"},
	} {
		if status, _, stderr := command(args...); status != exitBadConfig {
			t.Errorf("%v: status %d, %s", args, status, stderr)
		}
	}
	if status, _, stderr := command("bench", "--model", "nowhere.onnx", "--size", "96x96", "--fps", "1", "--for", "1s"); status != exitFailed || !strings.Contains(stderr, "nowhere.onnx") {
		t.Errorf("status %d, %s", status, stderr)
	}
}
