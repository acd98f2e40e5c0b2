package supervisor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sightline/runtime/driver"
	"sightline/runtime/supervisor/restart"
)

const (
	// reapGrace is how long a box that nobody wants may take to end.
	reapGrace = 10 * time.Second
	// adoptAgain is how long to wait when it can't be seen whether a box is there.
	adoptAgain = time.Second
	mostAdopt  = 30 * time.Second
)

// adopt takes over the box of an earlier supervisor, if there is one, and ends all but one. It does
// not give up while it can't be seen what there is: another box beside one that runs is worse.
func (k *keeper) adopt(ctx context.Context) *running {
	wait := adoptAgain
	for {
		k.mu.Lock()
		if len(k.found) > 0 {
			k.setPhase(Adopting)
		}
		k.mu.Unlock()
		cur, err := k.adoptOne(ctx)
		if cur != nil || err == nil {
			k.update(func() {
				if k.cur = cur; cur != nil {
					k.setPhase(Running)
				}
				k.state.Problem = ""
			})
			k.lookedOnce()
			return cur
		}
		k.s.log.Error("look for the box of an earlier supervisor", "stage", k.name, "err", err, "wait", wait)
		k.update(func() { k.state.Problem = err.Error() })
		k.lookedOnce()
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
		wait = min(2*wait, mostAdopt)
	}
}

// lookedOnce is called by the loop alone.
func (k *keeper) lookedOnce() {
	select {
	case <-k.looked:
	default:
		close(k.looked)
	}
}

// adoptOne takes over the first box that is of a version that is known.
func (k *keeper) adoptOne(ctx context.Context) (*running, error) {
	for _, r := range k.intents() {
		e := k.editionOf(r)
		if e == nil {
			continue
		}
		cur, err := k.recoverBox(ctx, e, r)
		if errors.Is(err, driver.ErrGone) {
			continue
		}
		if err == nil {
			k.s.event(AdoptedBox, k.name, map[string]string{"box": r.ID, "driver": e.Driver, "digest": e.Digest})
		}
		return cur, err // the others are dealt with before the next start
	}
	return nil, k.settle(ctx)
}

func (k *keeper) intents() []record {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]record{}, k.found...)
}

// editionOf returns what an intent is of, if that can be run on: with its wire.
func (k *keeper) editionOf(r record) *edition {
	k.mu.Lock()
	defer k.mu.Unlock()
	key := r.Of.key()
	for _, e := range []*edition{k.offered, k.good} {
		if e != nil && e.key == key {
			return e
		}
	}
	return nil
}

// forget takes an intent away whose box is gone.
func (k *keeper) forget(r record) error {
	if err := k.s.boxes.remove(r.ID); err != nil {
		return err
	}
	k.update(func() { k.drop(r.ID) })
	return nil
}

// recoverBox takes over the box of an intent; driver.ErrGone when there is none.
func (k *keeper) recoverBox(ctx context.Context, e *edition, r record) (*running, error) {
	spec := k.spec(r, e.files)
	cur := &running{k: k, of: e, record: r, adopted: true, began: time.Now()}
	if err := cur.listen(spec.Socket); err != nil {
		return nil, fmt.Errorf("recover box %q: %w", r.ID, err)
	}
	box, err := e.driver.Recover(ctx, spec)
	if err != nil {
		cur.leave()
	}
	if errors.Is(err, driver.ErrGone) {
		if err := k.gone(r); err != nil {
			return nil, err
		}
		return nil, driver.ErrGone
	}
	if err != nil {
		return nil, fmt.Errorf("recover box %q: %w", r.ID, err)
	}
	k.update(func() { k.drop(r.ID) })
	cur.box = box
	cur.serve()
	cur.note(func(c *record) { c.Ran = true })
	return cur, nil
}

// drop is called with mu held.
func (k *keeper) drop(id string) {
	kept := make([]record, 0, len(k.found))
	for _, f := range k.found {
		if f.ID != id {
			kept = append(kept, f)
		}
	}
	k.found = kept
}

// gone notes that the box of an intent ended while nobody looked, unless it never ran.
func (k *keeper) gone(r record) error {
	if err := k.forget(r); err != nil {
		return err
	}
	switch {
	case !r.Ran:
	case r.Stopping:
		k.s.event(EndedBox, k.name, map[string]string{"box": r.ID, "reason": string(restart.Asked), "why": "it ended as it was asked to"})
	default:
		c := cause{reason: restart.Lost, text: "it ended while no supervisor was there"}
		k.s.event(EndedBox, k.name, map[string]string{"box": r.ID, "reason": string(c.reason), "why": c.text})
		k.lost(r, c)
	}
	return nil
}

func (k *keeper) lost(r record, c cause) {
	k.update(func() {
		k.memory.History = append(k.memory.History, restart.End{Reason: c.reason})
		k.memory.History = k.memory.History[max(0, len(k.memory.History)-restart.Remembered):]
		k.memory.Last = &End{Box: r.ID, Reason: string(c.reason), Text: c.text, At: time.Now().UTC()}
		k.rememberIfPossible()
	})
}

// settle ends what is left of intents that nothing runs on for, so that no box is beside another.
func (k *keeper) settle(ctx context.Context) error {
	for _, r := range k.intents() {
		d, err := k.s.driverOf(r.Of.Driver)
		if err != nil {
			return fmt.Errorf("box %q: %w", r.ID, err)
		}
		box, err := d.Recover(ctx, k.spec(r, k.s.filesOf(r.Of.Digest)))
		if errors.Is(err, driver.ErrGone) {
			if err := k.gone(r); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("recover box %q: %w", r.ID, err)
		}
		if err := box.Stop(ctx, reapGrace); err != nil {
			return err
		}
		<-box.Done()
		k.s.event(EndedBox, k.name, map[string]string{"box": r.ID, "reason": string(restart.Replaced), "why": "nothing wants it any more: " + box.Exit().String()})
		if err := k.forget(r); err != nil {
			return err
		}
	}
	return nil
}
