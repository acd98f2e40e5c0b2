package inline

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sightline/runtime/driver"
)

func driverOf(run Function) *Driver {
	return &Driver{Run: func(stage string) Function {
		if stage != "gate" {
			return nil
		}
		return run
	}}
}

func spec(id string) driver.Spec { return driver.Spec{ID: id, Stage: "gate", Log: io.Discard} }

func TestBoxesInPlaceEndAsProgramsDo(t *testing.T) {
	block := make(chan struct{})
	for name, test := range map[string]struct {
		run  Function
		stop bool
		want driver.Exit
	}{
		"when it is asked to":   {func(_ context.Context, stop <-chan struct{}) error { <-stop; return nil }, true, driver.Exit{}},
		"when its context ends": {func(ctx context.Context, _ <-chan struct{}) error { <-ctx.Done(); return nil }, true, driver.Exit{}},
		"by itself":             {func(context.Context, <-chan struct{}) error { return nil }, false, driver.Exit{}},
		"with an error":         {func(context.Context, <-chan struct{}) error { return errors.New("no camera") }, false, driver.Exit{Code: 1, Reason: "no camera"}},
		"never":                 {func(context.Context, <-chan struct{}) error { <-block; return nil }, true, driver.Exit{Code: -1, Reason: `left behind: stage "gate" doesn't return`}},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := driverOf(test.run).Start(t.Context(), spec("gate-1"))
			if err != nil {
				t.Fatal(err)
			}
			if test.stop {
				if err := b.Stop(t.Context(), 10*time.Millisecond); err != nil {
					t.Fatal(err)
				}
			}
			if got := b.Exit(); got != test.want {
				t.Errorf("ended with %v", got)
			}
		})
	}
	close(block)
}

func TestAPanicEndsItsBoxAlone(t *testing.T) {
	b, err := driverOf(func(context.Context, <-chan struct{}) error { panic("no frame") }).Start(t.Context(), spec("gate-1"))
	if err != nil {
		t.Fatal(err)
	}
	if exit := b.Exit(); exit.Code != 2 || !strings.HasPrefix(exit.Reason, "panic: no frame\n") {
		t.Errorf("ended with %v", exit)
	}
}

func TestABoxInPlaceOutlivesTheCallThatStartedIt(t *testing.T) {
	d := driverOf(func(ctx context.Context, stop <-chan struct{}) error {
		select {
		case <-stop:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	b, err := d.Start(ctx, spec("gate-1"))
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	again, err := d.Recover(t.Context(), spec("gate-1"))
	if err != nil || again != b {
		t.Errorf("recovered %v (%v)", again, err)
	}
	if _, err := d.Start(t.Context(), spec("gate-1")); err == nil || !strings.Contains(err.Error(), "exists") {
		t.Errorf("started twice: %v", err)
	}
	if err := b.Stop(t.Context(), time.Minute); err != nil || b.Exit() != (driver.Exit{}) {
		t.Errorf("ended with %v (%v)", b.Exit(), err)
	}
	if _, err := d.Recover(t.Context(), spec("gate-1")); !errors.Is(err, driver.ErrGone) {
		t.Errorf("recovered: %v", err)
	}
}

func TestRunsThatAreStuckAreCountedAndTheirNumberIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		block := make(chan struct{})
		d := driverOf(func(context.Context, <-chan struct{}) error { <-block; return nil })
		for i, id := range []string{"gate-1", "gate-2", "gate-3"} {
			b, err := d.Start(t.Context(), spec(id))
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			if err := b.Stop(t.Context(), 10*time.Second); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took != 10*time.Second+stuck || d.Stuck("gate") != i+1 {
				t.Errorf("took %v, %d are stuck", took, d.Stuck("gate"))
			}
		}
		if _, err := d.Start(t.Context(), spec("gate-4")); err == nil || !strings.Contains(err.Error(), "stuck") {
			t.Errorf("started: %v", err)
		}
		close(block)
		synctest.Wait()
		b, err := d.Start(t.Context(), spec("gate-5"))
		if err != nil || d.Stuck("gate") != 0 {
			t.Fatalf("%d are stuck (%v)", d.Stuck("gate"), err)
		}
		<-b.Done()
	})
}

func TestWhatABoxInPlaceCantDoIsRefused(t *testing.T) {
	d := driverOf(func(context.Context, <-chan struct{}) error { return nil })
	for _, s := range []driver.Spec{{ID: "a", Stage: "gate", Limits: driver.Limits{Memory: 1}}, {ID: "a", Stage: "door"}} {
		var refused *driver.RefusedError
		if _, err := d.Start(t.Context(), s); !errors.As(err, &refused) {
			t.Errorf("%+v: %v", s, err)
		}
	}
	if p := d.Probe(t.Context()); p.Err != nil || len(p.Lacks) == 0 {
		t.Errorf("%+v", p)
	}
}
