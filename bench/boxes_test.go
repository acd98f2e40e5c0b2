package bench

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sightline/configs"
	"sightline/pipeline"
)

func boxRunOf(in string, rate float64, p50 time.Duration, cpu time.Duration) BoxRun {
	n := int(rate * 10)
	return BoxRun{
		In: in, Seconds: 10, Pictures: 300, Results: n, CPU: cpu * time.Duration(n), Supervisor: 100 * ms, Resident: 22 << 20,
		Latency: Quantiles{n, p50, p50 + ms, p50 + 2*ms, p50 + 3*ms}, First: time.Second, Ready: 500 * ms,
	}
}

func TestARunIsHeldAgainstTheRunsInPlaceBesideIt(t *testing.T) {
	runs := []BoxRun{
		boxRunOf(InPlace, 30, 10*ms, 10*ms),
		boxRunOf("process", 30, 11*ms, 12*ms),
		boxRunOf(InPlace, 20, 20*ms, 14*ms), // the machine became slower
		boxRunOf("container", 20, 21*ms, 14*ms),
		boxRunOf(InPlace, 20, 20*ms, 14*ms),
		boxRunOf("process", 18, 20*ms, 28*ms), // the last one, with a neighbour on one side only
	}
	want := Comparison{In: "container", Runs: 1, Throughput: 1, Median: ms, Least: ms, Most: ms, P99: ms, CPU: 1}
	if got := compare(runs, "container"); got != want {
		t.Errorf("container %+v, want %+v", got, want)
	}
	// 30 of 25 and 18 of 20; 11 over 15 and 20 over 20; 12 of 12 and 28 of 14; of two the lower is the median
	want = Comparison{In: "process", Runs: 2, Throughput: 0.9, Median: -4 * ms, Least: -4 * ms, P99: -4 * ms, CPU: 1}
	if got := compare(runs, "process"); got != want {
		t.Errorf("process %+v, want %+v", got, want)
	}
	if got := compare(runs, "vm"); got != (Comparison{In: "vm"}) {
		t.Errorf("what did not run: %+v", got)
	}
}

// boxSample is a report of process boxes over two rounds, and of a vm that did not work.
func boxSample() *BoxReport {
	process := boxRunOf("process", 29.7, 11*ms, 12*ms)
	process.First, process.Ready, process.Back = 3*time.Second, 2*time.Second, 1200*ms
	process.Stages = []BoxStage{
		{"upstream", "publish", 9 << 20, 100 * ms, Sizes{7 << 20, 0}}, {"scene", "classify", 45 << 20, time.Second, Sizes{54 << 20, 60 << 20}},
	}
	later := process
	later.First, later.Stages = 1500*ms, []BoxStage{{"upstream", "publish", 10 << 20, 300 * ms, Sizes{7 << 20, 0}}}
	inline := boxRunOf(InPlace, 30, 10600*time.Microsecond, 10*ms)
	r := &BoxReport{
		Version: "v1", Machine: Machine{"linux/amd64", "A Processor", 2, "0.10 0.20 0.30"}, Options: Options{Cameras: 1, Model: "gate", Provider: "cpu", For: 10 * time.Second},
		Compare: BoxOptions{Rounds: 2}, Kinds: []Kind{{Name: "process", Engine: "Linux 6.1"}, {Name: "container", Skipped: "no engine answers"}},
		Groups: []*BoxGroup{{
			Size: Size{1920, 1080}, FPS: 30, BitRate: 4_000_000, Runs: []BoxRun{inline, process, inline, later, inline}, Failed: []Kind{{Name: "vm", Skipped: "it broke"}},
		}},
		Idle: &Idle{Program: "sightline-supervisor", Boxes: 3, Seconds: 20, CPU: 80 * ms, Resident: 21 << 20},
	}
	r.check()
	return r
}

func TestTheTableOfBoxesShowsWhatMatters(t *testing.T) {
	text := boxSample().Table()
	for _, want := range []string{
		"not measured: container: no engine answers", "process: Linux 6.1", "RTCP reports", "1920x1080 at 30 fps", "inline, 3 runs", "29.70", "99.0%", "11.0 ms",
		"×0.990", "+0.400 ms", "×1.20", "vm did not work: it broke", "3.00 s", "1.50 s", "1.20 s", "inline, all of it", "process, supervisor", "22.0 MiB",
		"process, publish upstream", "10.0 MiB", "7.0 MiB          –", "60.0 MiB",
		"sightline-supervisor with 3 process boxes and no camera: 21.0 MiB resident, 0.40% of one core",
		"met     process, results a second ÷ inline's: 0.990, wanted ≥ 0.98", "met     process, median latency over inline's: +0.400 ms (runs from +0.400 ms to +0.400 ms)",
		"met     process, resident of publish stage upstream: 10.0 MiB", "met     idle supervisor, resident", "met     idle supervisor, of one core",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in the table:\n%s", want, text)
		}
	}
}

func TestVerdictsOnBoxes(t *testing.T) {
	all := func(change func(r *BoxRun)) func(*BoxReport) {
		return func(r *BoxReport) {
			for i := range r.Groups[0].Runs {
				if run := &r.Groups[0].Runs[i]; run.In == "process" {
					change(run)
				}
			}
		}
	}
	tests := []struct {
		name   string
		change func(*BoxReport)
		missed string // part of the name of the one verdict that is
	}{
		{"all well", func(*BoxReport) {}, ""},
		{"fewer results", all(func(r *BoxRun) { r.Results = 290 }), "results a second"},
		{"a later median", all(func(r *BoxRun) { r.Latency.P50 += 200 * time.Microsecond }), "median latency"},
		{"slow to come back", all(func(r *BoxRun) { r.Back = 2100 * ms }), "killed supervisor"},
		{"publish grows in one run", func(r *BoxReport) { r.Groups[0].Runs[3].Stages[0].Memory = 21 << 20 }, "publish stage"},
		{"a fat supervisor", func(r *BoxReport) { r.Idle.Resident = 31 << 20 }, "idle supervisor, resident"},
		{"a busy supervisor", func(r *BoxReport) { r.Idle.CPU = 210 * ms }, "idle supervisor, of one core"},
		{"an idle supervisor that was not measured", func(r *BoxReport) { r.Idle = &Idle{Skipped: "no boxes"} }, ""},
	}
	for _, test := range tests {
		r := boxSample()
		test.change(r)
		r.check()
		missed := 0
		for _, v := range r.Verdicts {
			if v.Met {
				continue
			}
			missed++
			if test.missed == "" || !strings.Contains(v.Name, test.missed) {
				t.Errorf("%s: missed %+v", test.name, v)
			}
		}
		if test.missed != "" && missed != 1 {
			t.Errorf("%s: %d are missed of %+v", test.name, missed, r.Verdicts)
		}
	}
	r := boxSample()
	for i := range r.Groups[0].Runs {
		if run := &r.Groups[0].Runs[i]; run.In == "process" {
			run.In = "vm"
		}
	}
	if r.check(); len(r.Verdicts) != 2 { // of the idle supervisor
		t.Errorf("a vm is judged like a process: %+v", r.Verdicts)
	}
}

func TestLatenciesByTheCamerasReports(t *testing.T) {
	schedule := Schedule{Begin: 0, FPS: 10, Lap: 40}
	cameras := []Camera{{Name: "camera01", Schedule: schedule}}
	wall := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) // at 0
	taken := func(id string, at, age time.Duration, origin pipeline.Origin) arrival {
		return arrival{at: at + age, wall: wall.Add(at + age), result: pipeline.Result{ID: id, Source: "camera01", Captured: wall.Add(at), CaptureOrigin: origin}}
	}
	other := taken("x", time.Second, ms, pipeline.OriginSenderReport)
	other.result.Source = "camera02"
	got := tallyByReports(cameras, time.Second, 2*time.Second, []arrival{
		taken("a", 900*ms, 200*ms, pipeline.OriginSenderReport), // before, though it came in time
		taken("b", 1000*ms, 20*ms, pipeline.OriginSenderReport),
		taken("b", 1000*ms, 400*ms, pipeline.OriginSenderReport), // delivered again
		taken("c", 1900*ms, 300*ms, pipeline.OriginSenderReport), // in time, though it came later
		taken("d", 2000*ms, 20*ms, pipeline.OriginSenderReport),
		taken("e", 1500*ms, 0, pipeline.OriginArrival),
		taken("f", 2500*ms, 0, pipeline.OriginArrival),
		other,
	})
	var run BoxRun
	got.into(&run)
	if run.Pictures != 10 || run.Results != 2 || run.NoTime != 1 || run.Latency != (Quantiles{2, 20 * ms, 300 * ms, 300 * ms, 300 * ms}) {
		t.Errorf("%+v", run)
	}
}

func TestOptionsOfBoxes(t *testing.T) {
	well := BoxOptions{Rounds: 1, GuestFPS: 2}
	if err := well.Check(); err != nil {
		t.Error(err)
	}
	for _, bad := range []BoxOptions{{Rounds: 0, GuestFPS: 2}, {Rounds: 1}, {Rounds: 1, GuestFPS: 2, Idle: ms}} {
		if bad.Check() == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
}

func TestTheFileSaysWhatBoxesStandOn(t *testing.T) {
	b := &Boxes{
		Harness: &Harness{Options: Options{Provider: "cpu", Transport: "tcp", Staleness: 250 * ms, Model: "gate"}},
		Runtime: map[string]any{"container": map[string]any{"engine": "unix:///run/other.sock"}},
	}
	path, err := b.writeFile(b.Harness, t.TempDir(), &Site{Broker: "mqtt://127.0.0.1:1883", Cameras: []Camera{{Name: "camera01", URL: "rtsp://127.0.0.1:8554/camera01"}}}, "127.0.0.1:9640")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	p, err := configs.Parse(filepath.Base(path), text, configs.Options{BuiltIn: []string{"gate"}, Folder: t.TempDir()})
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if p.Runtime.Container.Engine != "unix:///run/other.sock" || p.BoxOf("scene") != configs.Process {
		t.Errorf("runtime %+v", p.Runtime)
	}
}

func TestReadinessWaitsForEveryStage(t *testing.T) {
	well := BoxState{Stage: "a", Running: true, Ready: true}
	for _, states := range [][]BoxState{nil, {well, {Stage: "b", Running: true}}, {{Stage: "b", Ready: true}}} {
		if allReady(states) {
			t.Errorf("%+v are ready", states)
		}
	}
	if !allReady([]BoxState{well, well}) {
		t.Error("two that are ready are not")
	}
}

func TestWithoutProcessBoxesTheIdleSupervisorIsNotMeasured(t *testing.T) {
	b := &Boxes{Compare: BoxOptions{Idle: time.Second}, Kinds: []Kind{{Name: "process", Skipped: "no programs"}}}
	r := &BoxReport{}
	if err := b.idle(context.Background(), r); err != nil || r.Idle.Skipped != "no programs" {
		t.Errorf("%+v, %v", r.Idle, err)
	}
}
