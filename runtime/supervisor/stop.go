package supervisor

import (
	"context"
	"fmt"
	"time"

	"sightline/runtime/driver"
	"sightline/runtime/supervisor/restart"
)

// hastyGrace is how long a box that does not answer may take to end.
const hastyGrace = 3 * time.Second

// finish ends a box, if it has not ended by itself, and clears away what belongs to it; false when ctx
// ended before, and it is left to the next supervisor.
func (k *keeper) finish(ctx context.Context, cur *running, c cause) bool {
	if c.reason != "" {
		cur.note(func(r *record) { r.Stopping = true })
		k.update(func() { k.setPhase(Stopping) })
		if !k.stop(ctx, cur, c) {
			cur.leave()
			return false
		}
	}
	exit := cur.box.Exit()
	if cur.link != nil {
		cur.link.close(time.Second)
	}
	if c.reason == "" {
		c = causeOf(exit, k.said(cur))
	}
	k.s.event(EndedBox, k.name, map[string]string{"box": cur.record.ID, "reason": string(c.reason), "why": c.text, "exit": exit.String()})
	k.brokeTrial(cur, c)
	k.update(func() { k.cur = nil })
	if err := k.s.boxes.remove(cur.record.ID); err != nil { // it is looked at again before the next start
		k.s.log.Error("remove the intent of a box that has ended", "stage", k.name, "box", cur.record.ID, "err", err)
		k.update(func() { k.found = append(k.found, cur.record) })
	}
	k.ended(cur.record.ID, c, time.Since(cur.began))
	return true
}

// brokeTrial sets a version aside whose box failed while it was on trial.
func (k *keeper) brokeTrial(cur *running, c cause) {
	k.mu.Lock()
	broke := c.reason.Failure() && k.onTrial(cur.of) && k.want != nil && k.want.key == cur.of.key && k.refusal() == ""
	k.mu.Unlock()
	if broke {
		k.setAside(cur.of, c.text, true)
	}
}

// stop asks a box to end, and ends it by force after its grace; false when ctx ended before.
func (k *keeper) stop(ctx context.Context, cur *running, c cause) bool {
	grace, _ := k.timing(cur.of)
	if c.reason == restart.Hung || c.reason == restart.Silent {
		grace = min(grace, hastyGrace)
	} else if cur.link != nil && cur.link.now.Load() && k.ask(ctx, cur, grace) {
		grace = 0 // it has had it
	}
	for wait := time.Second; ; wait = min(2*wait, mostAdopt) {
		err := k.end(ctx, cur.box, grace)
		if over(cur.box) {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		k.s.log.Error("stop a box", "stage", k.name, "box", cur.box.ID(), "err", err, "wait", wait)
		k.update(func() { k.state.Problem = fmt.Sprint("it can't be stopped: ", err) })
		timer := time.NewTimer(wait)
		select {
		case <-cur.box.Done():
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
		grace = 0
	}
}

// ask asks the stage over its wire to end, and waits for that for as long as it may take.
func (k *keeper) ask(ctx context.Context, cur *running, grace time.Duration) bool {
	timer := time.NewTimer(grace)
	defer timer.Stop()
	short, cancel := context.WithTimeout(ctx, min(grace, hastyGrace))
	defer cancel()
	if err := cur.of.wire.Stop(short, grace); err != nil {
		k.s.log.Info("a stage can't be asked to stop over its wire", "stage", k.name, "box", cur.box.ID(), "err", err)
		return false
	}
	select {
	case <-cur.box.Done():
	case <-timer.C:
	case <-k.s.force:
	case <-ctx.Done():
	}
	return true
}

// end has the driver end a box; without grace once all is to end by force.
func (k *keeper) end(ctx context.Context, box driver.Box, grace time.Duration) error {
	stopped := make(chan error, 1)
	go func() { stopped <- box.Stop(ctx, grace) }()
	select {
	case err := <-stopped:
		return err
	case <-k.s.force:
		return box.Stop(ctx, 0)
	}
}

func over(box driver.Box) bool {
	select {
	case <-box.Done():
		return true
	default:
		return false
	}
}
