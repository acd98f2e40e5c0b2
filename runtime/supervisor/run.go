package supervisor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"sightline/runtime/driver"
)

// Run waits until ctx ends and then stops all stages, from capture to publish, each within its grace.
// It returns earlier after Down and Close.
func (s *Supervisor) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return s.Down(context.WithoutCancel(ctx))
	case <-s.downed:
		return s.Down(context.WithoutCancel(ctx)) // waits for it
	case <-s.ctx.Done():
		return nil
	}
}

// ticks tells the keepers once a second to look at their boxes.
func (s *Supervisor) ticks() {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-ticker.C:
		}
		s.mu.Lock()
		for _, k := range s.keepers {
			select {
			case k.tick <- struct{}{}:
			default: // it hasn't seen the one before
			}
		}
		s.mu.Unlock()
	}
}

// ordered returns the keepers in the order of starting, those that are in no plan at the end. It is
// called with mu held.
func (s *Supervisor) ordered() []*keeper {
	all := make([]*keeper, 0, len(s.keepers))
	seen := map[string]bool{}
	for _, name := range s.order {
		if k := s.keepers[name]; k != nil {
			all, seen[name] = append(all, k), true
		}
	}
	for name, k := range s.keepers {
		if !seen[name] {
			all = append(all, k)
		}
	}
	return all
}

// keeper returns the keeper of a stage.
func (s *Supervisor) keeper(stage string) (*keeper, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.keepers[stage]; k != nil {
		return k, nil
	}
	if len(s.keepers) == 0 {
		return nil, fmt.Errorf("there is no stage %q (there is none yet)", stage)
	}
	return nil, fmt.Errorf("there is no stage %q (there is %s)", stage, strings.Join(slices.Sorted(maps.Keys(s.keepers)), ", "))
}

// still says that there is no box and none is coming. It is called with mu held.
func (k *keeper) still() bool {
	switch k.state.Phase {
	case Starting, Stopping, Adopting:
		return false
	}
	return k.cur == nil && k.target() == nil
}

// forceTime is how long a box may take to end by force.
const forceTime = 10 * time.Second

// Down stops all stages, from capture to publish, each within its grace; when ctx ends, what is left
// is ended by force.
func (s *Supervisor) Down(ctx context.Context) error {
	s.mu.Lock()
	if !s.down {
		s.down = true
		close(s.downed)
	}
	keepers := s.ordered()
	s.mu.Unlock()
	last, cancel := context.WithCancel(s.ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		s.forced.Do(func() { close(s.force) })
		time.AfterFunc(forceTime, cancel)
	})()
	var errs []error
	for i := len(keepers) - 1; i >= 0; i-- {
		k := keepers[i]
		k.update(func() { k.down = true })
		limited, end := context.WithTimeout(last, k.downTime())
		if err := k.await(limited, k.still); err != nil && !errors.Is(err, errClosed) {
			errs = append(errs, fmt.Errorf("stop stage %q: it is left to the next supervisor: %w", k.name, err))
		}
		end()
	}
	return errors.Join(errs...)
}

// downTime is how long stopping everything waits for a stage: its grace and what ending it by force
// takes. One of which it cannot be seen whether it has a box, as its engine is gone, gets the latter.
func (k *keeper) downTime() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.cur == nil {
		return forceTime
	}
	return k.cur.of.grace + 2*forceTime
}

// Restart stops a stage and starts it again, at once also if it would have waited. A stage that was
// stopped is started.
func (s *Supervisor) Restart(ctx context.Context, stage string) error {
	k, err := s.keeper(stage)
	if err != nil {
		return err
	}
	s.event(AskedStage, stage, map[string]string{"what": "restart"})
	var asked int
	k.update(func() {
		if err = k.wake(); err == nil {
			k.asked++
			asked = k.asked
		}
	})
	if err != nil {
		return err
	}
	return k.awaitStart(ctx, func() bool { return k.granted >= asked })
}

// wake clears that the operator has stopped the stage. It is called with mu held.
func (k *keeper) wake() error {
	if k.down {
		return ErrDown
	}
	if !k.memory.Stopped {
		return nil
	}
	k.memory.Stopped = false
	if err := k.remember(); err != nil {
		k.memory.Stopped = true
		return err
	}
	return nil
}

// awaitStart waits until a start was tried, and returns why there is no box.
func (k *keeper) awaitStart(ctx context.Context, tried func() bool) error {
	err := k.await(ctx, func() bool { return tried() && k.state.Phase != Starting || k.target() == nil })
	if err != nil {
		return fmt.Errorf("start stage %q: %w", k.name, err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.cur != nil:
		return nil
	case k.target() == nil:
		return fmt.Errorf("start stage %q: it is no longer wanted", k.name)
	}
	return fmt.Errorf("start stage %q: %s; it is tried again at %s", k.name, k.state.Problem, k.next.Format(time.TimeOnly))
}

// StopStage stops a stage, which stays stopped, over restarts of the supervisor too, until StartStage.
func (s *Supervisor) StopStage(ctx context.Context, stage string) error {
	k, err := s.keeper(stage)
	if err != nil {
		return err
	}
	s.event(AskedStage, stage, map[string]string{"what": "stop"})
	k.update(func() {
		before := k.memory.Stopped
		k.memory.Stopped = true
		if err = k.remember(); err != nil {
			k.memory.Stopped = before
		}
	})
	if err != nil {
		return fmt.Errorf("stop stage %q: %w", stage, err)
	}
	if err := k.await(ctx, k.still); err != nil {
		return fmt.Errorf("stop stage %q: %w", stage, err)
	}
	return nil
}

// StartStage starts a stage that was stopped, at once also if it would wait.
func (s *Supervisor) StartStage(ctx context.Context, stage string) error {
	k, err := s.keeper(stage)
	if err != nil {
		return err
	}
	s.event(AskedStage, stage, map[string]string{"what": "start"})
	var tried int
	k.update(func() {
		if err = k.wake(); err == nil && k.cur == nil {
			k.next = time.Time{}
		}
		tried = k.tried
	})
	if err != nil {
		return err
	}
	return k.awaitStart(ctx, func() bool { return k.cur != nil || k.tried > tried })
}

// List returns how the stages do, in the order of starting.
func (s *Supervisor) List(ctx context.Context) []State {
	s.mu.Lock()
	keepers := s.ordered()
	s.mu.Unlock()
	all := make([]State, len(keepers))
	var work sync.WaitGroup
	for i, k := range keepers {
		work.Go(func() { all[i] = k.report(ctx) })
	}
	work.Wait()
	return all
}

// sampleTime bounds how long a box is measured.
const sampleTime = 2 * time.Second

func (k *keeper) report(ctx context.Context) State {
	k.mu.Lock()
	state, cur := k.state, k.cur
	state.Restarts, state.Last = k.memory.Restarts, k.memory.Last
	e := k.want
	if cur != nil {
		e = cur.of
		state.Trial = k.onTrial(e)
	}
	if k.want != nil && k.onTrial(k.want) && state.Problem == "" {
		state.Problem = k.refusal()
	}
	if e != nil {
		state.Kind, state.Driver, state.Digest = e.Kind, e.Driver, e.Digest
	}
	if state.Phase != Waiting {
		state.Next = time.Time{}
	} else if state.Problem == "" && state.Last != nil {
		state.Problem = state.Last.Text
	}
	k.mu.Unlock()
	if cur == nil {
		return state
	}
	state.Box, state.Started, state.Adopted = cur.record.ID, cur.record.Created, cur.adopted
	said := k.said(cur)
	state.Ready, state.Beat, state.Received, state.Sent = said.Ready, said.Beat, said.Received, said.Sent
	if state.Problem == "" {
		state.Problem = said.Trouble
	}
	ctx, cancel := context.WithTimeout(ctx, sampleTime)
	defer cancel()
	if guarded, ok := cur.box.(driver.Guarded); ok {
		state.Protects, state.Lacks = guarded.Protection(ctx)
	}
	if sampler, ok := cur.box.(driver.Sampler); ok {
		if usage, err := sampler.Sample(ctx); err == nil {
			state.CPU, state.Memory, state.Measured = usage.CPU.Seconds(), usage.Memory, true
		}
	}
	return state
}
