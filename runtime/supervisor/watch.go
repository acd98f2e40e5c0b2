package supervisor

import (
	"context"
	"fmt"
	"time"

	"sightline/runtime/supervisor/health"
	"sightline/runtime/supervisor/restart"
)

// vigil is what a keeper knows of the box that it watches.
type vigil struct {
	*running
	health health.Watch
	last   time.Time     // of the last look
	lived  time.Duration // looked at so far
	held   time.Duration // of which it has been well without interruption
	proven bool          // it is what held last

	notBefore time.Time // when it is tried anew to verify what shall take its place
}

// watch looks after a box until it has ended or is to end, and says why; leave is true when it is to
// be left to the next supervisor.
func (k *keeper) watch(ctx context.Context, cur *running) (c cause, leave bool) {
	v := &vigil{running: cur, last: time.Now()}
	for {
		k.mu.Lock()
		changed := k.changed
		k.mu.Unlock()
		if c, end := k.unwanted(ctx, v); end {
			return c, false
		}
		select {
		case <-ctx.Done():
			return cause{}, true
		case <-cur.box.Done():
			return cause{}, false
		case <-changed:
		case <-k.tick:
			if c, end := k.tickOf(v); end {
				return c, false
			}
		}
	}
}

// unwanted says that the box is to end because something else, or nothing, is to run.
func (k *keeper) unwanted(ctx context.Context, v *vigil) (cause, bool) {
	v.mu.Lock()
	stopping := v.record.Stopping
	v.mu.Unlock()
	k.mu.Lock()
	t, again := k.target(), k.asked > k.granted
	k.mu.Unlock()
	switch {
	case stopping: // by an earlier supervisor
		return cause{reason: restart.Asked, text: "it was asked to before the supervisor was started anew"}, true
	case t == nil:
		return cause{reason: restart.Asked, text: "it was asked to"}, true
	case again:
		return cause{reason: restart.Asked, text: "a restart was asked for"}, true
	case t.key == v.of.key:
		return cause{}, false
	}
	if !k.put(ctx, v, t) {
		return cause{}, false
	}
	k.mu.Lock()
	back := k.refusal() != ""
	k.mu.Unlock()
	if back {
		return cause{reason: restart.Unsettled, text: "it did not hold"}, true
	}
	return cause{reason: restart.Replaced, text: "another version takes its place"}, true
}

// putAgain is how long to wait before it is tried anew to verify what can't be.
const putAgain = time.Minute

// put makes ready for t to take the place of what runs; false when it can't, and what runs stays.
func (k *keeper) put(ctx context.Context, v *vigil, t *edition) bool {
	if time.Now().Before(v.notBefore) {
		return false
	}
	if err := k.prepare(ctx, t); err != nil {
		v.notBefore = time.Now().Add(putAgain)
		if ctx.Err() == nil {
			k.cantPut(t, startCause(err))
		}
		return false
	}
	said := k.said(v.running)
	k.update(func() {
		if k.onTrial(t) {
			k.memory.Lenient = v.of.wire != nil && !said.Ready
			k.rememberIfPossible()
		}
	})
	return true
}

// cantPut notes that a version could not even be tried.
func (k *keeper) cantPut(t *edition, c cause) {
	k.mu.Lock()
	trial := k.onTrial(t)
	k.mu.Unlock()
	if trial {
		k.setAside(t, c.text, c.lasting)
		return
	}
	k.s.event(RefusedVersion, k.name, map[string]string{"why": c.text, "digest": t.Digest})
	k.update(func() {
		k.aside[t.key] = c.text
		k.state.Problem = c.text
	})
}

// said returns what the box's wire knows of it; nothing when what it knows is of another box.
func (k *keeper) said(cur *running) Health {
	if cur.of.wire == nil || cur.link != nil && cur.link.served.Load() == 0 {
		return Health{}
	}
	return cur.of.wire.Health()
}

// timing returns what may change while a version runs.
func (k *keeper) timing(e *edition) (grace, patience time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return e.grace, e.patience
}

// tickOf looks at a box once a second.
func (k *keeper) tickOf(v *vigil) (cause, bool) {
	now := time.Now()
	passed := min(now.Sub(v.last), 2*time.Second) // what passed while this program stood still is no time
	v.last = now
	v.lived += passed
	said := k.said(v.running)
	verdict := health.Working
	if v.of.wire != nil {
		_, patience := k.timing(v.of)
		l := health.Limits{Patience: patience, Silence: k.s.options.Silence, Hang: k.s.options.Hang}
		verdict = v.health.Look(passed, health.Sample{Beat: said.Beat, In: said.In, Out: said.Out}, l)
	}
	switch verdict {
	case health.Silent:
		return cause{reason: restart.Silent, text: "no heartbeat comes from it"}, true
	case health.Hung:
		return cause{reason: restart.Hung, text: fmt.Sprintf("it is given work and has finished none for %s", k.s.options.Hang)}, true
	}
	k.prove(v, said, verdict, passed)
	return cause{}, false
}

// prove accepts a new version once it has held, and refuses one that does not come to that.
func (k *keeper) prove(v *vigil, said Health, verdict health.Verdict, passed time.Duration) {
	if v.proven {
		return
	}
	k.mu.Lock()
	trial, lenient := k.onTrial(v.of), k.memory.Lenient
	proven := k.memory.Good != nil && k.memory.Good.Of.key() == v.of.key
	k.mu.Unlock()
	if proven {
		v.proven = true
		return
	}
	well := verdict != health.New && (said.Ready || v.of.wire == nil || trial && lenient)
	if v.held += passed; !well {
		v.held = 0
	}
	settle := k.s.options.Settle
	if v.held < settle {
		if _, patience := k.timing(v.of); trial && v.lived > patience+3*settle {
			k.setAside(v.of, "it was not ready in time", true)
		}
		return
	}
	if sane := k.s.options.Sane; sane != nil && trial {
		if err := sane(k.name); err != nil {
			if v.held >= 2*settle {
				k.setAside(v.of, err.Error(), true)
			}
			return
		}
	}
	v.proven = true
	k.hold(v.of, trial)
}

// hold remembers a version as the one to go back to.
func (k *keeper) hold(e *edition, trial bool) {
	if err := k.s.pin(k.name+"/good", e.Digest); err != nil {
		k.s.log.Error("a closure that held is not pinned", "stage", k.name, "digest", e.Digest, "err", err)
	}
	k.update(func() {
		k.good = e
		k.memory.Good = &good{Of: e.version, Wired: e.wire != nil, Grace: e.grace, Patience: e.patience, Document: e.document}
		k.memory.Lenient = false
		k.rememberIfPossible()
	})
	if trial {
		k.s.event(HeldBox, k.name, map[string]string{"digest": e.Digest})
	}
}
