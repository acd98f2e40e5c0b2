package supervisor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sightline/runtime/driver"
	"sightline/runtime/durable"
)

// Apply has a plan run. The first call adopts what runs of it, starts what does not, and ends what is
// not in it. Later calls replace what changed, one stage after the other, and leave the others alone,
// with the wires they have; they change nothing when the files of any stage cannot be verified or its
// driver refuses it. Apply returns when new versions have held or were put back. When ctx ends it
// returns at once, and what it began goes on.
func (s *Supervisor) Apply(ctx context.Context, p Plan, o ApplyOptions) (Report, error) {
	if err := p.check(); err != nil {
		return Report{}, err
	}
	select {
	case s.applying <- struct{}{}:
	case <-ctx.Done():
		return Report{}, fmt.Errorf("apply plan %q: another one is being applied: %w", p.Name, ctx.Err())
	}
	a := &application{s: s, plan: p, options: o, done: make(chan struct{})}
	if err := a.begin(); err != nil {
		<-s.applying
		return Report{}, fmt.Errorf("apply plan %q: %w", p.Name, err)
	}
	go func() {
		defer s.work.Done()
		defer func() { <-s.applying }()
		defer close(a.done)
		a.err = a.run(s.ctx)
	}()
	select {
	case <-a.done:
	case <-ctx.Done():
		return Report{}, fmt.Errorf("apply plan %q: it goes on, but nobody waits for it: %w", p.Name, ctx.Err())
	}
	if a.err != nil {
		return a.report, fmt.Errorf("apply plan %q: %w", p.Name, a.err)
	}
	return a.report, nil
}

// application is one call of Apply.
type application struct {
	s        *Supervisor
	plan     Plan
	options  ApplyOptions
	first    bool
	editions map[string]*edition

	done   chan struct{} // closed when the rest is set
	report Report
	err    error
}

func (a *application) run(ctx context.Context) error {
	if !a.first {
		if err := a.prepare(ctx); err != nil {
			return err
		}
	}
	if err := a.accept(); err != nil {
		return err
	}
	if a.first {
		if err := a.s.takeStock(ctx, a.editions); err != nil {
			return err
		}
	}
	removed, err := a.offer()
	if err != nil {
		return err
	}
	a.adoptAll(ctx)
	for i := len(removed) - 1; i >= 0; i-- {
		if err := a.s.remove(ctx, removed[i]); err != nil {
			return err
		}
	}
	for _, st := range a.plan.Stages {
		outcome, err := a.turn(ctx, a.s.keepers[st.Name], a.editions[st.Name])
		if err != nil {
			return err
		}
		a.report.Stages = append(a.report.Stages, outcome)
	}
	for _, k := range removed {
		a.report.Stages = append(a.report.Stages, Outcome{Stage: k.name, Action: Removed})
	}
	return nil
}

// begin makes editions of the plan's stages.
func (a *application) begin() error {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	switch {
	case a.s.closed:
		return errClosed
	case a.s.down:
		return ErrDown
	}
	a.s.work.Add(1)
	a.first = !a.s.applied
	a.editions = map[string]*edition{}
	for _, st := range a.plan.Stages {
		a.editions[st.Name] = editionOf(st, compact(a.plan.Document))
		a.s.drivers[st.Driver.Name()] = st.Driver
	}
	return nil
}

// compact is a document as it is kept.
func compact(document json.RawMessage) json.RawMessage {
	var b bytes.Buffer
	if json.Compact(&b, document) != nil {
		return nil // there is none
	}
	return b.Bytes()
}

// prepare verifies what is new, before anything is changed.
func (a *application) prepare(ctx context.Context) error {
	var errs []error
	for _, st := range a.plan.Stages {
		e := a.editions[st.Name]
		k, err := a.s.keeper(st.Name)
		if err != nil {
			k = &keeper{s: a.s, name: st.Name}
		}
		k.mu.Lock()
		same := k.want != nil && k.want.key == e.key
		k.mu.Unlock()
		if !same {
			errs = append(errs, k.prepare(ctx, e))
		}
	}
	return errors.Join(errs...)
}

// accept puts the plan on the disk as the one to boot with.
func (a *application) accept() error {
	r := planRecord{Version: recordVersion, Name: a.plan.Name, At: time.Now().UTC(), Document: compact(a.plan.Document), Stages: map[string]string{}}
	fields := map[string]string{"plan": a.plan.Name}
	for name, e := range a.editions {
		r.Stages[name] = e.Digest
		fields["stage."+name] = strings.TrimSpace(e.Driver + " " + e.Digest)
	}
	if err := durable.WriteJSON(filepath.Join(a.s.dir, planFile), r); err != nil {
		err = fmt.Errorf("keep the plan on the disk: %w", err)
		if !a.first {
			return err
		}
		a.s.log.Error("the plan runs, but is not on the disk", "err", err) // what was running before has to be kept running
	}
	a.s.event(AcceptedPlan, "", fields)
	return nil
}

// takeStock makes a keeper for each stage that there is anything of.
func (s *Supervisor) takeStock(ctx context.Context, editions map[string]*edition) error {
	records, bad, err := s.boxes.all()
	if err != nil {
		return fmt.Errorf("read the intents on the disk: %w", err)
	}
	for _, b := range bad {
		s.reapUnreadable(ctx, b)
	}
	found := map[string][]record{}
	for _, r := range records {
		found[r.Stage] = append(found[r.Stage], r)
	}
	names, err := s.remembered()
	if err != nil {
		return err
	}
	for name := range editions {
		names = append(names, name)
	}
	for name := range found {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if err := s.stock(name, found[name]); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.applied = true
	s.work.Go(s.ticks)
	return nil
}

// remembered returns the stages that something is remembered of.
func (s *Supervisor) remembered() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(s.dir, stagesDir))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if base, ok := strings.CutSuffix(e.Name(), ".json"); ok && name.MatchString(base) {
			names = append(names, base)
		}
	}
	return names, nil
}

// stock makes the keeper of a stage, with what an earlier supervisor left of it.
func (s *Supervisor) stock(stage string, found []record) error {
	k, err := s.newKeeper(stage)
	if err != nil {
		return err
	}
	slices.SortFunc(found, func(a, b record) int { return b.Created.Compare(a.Created) })
	k.found = found
	if k.memory.Good != nil {
		if k.good, err = s.goodEdition(k); err != nil {
			s.log.Error("the version of a stage that held last can't be run again", "stage", stage, "err", err)
			k.good = nil
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keepers[stage] = k
	return nil
}

// reapUnreadable ends what there may be of an intent that can't be read, by every driver there is.
func (s *Supervisor) reapUnreadable(ctx context.Context, b unreadable) {
	s.log.Error("an intent can't be read; its box is ended", "box", b.id, "err", b.err)
	dir := s.boxes.folder(b.id)
	spec := driver.Spec{ID: b.id, Stage: b.id, Dir: dir, Socket: filepath.Join(dir, socketFile), Log: s.Log("unreadable")}
	s.mu.Lock()
	drivers := make([]driver.Driver, 0, len(s.drivers))
	for _, d := range s.drivers {
		drivers = append(drivers, d)
	}
	s.mu.Unlock()
	var errs []error
	for _, d := range drivers {
		box, err := d.Recover(ctx, spec)
		if err == nil {
			err = box.Stop(ctx, 0)
		}
		if err != nil && !errors.Is(err, driver.ErrGone) {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		s.log.Error("end the box of an intent that can't be read", "box", b.id, "err", err)
		return
	}
	s.event(EndedBox, "", map[string]string{"box": b.id, "reason": "lost", "why": b.err.Error()})
	if err := s.boxes.remove(b.id); err != nil {
		s.log.Error("remove an intent that can't be read", "box", b.id, "err", err)
	}
}
