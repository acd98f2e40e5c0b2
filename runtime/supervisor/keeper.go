package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"sightline/runtime/durable"
	"sightline/runtime/supervisor/restart"
)

// keeper keeps one stage running. Its loop, in one goroutine, is alone in starting and ending boxes;
// others say what they want by changing what mu guards, and await what comes of it.
type keeper struct {
	s      *Supervisor
	name   string
	done   chan struct{} // closed when the loop has ended
	tick   chan struct{} // once a second
	looked chan struct{} // closed when it was looked once for boxes of an earlier supervisor

	mu       sync.Mutex
	changed  chan struct{} // closed at each change, then another
	launched bool          // the loop runs
	gated    bool          // it is not the stage's turn yet: what runs goes on, and nothing is started
	offered  *edition      // what the plan will say when it is
	want     *edition      // what the plan says; nil: the stage is not in it
	good     *edition      // what held last; nil: nothing, or it can't be run again
	aside    map[string]string
	found    []record // intents of earlier supervisors that are still to be dealt with
	memory   memory
	down     bool   // everything stops
	asked    int    // starts anew that the operator asked for
	granted  int    // of which so many were done
	tried    int    // attempts to start
	tryKey   string // version of the last of them
	cur      *running
	state    State
	next     time.Time
}

// steps are the phases that may follow each phase.
func steps() map[Phase][]Phase {
	return map[Phase][]Phase{
		Idle:     {Waiting, Starting, Adopting},
		Adopting: {Waiting, Starting, Running, Stopping, Idle},
		Waiting:  {Starting, Adopting, Idle},
		Starting: {Running, Waiting, Adopting, Idle},
		Running:  {Stopping, Waiting, Idle},
		Stopping: {Waiting, Idle, Adopting},
	}
}

// newKeeper remembers what the state folder says of a stage.
func (s *Supervisor) newKeeper(stage string) (*keeper, error) {
	k := &keeper{
		s: s, name: stage, done: make(chan struct{}), tick: make(chan struct{}, 1), changed: make(chan struct{}),
		looked: make(chan struct{}), gated: true, aside: map[string]string{}, state: State{Stage: stage, Phase: Idle, Since: time.Now()},
	}
	k.memory = memory{Version: recordVersion, Stage: stage}
	var m memory
	err := durable.ReadJSON(k.file(), maxRecord, &m)
	if errors.Is(err, fs.ErrNotExist) {
		return k, nil
	}
	if err == nil {
		k.memory, err = m.forStage(stage)
	}
	if err != nil { // without it the stage runs all the same
		s.log.Error("what was remembered of a stage can't be read", "stage", stage, "err", err)
		err = os.Rename(k.file(), k.file()+".bad")
	}
	if k.memory.Good != nil {
		k.memory.Good.Document = compact(k.memory.Good.Document)
	}
	return k, err
}

func (k *keeper) file() string { return filepath.Join(k.s.dir, stagesDir, k.name+".json") }

// update changes what mu guards and tells all who wait.
func (k *keeper) update(change func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	change()
	close(k.changed)
	k.changed = make(chan struct{})
}

// await waits until what mu guards is as cond says.
func (k *keeper) await(ctx context.Context, cond func() bool) error {
	for {
		k.mu.Lock()
		ok, changed := cond(), k.changed
		k.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-k.done:
			return fmt.Errorf("stage %q: %w", k.name, errClosed)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// setPhase is called with mu held.
func (k *keeper) setPhase(p Phase) {
	if p == k.state.Phase {
		return
	}
	if !slices.Contains(steps()[k.state.Phase], p) {
		panic(fmt.Sprintf("supervisor: stage %q goes from %s to %s", k.name, k.state.Phase, p))
	}
	k.state.Phase, k.state.Since = p, time.Now()
}

// remember writes the memory to the disk. It is called with mu held.
func (k *keeper) remember() error {
	if err := durable.WriteJSON(k.file(), k.memory); err != nil {
		return fmt.Errorf("remember what is known of stage %q: %w", k.name, err)
	}
	return nil
}

// rememberIfPossible is for what can be done without.
func (k *keeper) rememberIfPossible() {
	if err := k.remember(); err != nil {
		k.s.log.Error("a change is not on the disk", "stage", k.name, "err", err)
	}
}

// target returns what shall run, nil for nothing. It is called with mu held.
func (k *keeper) target() *edition {
	switch {
	case k.down || k.memory.Stopped:
		return nil
	case k.gated && k.cur != nil:
		return k.cur.of
	case k.gated || k.want == nil:
		return nil
	case k.good != nil && k.good.key != k.want.key && k.refusal() != "":
		return k.good
	}
	return k.want
}

// refusal says why what the plan says is not tried; "" when it is. It is called with mu held.
func (k *keeper) refusal() string {
	for _, f := range k.memory.Failed {
		if f.Key == k.want.key {
			return fmt.Sprintf("this version did not hold on %s: %s", f.At.Format(time.RFC3339), f.Why)
		}
	}
	return k.aside[k.want.key]
}

// onTrial says that e is new and can be put back. It is called with mu held.
func (k *keeper) onTrial(e *edition) bool {
	return k.good != nil && k.good.key != e.key
}

// run is the loop. It ends when ctx does, leaving a box running, or when the stage is no longer wanted.
func (k *keeper) run(ctx context.Context) {
	defer close(k.done)
	cur := k.adopt(ctx)
	for ctx.Err() == nil {
		if cur == nil {
			e := k.awaitTarget(ctx)
			if e == nil {
				return
			}
			cur = k.start(ctx, e)
			continue
		}
		c, leave := k.watch(ctx, cur)
		if leave {
			cur.leave()
			return
		}
		if !k.finish(ctx, cur, c) {
			return
		}
		cur = nil
	}
	if cur != nil {
		cur.leave()
	}
}

// awaitTarget waits until something is to be started, and returns it; nil when the loop is to end.
func (k *keeper) awaitTarget(ctx context.Context) *edition {
	for {
		k.mu.Lock()
		e, wait, over := k.look()
		changed := k.changed
		k.mu.Unlock()
		if over || e != nil && wait <= 0 {
			return e
		}
		var timer *time.Timer
		var due <-chan time.Time
		if e != nil {
			timer = time.NewTimer(wait)
			due = timer.C
		}
		select {
		case <-ctx.Done():
		case <-changed:
		case <-due:
		}
		if timer != nil {
			timer.Stop()
		}
		if ctx.Err() != nil {
			return nil
		}
	}
}

// look says what is to be started and after which wait, or that all is over. It is called with mu held.
func (k *keeper) look() (e *edition, wait time.Duration, over bool) {
	e = k.target()
	switch {
	case e == nil && k.want == nil && !k.gated:
		return nil, 0, true
	case e == nil:
		k.setPhase(Idle)
		k.state.Next = time.Time{}
		return nil, 0, false
	case k.asked > k.granted || k.tryKey != e.key:
		return e, 0, false // an operator's wish, and another version, come before any wait
	}
	if wait = time.Until(k.next); wait > 0 {
		k.setPhase(Waiting)
		k.state.Next = k.next
	}
	return e, wait, false
}

// ended notes how a box ended, or that none came to be, and when the next one is due.
func (k *keeper) ended(id string, c cause, ran time.Duration) {
	k.update(func() {
		k.memory.History = append(k.memory.History, restart.End{Reason: c.reason, Permanent: c.lasting, Ran: ran})
		k.memory.History = k.memory.History[max(0, len(k.memory.History)-restart.Remembered):]
		k.memory.Last = &End{Box: id, Reason: string(c.reason), Text: c.text, At: time.Now().UTC()}
		wait := k.s.options.Policy.Wait(k.memory.History, rand.Float64())
		k.next = time.Now().Add(wait)
		k.rememberIfPossible()
		if k.target() != nil {
			k.setPhase(Waiting)
			k.state.Next = k.next
		} else {
			k.setPhase(Idle)
		}
	})
}

// setAside has a version not run again: remembered on the disk, or only until the next plan.
func (k *keeper) setAside(e *edition, why string, lasting bool) {
	k.update(func() {
		if !lasting {
			k.aside[e.key] = why
			return
		}
		k.memory.Failed = append(k.memory.Failed, failed{e.key, why, time.Now().UTC()})
		k.memory.Failed = k.memory.Failed[max(0, len(k.memory.Failed)-maxFailed):]
		k.rememberIfPossible()
	})
	k.s.event(RolledBack, k.name, map[string]string{"why": why, "digest": e.Digest})
}
