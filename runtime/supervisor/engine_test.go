package supervisor

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sightline/runtime/driver"
	"sightline/runtime/inline"
)

// engine is a driver whose boxes outlive their supervisor, as it stands outside; and it may be gone.
type engine struct {
	boxes *inline.Driver

	mu     sync.Mutex
	gone   error // what every call says
	leaves error // what a start says that leaves a box behind
	starts int
}

func newEngine() *engine {
	return &engine{boxes: &inline.Driver{Run: func(string) inline.Function {
		return func(ctx context.Context, stop <-chan struct{}) error {
			select {
			case <-stop:
			case <-ctx.Done():
			}
			return nil
		}
	}}}
}

func (e *engine) set(change func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	change()
}

func (e *engine) Name() string { return "engine" }

func (e *engine) Probe(context.Context) driver.Probe { return driver.Probe{} }

func (e *engine) Start(ctx context.Context, spec driver.Spec) (driver.Box, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.gone != nil {
		return nil, e.gone
	}
	e.starts++
	box, err := e.boxes.Start(ctx, spec)
	if e.leaves != nil {
		return nil, e.leaves
	}
	return box, err
}

func (e *engine) Recover(ctx context.Context, spec driver.Spec) (driver.Box, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.gone != nil {
		return nil, e.gone
	}
	return e.boxes.Recover(ctx, spec)
}

var _ driver.Driver = (*engine)(nil)

func guest(name string, e *engine, settings string) Stage {
	return Stage{Name: name, Driver: e, Settings: settings, Grace: time.Second}
}

func TestWhileItsEngineIsGoneNoSecondBoxIsStartedAndOthersAreNotHeldUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, e, other := newPlace(t), newEngine(), newEngine()
		s := p.open(Options{})
		apply(t, s, plan(guest("old", e, ""), guest("new", other, "")), ApplyOptions{})
		box := state(t, s, "old").Box
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		e.set(func() { e.gone = errors.New("the engine doesn't answer") })
		s = p.open(Options{})
		report, err := s.Apply(t.Context(), plan(guest("old", e, ""), guest("new", other, "")), ApplyOptions{})
		if err != nil || report.Stages[0].Action != Started || !strings.Contains(report.Stages[0].Why, "doesn't answer") || report.Stages[1].Action != Adopted {
			t.Errorf("%+v (%v)", report, err)
		}
		sleep(time.Hour)
		if st := state(t, s, "old"); st.Phase != Adopting || e.starts != 1 {
			t.Errorf("%+v after %d starts", st, e.starts)
		}
		e.set(func() { e.gone = nil })
		sleep(time.Minute)
		if st := state(t, s, "old"); st.Phase != Running || st.Box != box || !st.Adopted || st.Restarts != 0 || e.starts != 1 {
			t.Errorf("%+v after %d starts", st, e.starts)
		}
		if err := s.Down(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestABoxThatAFailedStartLeftIsEndedBeforeTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, e := newPlace(t), newEngine()
		s := p.open(Options{})
		e.leaves = errors.New("the engine went away in the middle")
		report, err := s.Apply(t.Context(), plan(guest("gate", e, "")), ApplyOptions{})
		if err != nil || report.Stages[0].Box != "" || !strings.Contains(report.Stages[0].Why, "in the middle") {
			t.Errorf("%+v (%v)", report, err)
		}
		e.set(func() { e.leaves = nil })
		sleep(time.Minute)
		st := state(t, s, "gate")
		for _, r := range mustAll(t, s) {
			if r.ID != st.Box {
				t.Errorf("an intent for %s, beside %s", r.ID, st.Box)
			}
		}
		if st.Phase != Running || e.starts != 2 {
			t.Errorf("%+v after %d starts", st, e.starts)
		}
		if err := s.Down(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func mustAll(t *testing.T, s *Supervisor) []record {
	t.Helper()
	all, bad, err := s.boxes.all()
	if err != nil || len(bad) > 0 {
		t.Fatalf("%v (%v)", bad, err)
	}
	return all
}

func TestABoxOfAnEarlierPlanIsEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, e := newPlace(t), newEngine()
		s := p.open(Options{})
		apply(t, s, plan(guest("gate", e, "one"), guest("old", e, "")), ApplyOptions{})
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = p.open(Options{})
		if got := apply(t, s, plan(guest("gate", e, "two")), ApplyOptions{}); got != "gate started, old removed" {
			t.Error(got)
		}
		if all := mustAll(t, s); len(all) != 1 || all[0].Stage != "gate" || all[0].ID != state(t, s, "gate").Box {
			t.Errorf("%+v", all)
		}
		if err := s.Down(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestAStageThatCannotBeRemovedYetHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, e := newPlace(t), newEngine()
		s := p.open(Options{})
		apply(t, s, plan(guest("old", e, "")), ApplyOptions{})
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		e.set(func() { e.gone = errors.New("the engine doesn't answer") })
		s = p.open(Options{Drivers: map[string]driver.Driver{"engine": e}})
		fresh := p.stage("gate", "", nil)
		if got := apply(t, s, plan(fresh), ApplyOptions{}); got != "gate started, old removed" {
			t.Error(got)
		}
		if len(mustAll(t, s)) != 2 {
			t.Error("what can't be seen was forgotten")
		}
		e.set(func() { e.gone = nil })
		sleep(time.Minute)
		if all := s.List(t.Context()); len(all) != 1 || len(mustAll(t, s)) != 1 {
			t.Errorf("%+v", all)
		}
	})
}

func TestABoxWhoseDriverIsNotThereIsNotForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, e := newPlace(t), newEngine()
		s := p.open(Options{})
		apply(t, s, plan(guest("gate", e, "")), ApplyOptions{})
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = p.open(Options{})
		report, err := s.Apply(t.Context(), plan(p.stage("gate", "", nil)), ApplyOptions{})
		if err != nil || !strings.Contains(report.Stages[0].Why, `no driver "engine"`) {
			t.Errorf("%+v (%v)", report, err)
		}
		if all := mustAll(t, s); len(all) != 1 || p.events() != "" {
			t.Errorf("%+v %s", all, p.events())
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		box, err := e.Recover(t.Context(), driver.Spec{ID: mustID(p), Log: io.Discard})
		if err != nil {
			t.Fatal(err)
		}
		if err := box.Stop(t.Context(), time.Second); err != nil {
			t.Error(err)
		}
	})
}

func mustID(p *place) string {
	all, _, _ := (boxes{p.dir + "/" + boxesDir}).all() // an empty ID is not found
	for _, r := range all {
		return r.ID
	}
	return ""
}

func TestABadNewVersionAtBootIsPutBackToWhatRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, e := newPlace(t), newEngine()
		s := p.open(Options{})
		apply(t, s, plan(guest("gate", e, "one")), ApplyOptions{})
		sleep(time.Minute) // it holds
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = p.open(Options{})
		limited := guest("gate", e, "two")
		limited.Limits.Memory = 1 // refused
		if got := apply(t, s, plan(limited), ApplyOptions{}); got != "gate put back" {
			t.Error(got)
		}
		if st := state(t, s, "gate"); st.Phase != Running || !strings.Contains(st.Problem, "inline box refuses limits") {
			t.Errorf("%+v", st)
		}
		if err := s.Down(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// packer is an engine that is asked to prepare what it starts.
type packer struct {
	*engine
	prepare func(driver.Spec) error
}

func (p packer) Prepare(_ context.Context, spec driver.Spec) error { return p.prepare(spec) }

var _ driver.Preparer = packer{}

func TestWhatTakesTheirPlaceIsPreparedWhileBoxesRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, e := newPlace(t), newEngine()
		s := p.open(Options{})
		var broken error
		prepared := 0
		d := packer{e, func(driver.Spec) error {
			if st := state(t, s, "gate"); st.Phase != Running {
				t.Errorf("meanwhile the stage is %+v", st)
			}
			prepared++
			return broken
		}}
		before := Stage{Name: "gate", Driver: d, Grace: time.Second}
		after := Stage{Name: "gate", Driver: d, Grace: time.Second, Settings: "other"}
		apply(t, s, plan(before), ApplyOptions{})
		box := state(t, s, "gate").Box
		broken = errors.New("the disk is full")
		if _, err := s.Apply(t.Context(), plan(after), ApplyOptions{}); err == nil || !strings.Contains(err.Error(), "the disk is full") {
			t.Errorf("what can't be prepared is answered with %v", err)
		}
		if st := state(t, s, "gate"); st.Box != box || st.Phase != Running {
			t.Errorf("what can't be prepared leaves %+v", st)
		}
		broken = nil
		if did := apply(t, s, plan(after), ApplyOptions{}); did != "gate replaced" || e.starts != 2 || prepared != 2 {
			t.Errorf("%s, %d starts, prepared %d times", did, e.starts, prepared)
		}
		if err := s.Down(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
