package bench

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"sightline/pipeline"
)

// result is what a pipeline says of a picture with a counter.
func result(source string, sequence uint64, counter int) pipeline.Result {
	return pipeline.Result{Source: source, Sequence: sequence, Predictions: []pipeline.Prediction{{Class: "cat"}, {Class: clockClass, ClassID: counter}}}
}

func TestATrackerKnowsAgesOfMoreThanALapByTheSequence(t *testing.T) {
	s := Schedule{Begin: 0, FPS: 30, Lap: 120}
	tr := &tracker{schedule: s}
	tests := []struct {
		name     string
		n        int64
		sequence int64
		age      time.Duration
	}{
		{"young", 1000, 990, 50 * ms},
		{"the next one", 1001, 991, 50 * ms},
		{"after some that were dropped", 1010, 1000, 400 * ms},
		{"over a lap old", 1020, 1010, 4500 * ms},
		{"over three laps old", 1030, 1020, 13 * time.Second},
		{"young again", 1600, 1590, 20 * ms},
		{"after whole pictures were lost on the way, which have no sequence", 1610, 1597, 20 * ms},
		{"after the stage began to count anew", 4000, 1, 20 * ms},
		{"and then", 4030, 31, 4100 * ms},
	}
	for _, test := range tests {
		got, ok := tr.number(uint32(test.n%s.Lap), test.sequence, s.Taken(test.n)+test.age)
		if !ok || got != test.n {
			t.Errorf("%s: taken for picture %d, %v; want %d", test.name, got, ok, test.n)
		}
	}
	if _, ok := tr.number(500, 1, time.Minute); ok {
		t.Error("a counter that no picture shows was taken")
	}
}

func TestPicturesBetweenTwoMoments(t *testing.T) {
	s := Schedule{Begin: time.Second, FPS: 30, Lap: 120}
	tests := []struct {
		name       string
		begin, end time.Duration
		want       int
	}{
		{"before the camera began", 0, time.Second, 0},
		{"the moment of the first counts", time.Second, time.Second + 1, 1},
		{"the end's own picture does not", time.Second, 2 * time.Second, 30},
		{"any second has 30", 5*time.Second + 7*ms, 6*time.Second + 7*ms, 30},
		{"between two pictures is none", time.Second + ms, time.Second + 2*ms, 0},
	}
	for _, test := range tests {
		if got := s.between(test.begin, test.end); got != test.want {
			t.Errorf("%s: %d, want %d", test.name, got, test.want)
		}
	}
}

func TestATallyCountsThePicturesOfItsTime(t *testing.T) {
	s := Schedule{Begin: 0, FPS: 10, Lap: 40}
	tally := newTally([]Camera{{Name: "a", Schedule: s}, {Name: "b", Schedule: s}}, 10*time.Second, 20*time.Second)
	add := func(source string, n int64, age time.Duration) {
		tally.add(arrival{at: s.Taken(n) + age, result: result(source, uint64(n+1), int(n%s.Lap))})
	}
	add("a", 99, 200*ms) // taken before, received within
	add("a", 100, 10*ms)
	add("b", 150, 30*ms)
	add("a", 199, 200*ms) // taken within, received after
	add("a", 200, 10*ms)
	tally.add(arrival{at: 15 * time.Second, result: pipeline.Result{Source: "a"}})
	tally.add(arrival{at: 25 * time.Second, result: pipeline.Result{Source: "a"}})
	tally.add(arrival{at: 15 * time.Second, result: result("elsewhere", 1, 1)})
	var out Whole
	tally.into(&out)
	if out.Results != 3 || out.Pictures != 200 || out.NoClock != 2 {
		t.Errorf("%d results of %d pictures, %d without clock; want 3, 200, 2", out.Results, out.Pictures, out.NoClock)
	}
	if want := (Quantiles{3, 30 * ms, 200 * ms, 200 * ms, 200 * ms}); out.Latency != want {
		t.Errorf("latency %+v, want %+v", out.Latency, want)
	}
}

func TestThePartsOfALatencyAddUpToIt(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	r := pipeline.Result{
		Received: at.Add(2 * ms), Decoded: at.Add(7 * ms), Inferred: at.Add(15 * ms), Published: at.Add(16 * ms),
		Latency: pipeline.Latency{Infer: 0.005},
	}
	got := parts(&r, at.Add(18*ms), 18*ms)
	if want := [len(partNames)]time.Duration{2 * ms, 5 * ms, 3 * ms, 5 * ms, ms, 2 * ms}; got != want {
		t.Errorf("parts %v, want %v", got, want)
	}
}

func TestTheDifferenceOfTwoStatuses(t *testing.T) {
	read := func(text string) *statusReport {
		out := &statusReport{}
		if err := json.NewDecoder(strings.NewReader(text)).Decode(out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	counts, drops := difference(
		read(`{"stages": [{"counts": {"frames_decoded": 10}, "drops": {"stale": 2, "sampled": 1}}]}`),
		read(`{"stages": [{"counts": {"frames_decoded": 40}, "drops": {"stale": 2, "sampled": 4}}, {"counts": {"frames_decoded": 5}}]}`))
	if counts["frames_decoded"] != 35 || len(drops) != 1 || drops["sampled"] != 3 {
		t.Errorf("counts %v, drops %v", counts, drops)
	}
}
