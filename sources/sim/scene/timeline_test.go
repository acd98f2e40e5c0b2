package scene

import (
	"sync"
	"testing"
	"time"
)

// wide is the aspect of most cameras.
const wide = 16.0 / 9

func TestEveryClassComesBeforeAnyComesAThirdTime(t *testing.T) {
	for seed := range uint64(20) {
		line := newTimeline(seed, wide)
		line.segment(2 * time.Minute)
		for bag := 0; bag+int(classes) <= len(line.segments); bag += int(classes) {
			seen := map[class]bool{}
			for _, s := range line.segments[bag : bag+int(classes)] {
				seen[s.class] = true
			}
			if len(seen) != int(classes) {
				t.Errorf("seed %d: segments %d to %d show %v", seed, bag, bag+int(classes), seen)
			}
		}
	}
}

func TestSegmentsFollowOneAnotherWithoutGaps(t *testing.T) {
	for seed := range uint64(20) {
		line := newTimeline(seed, wide)
		line.segment(5 * time.Minute)
		end, last := time.Duration(0), class(-1)
		for i, s := range line.segments {
			if s.start != end || s.class == last {
				t.Fatalf("seed %d, segment %d: %v from %v after %v until %v", seed, i, s.class, s.start, last, end)
			}
			if long := s.end - s.start; long < 2*time.Second || long > 6*time.Second {
				t.Errorf("seed %d, segment %d lasts %v", seed, i, long)
			}
			end, last = s.end, s.class
		}
	}
}

func TestTheTimelineIsTheSameHoweverItIsAskedFor(t *testing.T) {
	forward, late := newTimeline(5, wide), newTimeline(5, wide)
	late.segment(time.Minute)
	for at := time.Duration(0); at < time.Minute; at += 130 * time.Millisecond {
		if a, b := forward.truth(at), late.truth(at); a != b {
			t.Fatalf("at %v: %v and %v", at, a, b)
		}
	}
	if a, b := newTimeline(5, wide).truth(30*time.Second), newTimeline(6, wide).segment(0).actor; a.Class == "" || b == forward.segment(0).actor {
		t.Errorf("seeds 5 and 6 begin with the same actor")
	}
}

func TestTruthFollowsTheObjectThroughTheView(t *testing.T) {
	for seed := range uint64(10) {
		line := newTimeline(seed, wide)
		line.segment(2 * time.Minute)
		for i, s := range line.segments[:len(line.segments)-1] {
			checkSegment(t, line, i, s)
		}
	}
}

// checkSegment follows one segment in small steps: unsettled, settled, unsettled.
func checkSegment(t *testing.T, line *timeline, i int, s segment) {
	t.Helper()
	changes, settled := 0, false
	for at := s.start; at < s.end; at += 10 * time.Millisecond {
		truth := line.truth(at)
		if truth.Class != s.class.String() {
			t.Fatalf("segment %d: truth at %v is %v, want %v", i, at, truth.Class, s.class)
		}
		if truth.Settled != settled {
			changes, settled = changes+1, truth.Settled
		}
		if s.class != empty && truth.Settled && truth.Visible < 0.999 {
			t.Fatalf("segment %d: settled at %v with %v in view", i, at, truth.Visible)
		}
	}
	if changes != 2 || settled {
		t.Errorf("segment %d (%v): settled changes %d times, want in and out", i, s.class, changes)
	}
	if first := line.truth(s.start); first.Visible > 0.01 || first.Settled {
		t.Errorf("segment %d (%v) begins with %+v", i, s.class, first)
	}
	if last := line.truth(s.end - 1); last.Visible > 0.01 || last.Settled {
		t.Errorf("segment %d (%v) ends with %+v", i, s.class, last)
	}
}

func TestMostMomentsAreSettled(t *testing.T) {
	line := newTimeline(2026, wide)
	settled, all := 0, 0
	for at := time.Duration(0); at < 5*time.Minute; at += 100 * time.Millisecond {
		all++
		if line.truth(at).Settled {
			settled++
		}
	}
	if share := float64(settled) / float64(all); share < 0.6 || share > 0.95 {
		t.Errorf("%.2f of all moments are settled, want 0.6 to 0.95", share)
	}
}

func TestActorsGoTheirWholeWay(t *testing.T) {
	for c := person; c < classes; c++ {
		for seed := range uint64(30) {
			a := newActor(random(seed, 1), c)
			k := kindOf(c)
			if a.ground < k.far || a.ground > k.near || a.length*a.scale() > wide {
				t.Errorf("%v of seed %d: %+v does not fit", c, seed, a)
			}
			last := a.centre(0, wide)
			for p := 0.01; p <= 1; p += 0.01 {
				x := a.centre(p, wide)
				if (x-last)*a.facing <= 0 {
					t.Fatalf("%v of seed %d goes back at %.2f", c, seed, p)
				}
				last = x
			}
		}
	}
}

func TestTruthMayBeAskedFromAnywhere(t *testing.T) {
	line := newTimeline(1, wide)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for at := range 200 {
				line.truth(time.Duration(at*(i+1)) * 100 * time.Millisecond)
			}
		})
	}
	all.Wait()
}
