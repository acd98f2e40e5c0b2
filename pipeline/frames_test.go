package pipeline_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"sightline/pipeline"
)

var open = make(chan struct{}) // a stop that never closes

func dropped(stats *pipeline.Stats, source string, r pipeline.Reason) uint64 {
	return stats.Counter(pipeline.FramesDropped, "stage", "scene", "source", source, "reason", string(r)).Value()
}

func frame(pool *pipeline.FramePool, source, region string, sequence uint64) *pipeline.Frame {
	f := pool.New(2, 2)
	f.Source, f.Region, f.Sequence = source, region, sequence
	return f
}

func TestTheNewestFrameOfASourceWinsAndTheOldOneIsCounted(t *testing.T) {
	stats := pipeline.NewStats()
	inbox := pipeline.NewInbox("scene", stats)
	link := inbox.Link("gate")
	var pool pipeline.FramePool
	for n := range uint64(5) {
		link.Put(frame(&pool, "gate", "", n+1))
	}
	got, err := inbox.Take(t.Context(), open, 8, 0, nil)
	if err != nil || len(got) != 1 || got[0].Sequence != 5 || got[0].Dropped != 4 {
		t.Fatalf("took %+v, %v; want frame 5 after 4 dropped", got, err)
	}
	if n := dropped(stats, "gate", pipeline.DropSuperseded); n != 4 {
		t.Errorf("%d counted as superseded, want 4", n)
	}
}

func TestOneFastCameraDoesNotCrowdOutAnother(t *testing.T) {
	inbox := pipeline.NewInbox("scene", pipeline.NewStats())
	fast, slow := inbox.Link("fast"), inbox.Link("slow")
	var pool pipeline.FramePool
	slow.Put(frame(&pool, "slow", "", 1))
	seen := map[string]int{}
	for n := range uint64(4) {
		fast.Put(frame(&pool, "fast", "", n+1))
		got, err := inbox.Take(t.Context(), open, 1, 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		seen[got[0].Source]++
	}
	if seen["slow"] != 1 {
		t.Errorf("the slow camera's frame was not taken in 4 turns: %v", seen)
	}
}

func TestEachRegionHasItsOwnPlace(t *testing.T) {
	inbox := pipeline.NewInbox("scene", pipeline.NewStats())
	link := inbox.Link("gate")
	var pool pipeline.FramePool
	link.Put(frame(&pool, "gate", "left", 1))
	link.Put(frame(&pool, "gate", "right", 1))
	got, err := inbox.Take(t.Context(), open, 8, 0, nil)
	if err != nil || len(got) != 2 {
		t.Fatalf("took %d frames, %v; want one of each region", len(got), err)
	}
}

func TestAStaleFrameIsDroppedByName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stats := pipeline.NewStats()
		inbox := pipeline.NewInbox("scene", stats)
		link := inbox.Link("gate")
		var pool pipeline.FramePool
		f := frame(&pool, "gate", "", 1)
		f.Deadline = time.Now().Add(500 * time.Millisecond)
		link.Put(f)
		time.Sleep(501 * time.Millisecond)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if got, err := inbox.Take(ctx, make(chan struct{}), 1, 0, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("took %v, %v; want nothing", got, err)
		}
		if n := dropped(stats, "gate", pipeline.DropStale); n != 1 {
			t.Errorf("%d counted as stale, want 1", n)
		}
	})
}

func TestAFrameWhoseResultWouldBeStaleIsDroppedUnlessTheModelIsTooSlowForAny(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stats := pipeline.NewStats()
		inbox := pipeline.NewInbox("scene", stats)
		link := inbox.Link("gate")
		var pool pipeline.FramePool
		put := func(age time.Duration) {
			f := frame(&pool, "gate", "", 1)
			f.Times.Received = time.Now().Add(-age)
			f.Deadline = f.Times.Received.Add(500 * time.Millisecond)
			link.Put(f)
		}
		take := func() int {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			defer cancel()
			got, _ := inbox.Take(ctx, make(chan struct{}), 1, 0, nil)
			return len(got)
		}
		inbox.Expect(200 * time.Millisecond)
		put(290 * time.Millisecond)
		if take() != 1 {
			t.Error("dropped a frame whose result would come in time")
		}
		put(310 * time.Millisecond)
		if take() != 0 || dropped(stats, "gate", pipeline.DropStale) != 1 {
			t.Error("took a frame whose result would be stale, or did not count it")
		}
		inbox.Expect(time.Minute)
		put(240 * time.Millisecond)
		if take() != 1 {
			t.Error("a slow model gets no frames at all")
		}
	})
}

func TestABatchWaitsForTheOtherCamerasButNotLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stop := make(chan struct{}) // of this bubble
		inbox := pipeline.NewInbox("scene", pipeline.NewStats())
		a, b := inbox.Link("a"), inbox.Link("b")
		var pool pipeline.FramePool
		a.Put(frame(&pool, "a", "", 1))
		b.Put(frame(&pool, "b", "", 1))
		first, err := inbox.Take(t.Context(), stop, 4, time.Second, nil)
		if err != nil || len(first) != 2 {
			t.Fatalf("took %d, %v; want both at once", len(first), err)
		}
		began := time.Now()
		a.Put(frame(&pool, "a", "", 2))
		time.AfterFunc(10*time.Millisecond, func() { b.Put(frame(&pool, "b", "", 2)) })
		if got, _ := inbox.Take(t.Context(), stop, 4, time.Second, nil); len(got) != 2 || time.Since(began) != 10*time.Millisecond {
			t.Errorf("took %d after %s, want 2 after 10ms", len(got), time.Since(began))
		}
		a.Put(frame(&pool, "a", "", 3))
		began = time.Now()
		if got, _ := inbox.Take(t.Context(), stop, 4, 20*time.Millisecond, nil); len(got) != 1 || time.Since(began) != 20*time.Millisecond {
			t.Errorf("took %d after %s, want 1 after 20ms", len(got), time.Since(began))
		}
	})
}

func TestABatchDoesNotWaitForACameraThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stop := make(chan struct{}) // of this bubble
		inbox := pipeline.NewInbox("scene", pipeline.NewStats())
		a, b := inbox.Link("a"), inbox.Link("b")
		var pool pipeline.FramePool
		take := func(want int, after time.Duration) {
			t.Helper()
			began := time.Now()
			got, err := inbox.Take(t.Context(), stop, 4, 50*time.Millisecond, nil)
			if took := time.Since(began); err != nil || len(got) != want || took != after {
				t.Errorf("took %d after %s, %v; want %d after %s", len(got), took, err, want, after)
			}
		}
		b.Put(frame(&pool, "b", "", 1))
		take(1, 0)
		a.Put(frame(&pool, "a", "", 1))
		take(1, 50*time.Millisecond)
		time.Sleep(2 * time.Second)
		a.Put(frame(&pool, "a", "", 2))
		take(1, 0)
		b.Put(frame(&pool, "b", "", 2)) // it is back
		a.Put(frame(&pool, "a", "", 3))
		take(2, 0)
		a.Put(frame(&pool, "a", "", 4))
		take(1, 50*time.Millisecond)
	})
}

func TestAStoppedInboxGivesWhatIsLeftAndThenEnds(t *testing.T) {
	inbox := pipeline.NewInbox("scene", pipeline.NewStats())
	link := inbox.Link("gate")
	var pool pipeline.FramePool
	link.Put(frame(&pool, "gate", "", 1))
	stop := make(chan struct{})
	close(stop)
	if got, err := inbox.Take(t.Context(), stop, 1, 0, nil); err != nil || len(got) != 1 {
		t.Fatalf("took %d, %v; want the frame that waited", len(got), err)
	}
	if _, err := inbox.Take(t.Context(), stop, 1, 0, nil); !errors.Is(err, pipeline.ErrClosed) {
		t.Errorf("error %v, want ErrClosed", err)
	}
}

func TestALinkWantsNothingBeforeItIsOpenAndAfterItIsShut(t *testing.T) {
	stats := pipeline.NewStats()
	inbox := pipeline.NewInbox("scene", stats)
	link := inbox.Link("gate")
	if link.Wish() != nil {
		t.Error("wants something before it is open")
	}
	link.Open(pipeline.Wish{Width: 224, Height: 224})
	if w := link.Wish(); w == nil || len(w.Regions) != 1 || w.Regions[0] != pipeline.Whole {
		t.Errorf("wish %+v, want the whole picture", w)
	}
	var pool pipeline.FramePool
	link.Put(frame(&pool, "gate", "", 1))
	link.Shut()
	if link.Wish() != nil || dropped(stats, "gate", pipeline.DropStopping) != 1 {
		t.Error("shut link still wants, or did not count what waited")
	}
}

func TestPuttingAndTakingAllocatesNothing(t *testing.T) {
	inbox := pipeline.NewInbox("scene", pipeline.NewStats())
	link := inbox.Link("gate")
	f := (&pipeline.FramePool{}).New(2, 2)
	into := make([]*pipeline.Frame, 0, 4)
	n := testing.AllocsPerRun(1000, func() {
		link.Put(f)
		if got, err := inbox.Take(context.Background(), open, 4, 0, into); err != nil || len(got) != 1 {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations per frame, want none", n)
	}
}

func TestAFrameReleasedTooOftenIsAProgrammingError(t *testing.T) {
	f := (&pipeline.FramePool{}).New(1, 1)
	f.Retain()
	f.Release()
	f.Release()
	defer func() {
		if recover() == nil {
			t.Error("third release of two holds did not panic")
		}
	}()
	f.Release()
}

// A stage in another box has a new inbox; the frames that come over its wire say what was dropped since
// the last one that went to the box before.
func TestAnInboxThatTakesThePlaceOfAnotherGoesOnCounting(t *testing.T) {
	inbox := pipeline.NewInbox("scene", pipeline.NewStats())
	link := inbox.Link("gate")
	pool := &pipeline.FramePool{}
	for _, c := range []struct{ sequence, dropped uint64 }{{80, 13}, {82, 1}} {
		f := pool.New(1, 1)
		f.Source, f.Sequence, f.Dropped = "gate", c.sequence, c.dropped
		link.Succeed(f)
		link.Put(f)
		got, err := inbox.Take(t.Context(), nil, 1, 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got[0].Dropped != c.dropped {
			t.Errorf("frame %d has %d dropped before it, want %d", c.sequence, got[0].Dropped, c.dropped)
		}
		got[0].Release()
	}
}
