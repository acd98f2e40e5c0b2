package supervisor

import (
	"context"
	"errors"
	"os"
	"slices"
)

// offer makes a keeper for each stage of the plan, tells it which version is coming, sets the order,
// and returns the keepers of the stages that the plan doesn't have, in the order of starting.
func (a *application) offer() (removed []*keeper, err error) {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	old := a.s.ordered()
	a.s.order = a.s.order[:0:0]
	for _, st := range a.plan.Stages {
		k := a.s.keepers[st.Name]
		if k == nil {
			if k, err = a.s.newKeeper(st.Name); err != nil {
				return nil, err
			}
			a.s.keepers[st.Name] = k
		}
		a.s.order = append(a.s.order, st.Name)
		k.offer(a.editions[st.Name])
	}
	for _, k := range old {
		if a.editions[k.name] == nil {
			removed = append(removed, k)
			a.s.order = append(a.s.order, k.name)
		}
	}
	return removed, nil
}

// offer tells which version is coming, for which a box that is found can run on.
func (k *keeper) offer(e *edition) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.offered = e
	if k.good != nil && k.good.key == e.key && !k.launched {
		k.good = e
	}
	if g := k.memory.Good; g != nil && g.Of.key() == e.key && string(g.Document) != string(e.document) {
		g.Document, g.Grace, g.Patience = e.document, e.grace, e.patience
		k.rememberIfPossible()
	}
}

// adoptAll has the keepers look for the boxes of an earlier supervisor, all at once, as those are to
// have their wires back soon, and waits until each has looked once.
func (a *application) adoptAll(ctx context.Context) {
	a.s.mu.Lock()
	keepers := a.s.ordered()
	a.s.mu.Unlock()
	for _, k := range keepers {
		k.mu.Lock()
		launched := k.launched
		k.launched = true
		k.mu.Unlock()
		if !launched {
			a.s.work.Go(func() { k.run(a.s.ctx) })
		}
	}
	for _, k := range keepers {
		select {
		case <-k.looked:
		case <-ctx.Done():
			return
		}
	}
}

// remove ends a stage that is not in the plan, and forgets it. It returns when that is done, or when it
// has to wait for what can't be reached now; then that goes on beside.
func (s *Supervisor) remove(ctx context.Context, k *keeper) error {
	k.update(func() {
		k.gated, k.want, k.offered, k.memory.Stopped = false, nil, nil, false
	})
	forgotten := make(chan struct{})
	s.work.Go(func() {
		defer close(forgotten)
		select {
		case <-k.done:
			if s.ctx.Err() == nil {
				s.forget(k)
			}
		case <-s.ctx.Done():
		}
	})
	err := k.await(ctx, func() bool {
		return k.state.Problem != "" && (k.state.Phase == Adopting || k.state.Phase == Stopping)
	})
	if errors.Is(err, errClosed) {
		<-forgotten
		return nil
	}
	return err
}

func (s *Supervisor) forget(k *keeper) {
	s.mu.Lock()
	delete(s.keepers, k.name)
	s.order = slices.DeleteFunc(s.order, func(name string) bool { return name == k.name })
	s.mu.Unlock()
	if err := os.Remove(k.file()); err != nil && !errors.Is(err, os.ErrNotExist) {
		s.log.Error("forget a stage", "stage", k.name, "err", err)
	}
	s.unpin(k.name)
	s.event(RemovedStage, k.name, nil)
}

// before is what there was of a stage before its turn.
type before struct {
	box     string
	tried   int
	refused string
}

// turn has a stage become what the plan says, and waits for what comes of it.
func (a *application) turn(ctx context.Context, k *keeper, e *edition) (Outcome, error) {
	k.trust(e)
	var b before
	k.update(func() { b = a.want(k, e) })
	if b.refused != "" {
		a.s.event(RefusedVersion, k.name, map[string]string{"why": b.refused, "digest": e.Digest})
	}
	var outcome Outcome
	err := k.await(ctx, func() (ok bool) {
		outcome, ok = a.outcome(k, e, b)
		return ok
	})
	outcome.Stage = k.name
	return outcome, err
}

// trust takes the version that runs as one to go back to, when another comes before it has held and
// none has: it works by now, which is more than can be said of the other.
func (k *keeper) trust(e *edition) {
	k.mu.Lock()
	cur, good := k.cur, k.good
	k.mu.Unlock()
	if cur == nil || good != nil || cur.of.key == e.key {
		return
	}
	if cur.of.wire == nil || k.said(cur).Ready {
		k.hold(cur.of, false)
	}
}

// want is called with k.mu held.
func (a *application) want(k *keeper, e *edition) before {
	b := before{tried: k.tried}
	if k.cur != nil && !(a.first && k.cur.adopted) {
		b.box = k.cur.record.ID
	}
	clear(k.aside)
	if a.options.Force {
		k.memory.Failed = slices.DeleteFunc(k.memory.Failed, func(f failed) bool { return f.Key == e.key })
		k.rememberIfPossible()
	}
	switch {
	case k.cur != nil && k.cur.of.key == e.key: // with the wire that it has
		kept := k.cur.of
		kept.grace, kept.patience, kept.document = e.grace, e.patience, e.document
		e = kept
	case k.good != nil && k.good.key == e.key:
		k.good = e
	}
	if k.state.Phase == Waiting && !a.first {
		k.asked++ // who brings a plan doesn't wait for what is tried again in minutes
	}
	k.want, k.gated = e, false
	if k.onTrial(e) {
		b.refused = k.refusal()
	}
	return b
}

// outcome says what has become of a stage; ok is false while that is not known. It is called with
// k.mu held.
func (a *application) outcome(k *keeper, e *edition, b before) (o Outcome, ok bool) {
	t, why := k.target(), k.state.Problem
	if k.cur != nil {
		o.Box = k.cur.record.ID
	}
	waits := k.cur == nil && t != nil && (k.state.Phase == Waiting && k.tried > b.tried && k.tryKey == t.key || k.state.Phase == Adopting && why != "")
	switch {
	case t == nil:
		o.Action = Stopped
		return o, k.cur == nil
	case waits:
		o.Action, o.Why = Started, why
		if t.key != e.key {
			o.Action, o.Why = PutBack, k.refusal()+"; "+why
		}
		return o, b.refused == "" || t.key != e.key
	case k.cur == nil:
		return o, false
	case t.key != e.key: // it is not to run
		o.Action, o.Why = PutBack, k.refusal()
		if b.refused != "" {
			o.Action = Refused
		}
		return o, k.cur.of.key == t.key
	case k.cur.of.key != e.key: // it is to run, but can't
		o.Action, o.Why = Refused, k.refusal()
		return o, o.Why != ""
	case k.onTrial(e):
		return o, false
	}
	o.Action = changed(k.cur, b)
	return o, true
}

func changed(cur *running, b before) Action {
	switch {
	case cur.record.ID == b.box:
		return Kept
	case b.box != "":
		return Replaced
	case cur.adopted:
		return Adopted
	}
	return Started
}
