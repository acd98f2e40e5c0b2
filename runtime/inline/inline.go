// Package inline is the box that is none: it runs tasks in place, each in a goroutine of this
// process, starts them in order, starts again what ended, and stops them in reverse.
package inline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"
)

const (
	// steady is how long a run must last to make the failures before it forgotten.
	steady = time.Minute
	// stuck is how long a task may go on after its context has ended, before it is left behind.
	stuck = 2 * time.Second
)

// Task is one thing to run.
type Task struct {
	Name string
	// Run works until stop closes, then finishes what it took and returns nil; when ctx ends it
	// returns at once. Any other return is a failure and Run is called again after a wait.
	Run func(ctx context.Context, stop <-chan struct{}) error
	// Failed is called after each failure with the wait before the next start. May be nil.
	Failed func(err error, wait time.Duration)
}

// Runner runs tasks. Its fields are set before Run is called.
type Runner struct {
	Tasks []Task // in the order of starting
	// Delay says how long to wait before starting a task again, after this many failures in a row, the
	// last with err.
	Delay func(err error, failures int) time.Duration
	Grace time.Duration // how long all tasks together may take to stop; 0: 10 s
	Log   *slog.Logger
}

// Run starts the tasks and keeps them running until ctx ends; then it stops them, the last first,
// each when the one before it is done, and returns. What has not ended within Grace has its own
// context ended, and what does not end by that either, since it is stuck in a call of the system or of a
// device's library, is left behind. The error names the task that took too long; those behind it had no
// time left.
func (r *Runner) Run(ctx context.Context) error {
	hard, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	running := make([]*running, len(r.Tasks))
	for i, t := range r.Tasks {
		running[i] = r.start(hard, t)
	}
	<-ctx.Done()
	grace := r.Grace
	if grace <= 0 {
		grace = 10 * time.Second
	}
	timer := time.AfterFunc(grace, end)
	defer timer.Stop()
	left, giveUp := context.WithCancel(context.Background())
	defer giveUp()
	defer context.AfterFunc(hard, func() { time.AfterFunc(stuck, giveUp) })()
	var errs []error
	for i := len(running) - 1; i >= 0; i-- {
		t, over := running[i], hard.Err() != nil
		close(t.stop)
		select {
		case <-t.done:
		case <-left.Done():
		}
		if !over && hard.Err() != nil {
			errs = append(errs, fmt.Errorf("stop %s: not done within %s", r.Tasks[i].Name, grace))
		}
	}
	return errors.Join(errs...)
}

type running struct {
	stop chan struct{}
	done chan struct{}
}

func (r *Runner) start(ctx context.Context, t Task) *running {
	state := &running{stop: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(state.done)
		r.keep(ctx, t, state.stop)
	}()
	return state
}

// keep runs a task again and again until it is stopped.
func (r *Runner) keep(ctx context.Context, t Task, stop <-chan struct{}) {
	failures := 0
	for {
		began := time.Now()
		err := call(ctx, t, stop)
		if ctx.Err() != nil || stopped(stop) {
			return
		}
		if err == nil {
			err = errors.New("ended without being asked to")
		}
		if time.Since(began) >= steady {
			failures = 0
		}
		failures++
		wait := r.Delay(err, failures)
		r.Log.Error("stage ended, starting it again", "stage", t.Name, "err", err, "wait", wait.Round(time.Millisecond), "failures", failures)
		if t.Failed != nil {
			t.Failed(err, wait)
		}
		if !sleep(ctx, stop, wait) {
			return
		}
	}
}

// call runs a task once and turns a panic into an error, so that one stage cannot end the others.
func call(ctx context.Context, t Task, stop <-chan struct{}) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return t.Run(ctx, stop)
}

func stopped(stop <-chan struct{}) bool {
	select {
	case <-stop:
		return true
	default:
		return false
	}
}

func sleep(ctx context.Context, stop <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	case <-stop:
		return false
	}
}
