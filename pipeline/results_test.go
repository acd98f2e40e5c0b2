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
		for _, m := range got {
			if m.Result.Sequence != next {
				t.Fatalf("result %d came where %d was due", m.Result.Sequence, next)
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

func TestOfStatusesTheNewestOfEachStageIsKeptAndReportingNeverBlocks(t *testing.T) {
	link := pipeline.NewResultLink(1)
	for range 100 {
		link.Report(pipeline.Status{Stage: "gate", State: pipeline.StateOffline})
	}
	link.Report(pipeline.Status{Stage: "yard", State: pipeline.StateOnline})
	link.Report(pipeline.Status{Stage: "gate", State: pipeline.StateOnline})
	got, err := link.Receive(t.Context(), open, 16, nil)
	if err != nil || len(got) != 2 {
		t.Fatalf("%d messages, %v; want one for each stage", len(got), err)
	}
	for _, m := range got {
		if m.Status.State != pipeline.StateOnline {
			t.Errorf("status of %s is %s, want the newest", m.Status.Stage, m.Status.State)
		}
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
