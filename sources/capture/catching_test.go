package capture

import (
	"testing"
	"testing/synctest"
	"time"

	"sightline/pipeline"
	"sightline/sources"
	"sightline/sources/encode"
)

const ms = time.Millisecond

// gaveUp is how many late units were decoded before one was given up; most when none was. A camera of
// 25 fps sends a unit every 40 ms, and each takes so long to decode.
func gaveUp(c *catching, took, age time.Duration, most int) int {
	c.took = took
	for n := range most {
		if c.vain(age, int(age/(40*ms))) {
			return n
		}
	}
	return most
}

func TestCatchingUpIsFreeWhenQuickAndElsePaidForByPicturesInTime(t *testing.T) {
	tests := []struct {
		name   string
		earned int // pictures in time
		took   time.Duration
		want   int
	}{
		{"quick, with nothing earned", 0, 8 * ms, 100},
		{"at twice the camera's pace", 0, 20 * ms, 100},
		{"somewhat slower, with nothing earned", 0, 21 * ms, 0},
		{"slow, with nothing earned", 0, 150 * ms, 0},
		{"slow, with too little earned", 3, 150 * ms, 0},
		{"slow, with enough earned for one", 7, 150 * ms, 1},
		{"slow, with enough earned for three", 12, 150 * ms, 3},
		{"slow, after a long time without trouble", 10_000, 150 * ms, 8},
	}
	for _, tt := range tests {
		var c catching
		for range tt.earned {
			c.earn()
		}
		if got := gaveUp(&c, tt.took, 600*ms, 100); got != tt.want {
			t.Errorf("%s: %d late units were decoded, want %d", tt.name, got, tt.want)
		}
	}
}

func TestUnderALoadThatLastsOneInFiveIsDecodedInVain(t *testing.T) {
	var c catching
	late, inTime := 0, 0
	for range 100 { // from keyframe to keyframe
		for range 4 {
			c.earn()
			inTime++
		}
		late += gaveUp(&c, 150*ms, 600*ms, 100)
	}
	if late != inTime/4 {
		t.Errorf("%d late units were decoded, and %d in time", late, inTime)
	}
}

func TestOneHaltOfTheMachineCostsOneLateUnit(t *testing.T) {
	var c catching
	for range unitCost {
		c.earn()
	}
	if n := gaveUp(&c, 900*ms, 1200*ms, 1); n != 1 {
		t.Error("the unit after the halt was given up")
	}
	if n := gaveUp(&c, 8*ms, 1000*ms, 100); n != 100 {
		t.Errorf("then only %d units were caught up with", n)
	}
}

func TestALateUnitGoesWithWhatWaitsUpToTheNextKeyframe(t *testing.T) {
	tests := []struct {
		name    string
		age     time.Duration
		credit  int
		took    time.Duration
		waiting int
		key     bool // the last one waiting is a keyframe
		behind  bool
		left    int // of those waiting
	}{
		{"in time, and slow", 500 * ms, 0, 150 * ms, 11, false, false, 11},
		{"late, and quick", 520 * ms, 0, 8 * ms, 12, false, false, 12},
		{"late, and slow", 520 * ms, 0, 150 * ms, 12, false, true, 0},
		{"late, slow, and with something earned", 520 * ms, unitCost, 150 * ms, 12, false, false, 12},
		{"late, slow, and a keyframe waits", 520 * ms, unitCost, 150 * ms, 12, true, true, 1},
		{"late, quick, and a keyframe waits", 520 * ms, 0, 8 * ms, 12, true, true, 1},
		{"late, slow, and nothing waits", 520 * ms, 0, 600 * ms, 0, false, true, 0},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(sources.Config{Staleness: 500 * ms}, nil)
			run := newRun(r.stage)
			run.worker.catching = catching{credit: tt.credit, took: tt.took}
			late := &pipeline.Unit{Received: time.Now().Add(-tt.age)}
			for i := range tt.waiting {
				run.queue.put(unit(tt.key && i == tt.waiting-1, 10), uint64(i))
			}
			if got := run.worker.behind(late); got != tt.behind {
				t.Errorf("%s: behind is %v", tt.name, got)
			}
			if spent := tt.credit - run.worker.catching.credit; spent > 0 && tt.key {
				t.Errorf("%s: %d were paid, though there was nothing to catch up with", tt.name, spent)
			}
			if got := run.queue.length(); got != tt.left {
				t.Errorf("%s: %d are left, want %d", tt.name, got, tt.left)
			}
			if got := r.drops()[pipeline.DropBehind]; got != uint64(tt.waiting-tt.left) {
				t.Errorf("%s: %d were dropped", tt.name, got)
			}
		})
	}
}

func TestAPictureInTimeEarns(t *testing.T) {
	units := clip(t, encode.Options{GOP: 25}, 6)
	r := newRig(sources.Config{Staleness: time.Minute}, nil)
	r.link.Open(small)
	run := newRun(r.stage)
	defer run.worker.close()
	run.worker.catching.credit = 0
	for i, u := range units {
		u = fresh(u)
		if i >= 4 {
			u.Received = u.Received.Add(-2 * time.Minute) // too old by the time it is out, though caught up with
		}
		if err := run.worker.step(&item{unit: *u, sequence: uint64(i + 1)}); err != nil {
			t.Fatal(err)
		}
	}
	if c := run.worker.catching; c.credit != 4 || c.took <= 0 {
		t.Errorf("after 4 pictures in time %+v", c)
	}
	if n := r.drops()[pipeline.DropStale]; n != 2 {
		t.Errorf("%d of 2 late units were decoded", n)
	}
}
