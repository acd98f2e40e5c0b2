package bench

import (
	"math"
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestBuildsTakeTurnsInWhoIsFirst(t *testing.T) {
	alone, both := &Crowd{}, &Crowd{Against: func(string, ...string) *exec.Cmd { return nil }}
	tests := []struct {
		name  string
		crowd *Crowd
		round int
		want  []bool
	}{
		{"one build", alone, 1, []bool{false}},
		{"the other first", both, 0, []bool{true, false}},
		{"then this one", both, 1, []bool{false, true}},
		{"and the other again", both, 2, []bool{true, false}},
	}
	for _, tt := range tests {
		if got := tt.crowd.order(tt.round); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func crowdRunOf(round int, other bool, results int, p50 time.Duration) CrowdRun {
	return CrowdRun{Cameras: 8, Round: round, Other: other, Whole: &Whole{
		Seconds: 10, Results: results, Latency: Quantiles{P50: p50, P99: 2 * p50},
		Parts:  []Part{{"queue", Quantiles{}}, {partNames[inferPart], Quantiles{P50: 7 * ms}}},
		Counts: map[string]float64{"frames_decoded": 400, "frames_analysed": 300},
		CPU:    CPU{PerResult: 4 * ms},
	}}
}

func TestTwoBuildsAreComparedRoundByRound(t *testing.T) {
	r := &CrowdReport{Counts: []int{1, 8}, Rounds: 3, Runs: []CrowdRun{
		crowdRunOf(0, true, 100, 40*ms), crowdRunOf(0, false, 300, 20*ms),
		crowdRunOf(1, false, 200, 20*ms), crowdRunOf(1, true, 200, 20*ms), // the machine was quieter
		crowdRunOf(2, true, 100, 80*ms), crowdRunOf(2, false, 200, 20*ms),
	}}
	text := r.Table()
	for _, want := range []string{
		"cameras: 1", "cameras: 8", "results/s    ×2.00 of the other's (×1.00 to ×3.00)", "p50          ×0.50 of the other's (×0.25 to ×1.00)",
		"CPU/result   ×1.00 of the other's", "7.000 ms", "40.0", "25.0%",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in the table:\n%s", want, text)
		}
	}
	if n := strings.Count(text, "of the other's"); n != 4 {
		t.Errorf("%d comparisons, though only one count of cameras ran:\n%s", n, text)
	}
}

func TestARoundWithoutResultsIsNotComparedButTold(t *testing.T) {
	mine := []CrowdRun{crowdRunOf(0, false, 10, ms), crowdRunOf(1, false, 30, ms)}
	others := []CrowdRun{crowdRunOf(0, true, 0, ms), crowdRunOf(1, true, 20, ms), crowdRunOf(2, true, 20, ms)}
	if got := ratios(mine, others, CrowdRun.rate); len(got) != 1 || math.Abs(got[0]-1.5) > 1e-9 {
		t.Errorf("ratios %v", got)
	}
	r := &CrowdReport{Counts: []int{8}, Runs: append(mine, others...)}
	if text := r.Table(); !strings.Contains(text, "without a result: 0 runs of this build, 1 of the other") {
		t.Errorf("a run without results is not told:\n%s", text)
	}
	none := CrowdRun{Whole: &Whole{}}
	if none.vain() != 0 || none.infer() != 0 {
		t.Errorf("of nothing decoded %v was in vain, an inference took %v", none.vain(), none.infer())
	}
}

func TestACrowdIsChecked(t *testing.T) {
	o := Options{Cameras: 1, FPS: 30, For: time.Second}
	tests := []struct {
		name  string
		crowd Crowd
		well  bool
	}{
		{"well", Crowd{Harness: &Harness{Options: o}, Counts: []int{1, 8}, Rounds: 1}, true},
		{"no rounds", Crowd{Harness: &Harness{Options: o}, Counts: []int{1}}, false},
		{"no counts", Crowd{Harness: &Harness{Options: o}, Rounds: 1}, false},
		{"no cameras", Crowd{Harness: &Harness{Options: o}, Counts: []int{1, 0}, Rounds: 1}, false},
		{"too short", Crowd{Harness: &Harness{Options: Options{FPS: 30}}, Counts: []int{1}, Rounds: 1}, false},
	}
	for _, tt := range tests {
		if err := tt.crowd.Check(); (err == nil) != tt.well {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
