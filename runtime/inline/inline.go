// Package inline runs stages in place: boxes that are none, each a goroutine of the supervisor's own
// process.
package inline

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sightline/runtime/driver"
)

// Name is the driver's.
const Name = "inline"

// stuck is how long a run may go on after its context has ended, before it is left behind.
const stuck = 2 * time.Second

// mostStuck is how many runs of one stage may be left behind before no further one is started.
const mostStuck = 3

// Function is a stage in place. It works until stop closes, then finishes what it took and returns
// nil; when ctx ends it returns at once. Any other return is a failure.
type Function func(ctx context.Context, stop <-chan struct{}) error

// Driver runs stages in place, each in a goroutine of this process: boxes that are none. They have
// no wire, no limits and no closure, and end with the process.
type Driver struct {
	// Run returns what runs for a stage; nil for a stage that is not known. Each start asks anew.
	Run func(stage string) Function

	mu    sync.Mutex
	boxes map[string]*box // that run or are stuck, by ID
}

var (
	_ driver.Driver  = (*Driver)(nil)
	_ driver.Checker = (*Driver)(nil)
	_ driver.Box     = (*box)(nil)
)

// Name implements driver.Driver.
func (d *Driver) Name() string { return Name }

// InPlace says that boxes are in this process and have no socket.
func (d *Driver) InPlace() bool { return true }

// Probe implements driver.Driver.
func (d *Driver) Probe(context.Context) driver.Probe {
	return driver.Probe{Engine: "Go", Lacks: []string{
		"memory, files and network of its own: it is part of the supervisor's process",
		"an end by force: a run that is stuck in a call is left behind",
	}}
}

// Check implements driver.Checker.
func (d *Driver) Check(spec driver.Spec) error {
	if spec.Limits != (driver.Limits{}) {
		return &driver.RefusedError{Driver: Name, What: "limits", Why: "it shares the supervisor's process", Instead: "leave them out, or use in: process"}
	}
	if d.Run == nil || d.Run(spec.Stage) == nil {
		return &driver.RefusedError{Driver: Name, What: fmt.Sprintf("stage %q", spec.Stage), Why: "this program has no such stage"}
	}
	return nil
}

// Start implements driver.Driver.
func (d *Driver) Start(ctx context.Context, spec driver.Spec) (driver.Box, error) {
	if err := d.Check(spec); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("inline box %q: %w", spec.ID, err)
	}
	b := &box{id: spec.ID, stage: spec.Stage, stop: make(chan struct{}), done: make(chan struct{})}
	if err := d.add(b); err != nil {
		return nil, err
	}
	hard, end := context.WithCancel(context.WithoutCancel(ctx))
	b.end = end
	run := d.Run(spec.Stage)
	go func() {
		defer end()
		exit := exitOf(callFunction(hard, b.stop, run), b.asked.Load())
		d.remove(b) // first, as whoever sees it end may start the next by its ID
		b.ended(exit)
	}()
	return b, nil
}

// Recover implements driver.Driver. Only boxes of this process are there.
func (d *Driver) Recover(_ context.Context, spec driver.Spec) (driver.Box, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if b := d.boxes[spec.ID]; b != nil && !b.over() {
		return b, nil
	}
	return nil, driver.ErrGone
}

// Stuck returns how many runs of a stage were left behind and have not returned since.
func (d *Driver) Stuck(stage string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stuck(stage)
}

func (d *Driver) stuck(stage string) int {
	n := 0
	for _, b := range d.boxes {
		if b.stage == stage && b.over() {
			n++
		}
	}
	return n
}

func (d *Driver) add(b *box) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.boxes[b.id] != nil {
		return fmt.Errorf("inline box %q: a box with this ID exists", b.id)
	}
	if n := d.stuck(b.stage); n >= mostStuck {
		return fmt.Errorf("inline box %q: %d earlier runs of stage %q are stuck in calls that don't return; start the program anew, or use in: process", b.id, n, b.stage)
	}
	if d.boxes == nil {
		d.boxes = map[string]*box{}
	}
	d.boxes[b.id] = b
	return nil
}

func (d *Driver) remove(b *box) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.boxes, b.id)
}

// panicError is a panic of a stage.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v\n%s", e.value, e.stack) }

func callFunction(ctx context.Context, stop <-chan struct{}, run Function) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &panicError{p, debug.Stack()}
		}
	}()
	return run(ctx, stop)
}

// exitOf says how a run ended: as a program that returns the same would.
func exitOf(err error, asked bool) driver.Exit {
	var p *panicError
	switch {
	case errors.As(err, &p):
		return driver.Exit{Code: 2, Reason: strings.TrimSpace(p.Error())}
	case err != nil && !asked:
		return driver.Exit{Code: 1, Reason: err.Error()}
	case err != nil:
		return driver.Exit{Code: 1, Reason: "asked to stop: " + err.Error()}
	}
	return driver.Exit{}
}

// box is one run of a stage.
type box struct {
	id, stage string
	asked     atomic.Bool
	stop      chan struct{} // closed when asked is set
	end       context.CancelFunc

	once sync.Once
	done chan struct{}
	exit driver.Exit // before done is closed
}

// ended sets how the box ended; the first one counts.
func (b *box) ended(exit driver.Exit) {
	b.once.Do(func() {
		b.exit = exit
		close(b.done)
	})
}

func (b *box) over() bool {
	select {
	case <-b.done:
		return true
	default:
		return false
	}
}

// ID implements driver.Box.
func (b *box) ID() string { return b.id }

// Done implements driver.Box. It is also closed when the run is stuck and was left behind.
func (b *box) Done() <-chan struct{} { return b.done }

// Exit implements driver.Box.
func (b *box) Exit() driver.Exit {
	<-b.done
	return b.exit
}

// Stop implements driver.Box. What does not return within grace has its context ended, and what does
// not return by that either, as it is stuck in a call, is left behind.
func (b *box) Stop(ctx context.Context, grace time.Duration) error {
	if b.asked.CompareAndSwap(false, true) {
		close(b.stop)
	}
	if b.wait(ctx, grace) {
		return nil
	}
	if ctx.Err() == nil {
		b.end()
		if b.wait(ctx, stuck) {
			return nil
		}
	}
	if ctx.Err() != nil {
		return fmt.Errorf("stop inline box %q: %w", b.id, ctx.Err())
	}
	b.ended(driver.Exit{Code: -1, Reason: fmt.Sprintf("left behind: stage %q doesn't return", b.stage)})
	return nil
}

func (b *box) wait(ctx context.Context, d time.Duration) (done bool) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-b.done:
		return true
	case <-ctx.Done():
	case <-timer.C:
	}
	return b.over()
}
