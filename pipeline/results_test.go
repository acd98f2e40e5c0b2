package pipeline_test

import (
	"context"
	"errors"
	"testing"

	"sightline/pipeline"
)

func TestAFullResultLinkBlocksItsSenderAndLosesNothing(t *testing.T) {
	link := pipeline.NewResultLink(2)
	const all = 1000
	go func() {
		for n := range uint64(all) {
			if link.Send(t.Context(), &pipeline.Result{Sequence: n}) != nil {
				return
			}
		}
	}()
	var next uint64
	for next < all {
		got, err := link.Receive(t.Context(), open, 16, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range got {
			if r.Sequence != next {
				t.Fatalf("result %d came where %d was due", r.Sequence, next)
			}
			next++
		}
	}
}

func TestSendGivesUpOnlyWithItsContext(t *testing.T) {
	link := pipeline.NewResultLink(0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := link.Send(ctx, &pipeline.Result{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want canceled", err)
	}
}

func TestOfStatusesTheNewestOfEachStageIsKept(t *testing.T) {
	var k pipeline.Statuses
	for range 100 {
		k.Put(pipeline.Status{Stage: "gate", State: pipeline.StateOffline})
	}
	k.Put(pipeline.Status{Stage: "yard", State: pipeline.StateOnline})
	k.Put(pipeline.Status{Stage: "gate", State: pipeline.StateOnline})
	got := k.Take(nil)
	if len(got) != 2 {
		t.Fatalf("%d statuses, want one for each stage", len(got))
	}
	for _, s := range got {
		if s.State != pipeline.StateOnline {
			t.Errorf("status of %s is %s, want the newest", s.Stage, s.State)
		}
	}
	if left := k.Take(nil); len(left) > 0 {
		t.Errorf("%d statuses came twice", len(left))
	}
}

func TestAStoppedResultLinkGivesWhatIsLeftAndThenEnds(t *testing.T) {
	link := pipeline.NewResultLink(4)
	for range 3 {
		if err := link.Send(t.Context(), &pipeline.Result{}); err != nil {
			t.Fatal(err)
		}
	}
	stop := make(chan struct{})
	close(stop)
	total := 0
	for {
		got, err := link.Receive(t.Context(), stop, 2, nil)
		if errors.Is(err, pipeline.ErrClosed) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		total += len(got)
	}
	if total != 3 {
		t.Errorf("%d results after the stop, want 3", total)
	}
}
