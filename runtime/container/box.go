package container

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"sightline/runtime/driver"
)

// box is one running box, started or adopted.
type box struct {
	engine    *engine
	spec      driver.Spec
	container string // the engine's ID of it
	log       log

	stopped, forced atomic.Bool // somebody asked for it

	done chan struct{}
	exit driver.Exit // before done is closed, of watch alone
}

var (
	_ driver.Box     = (*box)(nil)
	_ driver.Sampler = (*box)(nil)
)

// run looks after a box whose container was started, until it has ended. It takes over the log.
func (e *engine) run(spec driver.Spec, id string, l log) *box {
	b := &box{engine: e, spec: spec, container: id, log: l, done: make(chan struct{})}
	go b.watch()
	return b
}

// watch waits for the end and removes what belonged to the box.
func (b *box) watch() {
	defer close(b.done)
	ctx, stopLog := context.WithCancel(context.Background())
	logged := make(chan struct{})
	go func() {
		defer close(logged)
		b.log.follow(ctx)
	}()
	state, away := b.awaitEnd()
	gone := b.engine.gone.Load()
	stopLog()
	<-logged
	b.exit = exitOf(state, away, b.forced.Load())
	err := b.engine.bury(context.Background(), b.spec, b.container, b.log)
	if b.exit.Reason == "" && !b.stopped.Load() && (!b.engine.listens() || b.engine.gone.Load() != gone) {
		b.exit.Reason = "its engine was stopped at the same time"
	}
	if err != nil {
		b.exit.Reason = strings.TrimPrefix(fmt.Sprint(b.exit.Reason, "; left behind: ", err), "; ")
	}
}

// awaitEnd waits until the engine says that the container doesn't run, and returns how it is; nil if
// it is gone. away is how long the engine could not be asked just before.
func (b *box) awaitEnd() (state *container.State, away time.Duration) {
	var p pause
	var lost time.Time
	for {
		got, err := b.engine.inspect(context.Background(), b.container)
		switch {
		case errdefs.IsNotFound(err):
			return nil, since(lost)
		case err != nil:
			if lost.IsZero() {
				lost = time.Now()
			}
			p.wait()
			continue
		case !got.State.Running:
			return b.settled(got.State), since(lost)
		}
		lost = time.Time{}
		if err := b.awaitChange(); err != nil {
			p.wait()
			lost = time.Now()
		} else {
			p = pause{}
		}
	}
}

func since(lost time.Time) time.Duration {
	if lost.IsZero() {
		return 0
	}
	return time.Since(lost)
}

// awaitChange waits until the engine says that the container has stopped.
func (b *box) awaitChange() error {
	return b.engine.long(context.Background(), func(ctx context.Context, api *client.Client) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		wait := api.ContainerWait(ctx, b.container, client.ContainerWaitOptions{Condition: container.WaitConditionNotRunning})
		select {
		case <-wait.Result:
			return nil
		case err := <-wait.Error:
			return err
		}
	})
}

// settled returns the state of what was killed when the engine has heard why: it learns of the end of
// a process and of the kernel's reason in two ways.
func (b *box) settled(state *container.State) *container.State {
	if state.OOMKilled || b.forced.Load() || b.spec.Limits.Memory == 0 || state.ExitCode != killedCode {
		return state
	}
	for range 10 {
		time.Sleep(50 * time.Millisecond)
		got, err := b.engine.inspect(context.Background(), b.container)
		if err != nil {
			return state
		}
		if got.State.OOMKilled {
			return got.State
		}
	}
	state.OOMKilled = killedForMemory(b.container)
	return state
}

// pause is a wait that becomes longer.
type pause struct{ next time.Duration }

func (p *pause) wait() { <-p.timer() }

func (p *pause) timer() <-chan time.Time {
	p.next = min(max(2*p.next, 50*time.Millisecond), 5*time.Second)
	return time.After(p.next)
}

// bury hands over the rest of the log of a container that has ended, and removes all that there is of
// the box. While the engine can't be asked, it waits for it.
func (e *engine) bury(ctx context.Context, spec driver.Spec, id string, l log) error {
	l.rest(ctx)
	return errors.Join(l.close(), e.remove(ctx, id), tidy(spec.Dir))
}

// remove removes a container with all it has, killing it if it runs. It keeps trying while the engine
// can't be asked, and for a while when it refuses.
func (e *engine) remove(ctx context.Context, id string) error {
	var p pause
	var refused time.Time
	for {
		err := e.call(ctx, func(ctx context.Context, api *client.Client) error {
			_, err := api.ContainerRemove(ctx, id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
			return err
		})
		if err == nil || errdefs.IsConflict(err) { // it is being removed
			_, err = e.inspect(ctx, id)
		}
		if errdefs.IsNotFound(err) {
			return nil
		}
		var away *UnreachableError
		if err != nil && !errors.As(err, &away) {
			if refused.IsZero() {
				refused = time.Now()
			}
			if time.Since(refused) > leftTime {
				return fmt.Errorf("remove container %q: %w", id, err)
			}
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("remove container %q: %w", id, ctx.Err()), err)
		case <-p.timer():
		}
	}
}

// ID implements driver.Box.
func (b *box) ID() string { return b.spec.ID }

// Done implements driver.Box.
func (b *box) Done() <-chan struct{} { return b.done }

// Exit implements driver.Box.
func (b *box) Exit() driver.Exit {
	<-b.done
	return b.exit
}

// Stop implements driver.Box. While the engine can't be asked, it keeps trying until ctx ends.
func (b *box) Stop(ctx context.Context, grace time.Duration) error {
	b.stopped.Store(true)
	timer := time.NewTimer(grace)
	defer timer.Stop()
	if grace > 0 {
		if err := b.signal(ctx, "SIGTERM"); err != nil {
			return err
		}
	}
	select {
	case <-b.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop container box %q: %w", b.spec.ID, ctx.Err())
	case <-timer.C:
	}
	b.forced.Store(true)
	if err := b.signal(ctx, "SIGKILL"); err != nil {
		return err
	}
	select {
	case <-b.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop container box %q by force: %w", b.spec.ID, ctx.Err())
	}
}

// signal sends to the program of the box, which may have ended.
func (b *box) signal(ctx context.Context, name string) error {
	var p pause
	for {
		err := b.engine.call(ctx, func(ctx context.Context, api *client.Client) error {
			_, err := api.ContainerKill(ctx, b.container, client.ContainerKillOptions{Signal: name})
			return err
		})
		var away *UnreachableError
		switch {
		case err == nil, errdefs.IsNotFound(err), errdefs.IsConflict(err): // of those that don't run
			return nil
		case !errors.As(err, &away) && said(err):
			return fmt.Errorf("send %s to container box %q: %w", name, b.spec.ID, err)
		}
		select {
		case <-b.done:
			return nil
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("send %s to container box %q: %w", name, b.spec.ID, ctx.Err()), err)
		case <-p.timer():
		}
	}
}
