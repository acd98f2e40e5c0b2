package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sightline/runtime/driver"
	"sightline/runtime/inline"
	"sightline/runtime/supervisor/audit"
)

// place has stages in place, whose life a test plays.
type place struct {
	t      *testing.T
	dir    string
	driver *inline.Driver

	mu     sync.Mutex
	stages map[string]*actor
	order  []string // what began and ended
}

// actor is a stage that does what it is told.
type actor struct {
	place *place
	name  string

	mu     sync.Mutex
	health Health
	runs   int
	fails  chan error // ends the run with it
	deaf   bool       // does not stop when it is asked
	mute   bool       // no heartbeats
	ill    bool       // what it does is not sane
	unfit  bool       // fails at once
	slow   time.Duration
	in     uint64 // per second
	out    uint64
}

func (a *actor) Serve(context.Context, net.Conn, BoxInfo) error { return errors.New("is in place") }

func (a *actor) Stop(context.Context, time.Duration) error { return errors.New("is in place") }

func (a *actor) Health() Health {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.health
}

func (a *actor) set(change func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change()
}

func (a *actor) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.runs
}

func (a *actor) isIll() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.ill
}

func (p *place) actor(name string) *actor {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stages[name]
}

// run is the stage.
func (a *actor) run(ctx context.Context, stop <-chan struct{}) error {
	a.place.note("+" + a.name)
	defer a.place.note("-" + a.name)
	a.set(func() { a.runs++; a.health = Health{} })
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	began := time.Now()
	for {
		a.mu.Lock()
		if !a.mute {
			a.health.Beat = time.Now()
		}
		a.health.Ready = time.Since(began) >= a.slow
		a.health.In, a.health.Out = a.health.In+a.in, a.health.Out+a.out
		deaf, unfit := a.deaf, a.unfit
		a.mu.Unlock()
		if unfit {
			return errors.New("unfit")
		}
		asked := stop
		if deaf {
			asked = nil
		}
		select {
		case <-asked:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case err := <-a.fails:
			return err
		case <-ticker.C:
		}
	}
}

func newPlace(t *testing.T) *place {
	dir, err := os.MkdirTemp("", "sv")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	p := &place{t: t, dir: dir, stages: map[string]*actor{}}
	p.driver = &inline.Driver{Run: func(stage string) inline.Function {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, a := range p.stages {
			if a.name == stage {
				return p.stages[stage].run
			}
		}
		return nil
	}}
	return p
}

func (p *place) note(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.order = append(p.order, what)
}

func (p *place) events() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.order, " ")
}

// stage makes a stage, or another version of it: what runs then is what was made last.
func (p *place) stage(name, settings string, change func(*actor)) Stage {
	a := &actor{place: p, name: name, in: 5, out: 5, fails: make(chan error)}
	if change != nil {
		change(a)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stages[name+settings] = a
	d := &inline.Driver{Run: func(string) inline.Function { return a.run }}
	return Stage{Name: name, Driver: d, Settings: settings, Wire: a, Grace: 5 * time.Second, Patience: time.Minute}
}

func (p *place) open(o Options) *Supervisor {
	p.t.Helper()
	s, err := Open(p.dir, o)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		if err := s.Close(); err != nil {
			p.t.Error(err)
		}
	})
	return s
}

func plan(stages ...Stage) Plan {
	return Plan{Name: "gate", Document: json.RawMessage(`{"text": "version: 1"}`), Stages: stages}
}

func apply(t *testing.T, s *Supervisor, p Plan, o ApplyOptions) string {
	t.Helper()
	report, err := s.Apply(t.Context(), p, o)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, o := range report.Stages {
		all = append(all, o.Stage+" "+string(o.Action))
	}
	return strings.Join(all, ", ")
}

func state(t *testing.T, s *Supervisor, stage string) State {
	t.Helper()
	for _, st := range s.List(t.Context()) {
		if st.Stage == stage {
			return st
		}
	}
	t.Fatalf("no stage %q", stage)
	return State{}
}

// sleep lets time go by, and what comes of it happen.
func sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestStagesStartFromPublishToCaptureAndStopInReverse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlace(t)
		s := p.open(Options{})
		got := apply(t, s, plan(p.stage("publish", "", nil), p.stage("classify", "", nil), p.stage("capture", "", nil)), ApplyOptions{})
		if got != "publish started, classify started, capture started" {
			t.Error(got)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- s.Run(ctx) }()
		sleep(20 * time.Second)
		if st := state(t, s, "capture"); st.Phase != Running || !st.Ready || st.Restarts != 0 {
			t.Errorf("%+v", st)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if got := p.events(); got != "+publish +classify +capture -capture -classify -publish" {
			t.Error(got)
		}
	})
}

func TestWhatEndsIsStartedAgainEachTimeLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlace(t)
		s := p.open(Options{})
		a := p.stage("gate", "", nil)
		apply(t, s, plan(a, p.stage("other", "", nil)), ApplyOptions{})
		gate := p.stages["gate"]
		var waits []time.Duration
		for i := range 12 {
			gate.fails <- errors.New("no camera")
			began := time.Now()
			for gate.count() < i+2 {
				sleep(100 * time.Millisecond)
			}
			waits = append(waits, time.Since(began))
		}
		if waits[0] > 700*time.Millisecond || waits[11] < 4*time.Minute || waits[11] > 5*time.Minute+time.Second {
			t.Errorf("%v", waits)
		}
		st := state(t, s, "gate")
		if st.Restarts != 12 || st.Last.Reason != "exited" || !strings.Contains(st.Last.Text, "no camera") {
			t.Errorf("%+v %+v", st, st.Last)
		}
		if st := state(t, s, "other"); st.Restarts != 0 || p.stages["other"].count() != 1 {
			t.Errorf("%+v", st)
		}
	})
}

func TestWhoBringsAPlanDoesNotWaitForABackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlace(t)
		s := p.open(Options{})
		all := plan(p.stage("gate", "", nil), p.stage("other", "", nil))
		apply(t, s, all, ApplyOptions{})
		gate := p.stages["gate"]
		for i := range 10 {
			gate.fails <- errors.New("no camera")
			for gate.count() < i+2 {
				sleep(100 * time.Millisecond)
			}
		}
		gate.fails <- errors.New("no camera")
		sleep(time.Second)
		if st := state(t, s, "gate"); st.Phase != Waiting || time.Until(st.Next) < time.Minute {
			t.Fatalf("%+v", st)
		}
		began := time.Now()
		if did := apply(t, s, all, ApplyOptions{}); did != "gate started, other kept" || time.Since(began) > 2*time.Second {
			t.Errorf("%s after %s", did, time.Since(began))
		}
		if st := state(t, s, "gate"); st.Phase != Running || st.Restarts != 10 || gate.count() != 12 || p.stages["other"].count() != 1 {
			t.Errorf("%+v after %d runs", st, gate.count())
		}
	})
}

func TestAStageThatHangsIsStartedAgainAndOneThatStarvesIsNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlace(t)
		s := p.open(Options{})
		apply(t, s, plan(
			p.stage("hangs", "", func(a *actor) { a.out = 0; a.deaf = true }),
			p.stage("starves", "", func(a *actor) { a.in, a.out = 0, 0 }),
			p.stage("mute", "", func(a *actor) { a.mute = true }),
			p.stage("works", "", nil)), ApplyOptions{})
		sleep(70 * time.Second)
		for stage, want := range map[string]string{"hangs": "hung", "mute": "silent", "starves": "", "works": ""} {
			got := ""
			if last := state(t, s, stage).Last; last != nil {
				got = last.Reason
			}
			if got != want || (p.stages[stage].count() > 1) != (want != "") {
				t.Errorf("%s: %q after %d runs", stage, got, p.stages[stage].count())
			}
		}
	})
}

func TestANewVersionThatHoldsStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlace(t)
		s := p.open(Options{})
		other := p.stage("other", "", nil)
		apply(t, s, plan(other, p.stage("gate", "one", nil)), ApplyOptions{})
		sleep(time.Minute)
		box := state(t, s, "other").Box
		got := apply(t, s, plan(p.stage("other", "", nil), p.stage("gate", "two", nil)), ApplyOptions{})
		if got != "other kept, gate replaced" || state(t, s, "other").Box != box {
			t.Error(got)
		}
		if p.stages["gateone"].count() != 1 || p.stages["gatetwo"].count() != 1 {
			t.Error(p.events())
		}
		if got := p.events(); got != "+other +gate -gate +gate" {
			t.Error(got)
		}
		if got := apply(t, s, plan(p.stage("gate", "two", nil), p.stage("more", "", nil)), ApplyOptions{}); got != "gate kept, more started, other removed" {
			t.Error(got)
		}
	})
}

func TestANewVersionThatDoesNotHoldIsPutBackAndRefused(t *testing.T) {
	for name, bad := range map[string]func(*actor){
		"it ends":            func(a *actor) { a.unfit = true },
		"it hangs":           func(a *actor) { a.out = 0; a.slow = 20 * time.Second; a.ill = true },
		"it is never ready":  func(a *actor) { a.slow = time.Hour },
		"it is mute":         func(a *actor) { a.mute = true },
		"what it does isn't": func(a *actor) { a.ill = true },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPlace(t)
				sane := func(string) error {
					if a := p.actor("gatetwo"); a != nil && a.Health().Ready && a.isIll() {
						return errors.New("all results are the same")
					}
					return nil
				}
				s := p.open(Options{Sane: sane})
				apply(t, s, plan(p.stage("other", "", nil), p.stage("gate", "one", nil)), ApplyOptions{})
				sleep(time.Minute)
				box := state(t, s, "other").Box
				two := func() Plan { return plan(p.stage("other", "", nil), p.stage("gate", "two", bad)) }
				if got := apply(t, s, two(), ApplyOptions{}); got != "other kept, gate put back" {
					t.Fatal(got)
				}
				st := state(t, s, "gate")
				if st.Phase != Running || p.stages["gateone"].count() != 2 || !strings.Contains(st.Problem, "did not hold") {
					t.Errorf("%+v", st)
				}
				runs := p.events()
				if got := apply(t, s, two(), ApplyOptions{}); got != "other kept, gate refused" || p.events() != runs {
					t.Errorf("%s %s", got, p.events())
				}
				if got := apply(t, s, plan(p.stage("other", "", nil), p.stage("gate", "two", nil)), ApplyOptions{Force: true}); got != "other kept, gate replaced" {
					t.Error(got)
				}
				if state(t, s, "other").Box != box {
					t.Error("another stage was touched")
				}
			})
		})
	}
}

func TestWhatDidNotHoldIsRememberedByTheNextSupervisor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlace(t)
		made := 0
		o := Options{Wire: func(document json.RawMessage, stage string) (Wire, error) {
			if string(document) != `{"text":"version: 1"}` {
				t.Errorf("made from %s", document)
			}
			made++
			return p.stages[stage+"one"], nil
		}}
		s := p.open(o)
		one := p.stage("gate", "one", nil)
		apply(t, s, plan(one), ApplyOptions{})
		sleep(time.Minute)
		two := func(unfit bool) Plan {
			n := plan(p.stage("gate", "two", func(a *actor) { a.unfit = unfit }))
			n.Document = json.RawMessage(`{"text": "version: 2"}`)
			return n
		}
		if got := apply(t, s, two(true), ApplyOptions{}); got != "gate put back" {
			t.Fatal(got)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		o.Drivers = map[string]driver.Driver{"inline": one.Driver}
		s = p.open(o)
		accepted, err := s.Accepted()
		if err != nil || string(accepted.Document) != `{"text":"version: 2"}` {
			t.Errorf("%+v (%v)", accepted, err)
		}
		next := two(false)
		next.Stages[0].Driver = one.Driver // in place, the driver has the stage
		if got := apply(t, s, next, ApplyOptions{}); got != "gate refused" || made != 1 {
			t.Errorf("%s, %d wires made", got, made)
		}
		if st := state(t, s, "gate"); st.Phase != Running || p.stages["gatetwo"].count() != 0 {
			t.Errorf("%+v", st)
		}
	})
}

func TestAReplacementDoesNotWaitForABackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlace(t)
		s := p.open(Options{})
		apply(t, s, plan(p.stage("gate", "one", func(a *actor) { a.unfit = true })), ApplyOptions{})
		sleep(time.Hour)
		if st := state(t, s, "gate"); st.Phase != Waiting || time.Until(st.Next) < time.Second && st.Restarts < 12 {
			t.Errorf("%+v", st)
		}
		began := time.Now()
		if got := apply(t, s, plan(p.stage("gate", "two", nil)), ApplyOptions{}); got != "gate started" || time.Since(began) > 0 {
			t.Errorf("%s after %v", got, time.Since(began))
		}
	})
}

func TestOperatorsStopStartAndRestartStages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlace(t)
		s := p.open(Options{})
		apply(t, s, plan(p.stage("gate", "", nil), p.stage("other", "", nil)), ApplyOptions{})
		gate := p.stages["gate"]
		sleep(time.Second)
		box := state(t, s, "gate").Box
		if err := s.Restart(t.Context(), "gate"); err != nil || gate.count() != 2 || state(t, s, "gate").Box == box {
			t.Errorf("%d runs (%v)", gate.count(), err)
		}
		if err := s.StopStage(t.Context(), "gate"); err != nil || state(t, s, "gate").Phase != Idle {
			t.Errorf("%+v (%v)", state(t, s, "gate"), err)
		}
		sleep(time.Hour)
		if got := apply(t, s, plan(p.stage("gate", "", nil), p.stage("other", "", nil)), ApplyOptions{}); got != "gate stopped, other kept" {
			t.Error(got)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = p.open(Options{})
		if got := apply(t, s, plan(p.stage("gate", "", nil), p.stage("other", "", nil)), ApplyOptions{}); got != "gate stopped, other started" {
			t.Error(got)
		}
		gate = p.stages["gate"]
		if err := s.StartStage(t.Context(), "gate"); err != nil || gate.count() != 1 {
			t.Errorf("%d runs (%v)", gate.count(), err)
		}
		if st := state(t, s, "gate"); st.Restarts != 0 {
			t.Errorf("%+v", st)
		}
		for _, call := range []func(context.Context, string) error{s.Restart, s.StopStage, s.StartStage} {
			if err := call(t.Context(), "garage"); err == nil || !strings.Contains(err.Error(), `no stage "garage"`) {
				t.Error(err)
			}
		}
	})
}

func TestDownByForceLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlace(t)
		s := p.open(Options{})
		slow := p.stage("slow", "", func(a *actor) { a.deaf = true })
		slow.Grace = time.Hour
		apply(t, s, plan(slow, p.stage("gate", "", nil)), ApplyOptions{})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		began := time.Now()
		if err := s.Down(ctx); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 6*time.Second {
			t.Errorf("took %v", took)
		}
		if got := p.events(); !strings.HasSuffix(got, "-gate -slow") {
			t.Error(got)
		}
		if _, err := s.Apply(t.Context(), plan(), ApplyOptions{}); !errors.Is(err, ErrDown) {
			t.Error(err)
		}
	})
}

func TestAPlanThatCannotBeRunIsRefused(t *testing.T) {
	p := newPlace(t)
	s := p.open(Options{})
	good := p.stage("gate", "", nil)
	for want, bad := range map[string]Plan{
		"no name":     plan(Stage{Name: "../gate", Driver: p.driver}),
		"two stages":  plan(good, good),
		"no driver":   plan(Stage{Name: "gate"}),
		"is not JSON": {Name: "gate", Document: json.RawMessage("{"), Stages: []Stage{good}},
	} {
		if _, err := s.Apply(t.Context(), bad, ApplyOptions{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	apply(t, s, plan(good), ApplyOptions{})
	limited := p.stage("gate", "", nil)
	limited.Limits.Memory = 1
	var refused *driver.RefusedError
	if _, err := s.Apply(t.Context(), plan(limited), ApplyOptions{}); !errors.As(err, &refused) {
		t.Error(err)
	}
	if st := state(t, s, "gate"); st.Phase != Running || p.events() != "+gate" {
		t.Errorf("%+v", st)
	}
}

func TestAStateFolderHasOneSupervisor(t *testing.T) {
	p := newPlace(t)
	p.open(Options{})
	if _, err := Open(p.dir, Options{}); err == nil || !strings.Contains(err.Error(), "another supervisor has it") || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Error(err)
	}
	if _, err := Open(p.dir+strings.Repeat("/long", 20), Options{}); err == nil || !strings.Contains(err.Error(), "shorter") {
		t.Error(err)
	}
}

func TestWhatHappensIsAudited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlace(t)
		var told []string
		var mu sync.Mutex
		s := p.open(Options{OnEvent: func(e Event) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, e.Name)
		}})
		apply(t, s, plan(p.stage("gate", "", nil)), ApplyOptions{})
		if err := s.Audit("grant.refused", map[string]string{"stage": "gate", "address": "198.51.100.1:80"}); err != nil {
			t.Error(err)
		}
		if err := s.Down(t.Context()); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		var seen []string
		if _, err := audit.Verify(p.dir+"/audit", func(r audit.Record) { seen = append(seen, r.Event) }); err != nil {
			t.Error(err)
		}
		want := []string{Opened, AcceptedPlan, StartedBox, "grant.refused", EndedBox, Closed}
		if !slices.Equal(seen, want) || !slices.Equal(told, slices.DeleteFunc(want, func(e string) bool { return e == "grant.refused" })) {
			t.Errorf("%q, told %q", seen, told)
		}
	})
}
