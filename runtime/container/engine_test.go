package container

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sightline/runtime/container/enginetest"
	"sightline/runtime/driver"
)

func TestABoxOutlivesItsEngine(t *testing.T) {
	e := enginetest.Docker(t, "--live-restore")
	p := newPlace(t, e)
	r := p.start("outlives")
	r.ask("print before")
	r.log.await(t, "before")
	e.Kill()
	if answer, ok := r.ask("ping"); !ok {
		t.Errorf("without an engine the box answers %s", answer)
	}
	testWithoutEngine(t, p, r)
	e.Start()
	r.ask("print afterwards")
	r.log.await(t, "afterwards")
	for _, line := range []string{"before\n", "to standard error: before\n", "afterwards\n"} {
		if n := strings.Count("\n"+r.log.String(), "\n"+line); n != 1 {
			t.Errorf("%q is in the log %d times:\n%s", line, n, r.log)
		}
	}
	if err := r.Stop(t.Context(), patience); err != nil {
		t.Fatal(err)
	}
	if exit := r.ended(); exit != (driver.Exit{Code: 7}) {
		t.Errorf("exit is %q", exit)
	}
}

// testWithoutEngine checks that what takes an engine says so, and that nothing is given up.
func testWithoutEngine(t *testing.T, p *place, r *running) {
	t.Helper()
	var away *UnreachableError
	if _, err := r.Box.(driver.Sampler).Sample(t.Context()); !errors.As(err, &away) {
		t.Errorf("measured: %v", err)
	}
	late := &Driver{Host: p.engine.Host} // of a supervisor that comes anew
	if _, err := late.Recover(t.Context(), r.spec); !errors.As(err, &away) || errors.Is(err, driver.ErrGone) {
		t.Errorf("recovered: %v", err)
	}
	spec, _ := p.spec("another")
	if _, err := p.driver.Start(t.Context(), spec); !errors.As(err, &away) || !strings.Contains(err.Error(), "start the engine") && !strings.Contains(err.Error(), "is it running") {
		t.Errorf("started: %v", err)
	}
	if names, err := os.ReadDir(spec.Dir); err != nil || len(names) > 0 {
		t.Errorf("left: %v (%v)", names, err)
	}
	if probe := late.Probe(t.Context()); probe.Err == nil {
		t.Error("boxes run without an engine")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := r.Stop(ctx, time.Hour); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("stopped: %v", err)
	}
	select {
	case <-r.Done():
		t.Fatalf("the box is given up: %s", r.Exit())
	default:
	}
}

func TestABoxThatItsEngineHasEndedSaysSo(t *testing.T) {
	for name, end := range map[string]func(*enginetest.Engine){"stopped": (*enginetest.Engine).Stop, "killed": (*enginetest.Engine).Kill} {
		t.Run(name, func(t *testing.T) {
			e := enginetest.Docker(t)
			r := newPlace(t, e).start("ended")
			r.ask("print before")
			end(e)
			e.Start()
			exit := r.ended()
			if !strings.Contains(exit.Reason, "engine was") && exit != (driver.Exit{Code: 7}) { // it may end in good order first
				t.Errorf("exit is %q", exit)
			}
			if !strings.Contains(r.log.String(), "before\n") {
				t.Errorf("the log is\n%s", r.log)
			}
			if left := e.Containers(); len(left) > 0 {
				t.Errorf("left: %q", left)
			}
		})
	}
}

func TestWhatASupervisorLeftIsFound(t *testing.T) {
	for name, engine := range engines() {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t, engine(t))
			t.Run("the log goes on where it was left", func(t *testing.T) { testLogGoesOn(t, p) })
			t.Run("how it ended, and what it printed last", func(t *testing.T) { testEndedAway(t, p) })
			t.Run("a container that was made and not started", func(t *testing.T) { testMadeOnly(t, p) })
			t.Run("a container that is not ours stays", func(t *testing.T) { testNotOurs(t, p) })
			t.Run("a note without a container", func(t *testing.T) { testNoteOnly(t, p) })
		})
	}
}

// unattended starts a box that nobody looks after, as if its supervisor had been killed then.
func (p *place) unattended(t *testing.T, spec driver.Spec) (*running, log) {
	t.Helper()
	r := &running{t: t, spec: spec}
	wire := r.listen()
	e, err := p.driver.engine(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, l, err := e.begin(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	r.accept(wire)
	return r, l
}

func testLogGoesOn(t *testing.T, p *place) {
	spec, first := p.spec("goes-on")
	r, l := p.unattended(t, spec)
	ctx, kill := context.WithCancel(t.Context())
	killed := make(chan struct{})
	go func() {
		defer close(killed)
		l.follow(ctx)
	}()
	for i := range 50 {
		r.ask("print early-%d", i)
	}
	first.await(t, "to standard error: early-49\n")
	kill()
	<-killed
	for i := range 50 {
		r.ask("print late-%d", i)
	}
	second := &output{}
	spec.Log = second
	adopted, err := (&Driver{Host: p.engine.Host}).Recover(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	second.await(t, "to standard error: late-49\n")
	if err := adopted.Stop(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	all := "\n" + first.String() + second.String()
	for i := range 50 {
		for _, line := range []string{fmt.Sprintf("early-%d", i), fmt.Sprintf("late-%d", i), fmt.Sprintf("to standard error: late-%d", i)} {
			if n := strings.Count(all, "\n"+line+"\n"); n != 1 {
				t.Errorf("%q is there %d times", line, n)
			}
		}
	}
}

func testEndedAway(t *testing.T, p *place) {
	spec, out := p.spec("ended-away")
	r, _ := p.unattended(t, spec)
	r.ask("print last-words")
	fmt.Fprintln(r.wire, "exit 3")
	if _, err := p.engine.Do("wait", nameOf(spec.ID)); err != nil {
		t.Fatal(err)
	}
	_, err := (&Driver{Host: p.engine.Host}).Recover(t.Context(), spec)
	if !errors.Is(err, driver.ErrGone) || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("recovered: %v", err)
	}
	if !strings.Contains(out.String(), "last-words\n") {
		t.Errorf("the log is %q", out)
	}
	p.checkGone(t, spec)
}

// checkGone checks that nothing is left of a box.
func (p *place) checkGone(t *testing.T, spec driver.Spec) {
	t.Helper()
	for _, name := range p.engine.Containers() {
		if name == nameOf(spec.ID) {
			t.Errorf("left: %s", name)
		}
	}
	if _, err := os.Lstat(filepath.Join(spec.Dir, logFile)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the note is left: %v", err)
	}
}

func testMadeOnly(t *testing.T, p *place) {
	spec, _ := p.spec("made-only")
	e, err := p.driver.engine(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, image, err := e.image(t.Context(), spec.Files)
	if err != nil {
		t.Fatal(err)
	}
	note, err := makeNote(spec.Dir)
	if err != nil {
		t.Fatal(err)
	}
	note.Close()
	if _, err := e.create(e.settings(spec, image, user{uid: nobody, gid: nobody})); err != nil {
		t.Fatal(err)
	}
	if _, err := p.driver.Recover(t.Context(), spec); !errors.Is(err, driver.ErrGone) {
		t.Errorf("recovered: %v", err)
	}
	p.checkGone(t, spec)
}

func testNotOurs(t *testing.T, p *place) {
	spec, _ := p.spec("not-ours")
	e, err := p.driver.engine(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	image, _, err := e.image(t.Context(), spec.Files)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.engine.Do("create", "--name", nameOf(spec.ID), image); err != nil {
		t.Fatal(err)
	}
	if _, err := p.driver.Recover(t.Context(), spec); err == nil || errors.Is(err, driver.ErrGone) || !strings.Contains(err.Error(), nameOf(spec.ID)) {
		t.Errorf("recovered: %v", err)
	}
	wire, err := net.Listen("unix", spec.Socket)
	if err != nil {
		t.Fatal(err)
	}
	defer wire.Close()
	if _, err := p.driver.Start(t.Context(), spec); err == nil || !strings.Contains(err.Error(), "exists") {
		t.Errorf("started: %v", err)
	}
	if out, err := p.engine.Do("rm", nameOf(spec.ID)); err != nil {
		t.Errorf("it is gone: %v %s", err, out)
	}
}

func testNoteOnly(t *testing.T, p *place) {
	spec, _ := p.spec("note-only")
	note, err := makeNote(spec.Dir)
	if err != nil {
		t.Fatal(err)
	}
	note.Close()
	if _, err := p.driver.Recover(t.Context(), spec); !errors.Is(err, driver.ErrGone) {
		t.Errorf("recovered: %v", err)
	}
	p.checkGone(t, spec)
}
