package bench

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func stage(name string, t time.Duration) Stage {
	return Stage{Name: name, Time: Quantiles{100, t, t + ms, t + 2*ms, t + 3*ms}, CPU: t}
}

func sample() *Report {
	r := &Report{
		Made: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Version: "v1",
		Machine: Machine{"linux/amd64", "A Processor", 2, "0.10 0.20 0.30"},
		Options: Options{Cameras: 1, Size: Size{1920, 1080}, FPS: 30, For: 10 * time.Second, Model: "gate", Provider: "cpu", Staleness: 500 * ms},
		Encoder: "libx264", BitRate: 4_000_000,
		Limit: &Limit{
			stage("decode", 3*ms), stage("scale", ms), stage("infer", 5*ms),
			Quantiles{100, 9 * ms, 10 * ms, 11 * ms, 12 * ms}, Quantiles{100, 9500 * time.Microsecond, 10 * ms, 11 * ms, 12 * ms},
		},
		Whole: &Whole{
			Seconds: 10, Pictures: 300, Results: 299, Latency: Quantiles{299, 11 * ms, 14 * ms, 20 * ms, 33 * ms},
			CPU:    CPU{Pipeline: 3 * time.Second, Site: time.Second, Harness: 100 * ms, PerResult: 10 * ms},
			Counts: map[string]float64{"frames_received": 300, "frames_decoded": 300, "frames_sent": 300, "frames_analysed": 299},
			Drops:  map[string]float64{"superseded": 1}, Memory: memory([]int64{50 << 20, 50 << 20}),
			Parts: []Part{{"queue", Quantiles{299, ms, ms, ms, ms}}}, Stages: []StageDetail{{"scene", "gate on cpu"}, {"camera01", "h264"}, {"camera02", "h264"}, {"camera03", "h264"}},
		},
	}
	r.check()
	return r
}

func TestTheTableShowsWhatMatters(t *testing.T) {
	text := sample().Table()
	for _, want := range []string{
		"2 × A Processor", "gate on cpu", "1920x1080 at 30 fps", "4.0 Mbit/s", "together", "9.000 ms", "cameras' pace", "9.500 ms", "(alone, p99 is 11.0 ms)", "capture to received", "11.0 ms", "33.0 ms",
		"299 of 300 pictures (29.9 a second)", "300 decoded", "superseded 1", "pipeline 30.0% of one core, 10.0 ms a result", "50.0 MiB (+0.0%)",
		"scene      gate on cpu\ncamera01…camera03 h264\n", "met     median latency: 11.0 ms, wanted ≤ 9.000 ms alone + 3.000 ms", "met     p99 latency",
		"MISSED  processor time of the parts ÷ of the pipeline: 89.8%, wanted ≥ 90.0%", // (300×3 + 300×1 + 299×5) ms ÷ 3 s
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in the table:\n%s", want, text)
		}
	}
}

func TestAReportOfStagesHasNoWhole(t *testing.T) {
	r := sample()
	r.Stages = []Stage{r.Limit.Decode, stage("publish", ms)}
	r.Whole, r.Verdicts = nil, nil
	text := r.Table()
	if !strings.Contains(text, "stages alone") || !strings.Contains(text, "publish") || strings.Contains(text, "capture to received") {
		t.Errorf("the table is:\n%s", text)
	}
}

func TestVerdicts(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Report)
		want   map[string]bool // by the beginning of the name
	}{
		{"all well", func(r *Report) { r.Whole.CPU.Pipeline = 2800 * ms }, map[string]bool{"median": true, "p99": true, "processor": true}},
		{"slow in the middle", func(r *Report) { r.Whole.Latency.P50 = 13 * ms }, map[string]bool{"median": false, "p99": true, "processor": false}},
		{"slow at the end", func(r *Report) { r.Whole.Latency.P99 = 25 * ms }, map[string]bool{"median": true, "p99": false, "processor": false}},
		{"more cameras than the machine can serve: age, and processor time", func(r *Report) { r.Options.Cameras = 6; r.Whole.Latency.P99 = 499 * ms }, map[string]bool{"age": true, "processor": false}},
		{"overloaded: age alone counts", func(r *Report) { r.Options.Overload = true; r.Whole.Latency.P99 = 499 * ms }, map[string]bool{"age": true}},
		{"overloaded and too old", func(r *Report) { r.Options.Overload = true; r.Whole.Latency.P99 = 501 * ms }, map[string]bool{"age": false}},
		{"a soak that grows", func(r *Report) {
			r.Options.For = long
			r.Whole.Memory = memory([]int64{100, 100, 100, 103})
		}, map[string]bool{"median": true, "p99": true, "processor": false, "growth": false}},
	}
	for _, test := range tests {
		r := sample()
		r.Verdicts = nil
		test.change(r)
		r.check()
		got := map[string]bool{}
		for _, v := range r.Verdicts {
			first, _, _ := strings.Cut(v.Name, " ")
			got[first] = v.Met
		}
		if !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

func TestAReportComesBackFromItsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "report.json")
	want := sample()
	if err := want.Save(path); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got := &Report{}
	if err := json.Unmarshal(text, got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("read %+v, %v; want %+v", got, err, want)
	}
	if err := want.Save(filepath.Join(path, "below")); err == nil {
		t.Error("a file below a file was written")
	}
}

func TestMemoryIsListedByMinuteWhenThereAreSome(t *testing.T) {
	if line := minutes(make([]int64, 119)); line != "" {
		t.Errorf("of two minutes: %q", line)
	}
	samples := make([]int64, 121)
	samples[60], samples[120] = 1<<20, 3<<19
	if line := minutes(samples); line != "0.0 1.0 1.5" {
		t.Errorf("listed %q", line)
	}
}

func TestNamesOfProcessors(t *testing.T) {
	for text, want := range map[string]string{
		"processor\t: 0\nmodel name\t: Intel: Fast\nmodel name\t: other\n": "Intel: Fast",
		"processor\t: 0\nModel\t\t: Raspberry Pi 5\n":                      "Raspberry Pi 5",
		"": "",
	} {
		if got := processor(bufio.NewScanner(strings.NewReader(text))); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]Size{"1920x1080": {1920, 1080}, "96x96": {96, 96}} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "1920", "1920x", "1920x1080p", "1921x1080", "94x94", "10000x96", "-96x96", "1920×1080", " 96x96", "096x96"} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("%q was taken for %v", text, got)
		}
	}
}

func TestOptionsAreChecked(t *testing.T) {
	good := Options{Cameras: 1, FPS: 30, For: time.Second}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	for _, bad := range []Options{{FPS: 30, For: time.Second}, {Cameras: 1, For: time.Second}, {Cameras: 1, FPS: 30}, {Cameras: 257, FPS: 30, For: time.Second}, {Cameras: 1, FPS: 121, For: time.Second}} {
		if bad.Check() == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
	if l := (Options{Cameras: 2, FPS: 30, Overload: true}).least(); l != 50*ms {
		t.Errorf("two cameras of 30 fps are overloaded by a model of %v", l)
	}
}
