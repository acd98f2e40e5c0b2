package supervisor

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"sightline/runtime/driver"
	"sightline/runtime/supervisor/restart"
)

// running is a box that runs.
type running struct {
	k       *keeper
	of      *edition
	box     driver.Box
	link    *link // nil: it has no wire that is served here
	adopted bool
	began   time.Time // of this supervisor's time with it

	mu     sync.Mutex
	record record
}

// leave leaves a box to the next supervisor.
func (r *running) leave() {
	if r.link != nil {
		r.link.close(0)
	}
}

// note changes the intent of the box on the disk, if that is possible: without it a later supervisor
// only knows less.
func (r *running) note(change func(*record)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.record
	change(&r.record)
	if r.record.Enrolled == before.Enrolled && r.record.Ran == before.Ran && r.record.Stopping == before.Stopping {
		return
	}
	if err := r.k.s.boxes.write(r.record); err != nil {
		r.k.s.log.Error("a change is not on the disk", "stage", r.k.name, "box", r.record.ID, "err", err)
	}
}

func (r *running) info() BoxInfo {
	r.mu.Lock()
	defer r.mu.Unlock()
	return BoxInfo{ID: r.record.ID, Stage: r.record.Stage, Nonce: r.record.Nonce, Enroll: !r.record.Enrolled,
		Greeted: func() { r.note(func(c *record) { c.Enrolled = true }) }}
}

// spec is what a driver is told of a box.
func (k *keeper) spec(r record, files driver.Files) driver.Spec {
	dir := k.s.boxes.folder(r.ID)
	return driver.Spec{
		ID: r.ID, Stage: r.Stage, Files: files, Program: r.Of.Program, Dir: dir, Socket: filepath.Join(dir, socketFile),
		Limits: r.Of.Limits, GPU: r.Of.GPU, Log: k.s.Log(k.name),
	}
}

// start tries once to start a box; nil when there is none.
func (k *keeper) start(ctx context.Context, e *edition) *running {
	k.begin(e)
	ctx, cancel := k.whileWanted(ctx, e)
	defer cancel()
	began := time.Now()
	r, id, err := k.launch(ctx, e)
	if err != nil {
		k.startFailed(ctx, e, id, err, time.Since(began))
		return nil
	}
	fields := map[string]string{"box": id, "driver": e.Driver, "digest": e.Digest}
	if guarded, ok := r.box.(driver.Guarded); ok {
		_, lacks := guarded.Protection(ctx)
		fields["lacks"] = strings.Join(lacks, "; ")
	}
	k.s.event(StartedBox, k.name, fields)
	k.attempted(r)
	return r
}

func (k *keeper) begin(e *edition) {
	k.update(func() {
		k.setPhase(Starting)
		k.state.Next, k.state.Problem, k.tryKey = time.Time{}, "", e.key
		if last := k.memory.Last; last != nil && k.asked == k.granted {
			if r := restart.Reason(last.Reason); r.Failure() || r == restart.Lost {
				k.memory.Restarts++
			}
		}
	})
}

// attempted notes how an attempt to start came out.
func (k *keeper) attempted(r *running) {
	k.update(func() {
		k.tried++
		k.granted = k.asked
		k.cur = r
		if r != nil {
			k.setPhase(Running)
		} else if k.state.Phase == Starting {
			k.setPhase(Waiting)
		}
	})
}

func (k *keeper) startFailed(ctx context.Context, e *edition, id string, err error, took time.Duration) {
	var intent *intentError
	if ctx.Err() != nil { // it was called off
		k.ended(id, cause{reason: restart.Asked, text: "called off while starting"}, 0)
		k.attempted(nil)
		return
	}
	c := startCause(err)
	k.s.event(StartFailed, k.name, map[string]string{"box": id, "reason": string(c.reason), "why": c.text})
	k.mu.Lock()
	trial := k.onTrial(e)
	k.mu.Unlock()
	if trial && !errors.As(err, &intent) {
		k.setAside(e, c.text, c.lasting)
	}
	k.ended(id, c, min(took, time.Second))
	k.update(func() { k.state.Problem = c.text })
	k.attempted(nil)
}

// whileWanted returns a context that ends when something else than e is to run.
func (k *keeper) whileWanted(ctx context.Context, e *edition) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer cancel()
		for {
			k.mu.Lock()
			t, changed := k.target(), k.changed
			k.mu.Unlock()
			if t == nil || t.key != e.key {
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}()
	return ctx, cancel
}

// launch writes the intent and starts a box.
func (k *keeper) launch(ctx context.Context, e *edition) (*running, string, error) {
	if err := k.settle(ctx); err != nil {
		return nil, "", &intentError{err}
	}
	if err := k.s.pin(k.name+"/current", e.Digest); err != nil {
		return nil, "", &intentError{err}
	}
	r := newRecord(k.name, e.version)
	if err := k.s.boxes.write(r); err != nil {
		return nil, r.ID, errors.Join(&intentError{fmt.Errorf("write the intent to start box %q: %w", r.ID, err)}, k.s.boxes.remove(r.ID))
	}
	spec := k.spec(r, e.files)
	cur := &running{k: k, of: e, record: r, began: time.Now()}
	if err := cur.listen(spec.Socket); err != nil {
		return nil, r.ID, errors.Join(&intentError{err}, k.s.boxes.remove(r.ID))
	}
	box, err := e.driver.Start(ctx, spec)
	if err != nil {
		cur.leave()
		k.update(func() { k.found = append(k.found, r) })
		return nil, r.ID, errors.Join(wayOut(err), k.settle(context.WithoutCancel(ctx))) // nothing should be left; look
	}
	cur.box = box
	cur.serve()
	cur.note(func(c *record) { c.Ran = true })
	return cur, r.ID, nil
}

// prepare verifies what a start will need, so that nothing is ended for what can't be started.
func (k *keeper) prepare(ctx context.Context, e *edition) error {
	if e.prepared {
		return nil
	}
	spec := k.spec(record{ID: "prepared", Stage: k.name, Of: e.version}, e.files)
	if c, ok := e.driver.(driver.Checker); ok {
		if err := c.Check(spec); err != nil {
			return fmt.Errorf("stage %q: %w", k.name, err)
		}
	}
	if p, ok := e.driver.(driver.Preparer); ok {
		if err := p.Prepare(ctx, spec); err != nil {
			return fmt.Errorf("stage %q: %w", k.name, wayOut(err))
		}
	} else if e.files != nil {
		if _, err := e.files.Folder(ctx); err != nil {
			return fmt.Errorf("stage %q: verify its closure: %w", k.name, wayOut(err))
		}
	}
	if err := k.s.pin(k.name+"/wanted", e.Digest); err != nil {
		return fmt.Errorf("stage %q: %w", k.name, err)
	}
	e.prepared = true
	return nil
}
