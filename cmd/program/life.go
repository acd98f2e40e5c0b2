package program

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"sightline/pipeline"
	"sightline/pipeline/wire"
)

// orphaned is how long a stage may take to end that is asked by a signal, which names no time, and how
// long one that failed waits for its supervisor to hear of it.
const orphaned = 10 * time.Second

// reserve is the part of a grace that is kept for handing over what is left and saying goodbye.
const reserve = 5

// life is a stage's from its configuration to its end.
type life struct {
	stage *wire.Stage
	stop  chan struct{}   // closed when it was asked to stop
	ctx   context.Context // ends when the work must end
	halt  context.CancelFunc
	asked <-chan struct{} // closed with the signal

	deadline time.Time // of everything; set before stop is closed
}

func newLife(asked context.Context, st *wire.Stage) *life {
	l := &life{stage: st, stop: make(chan struct{}), asked: asked.Done()}
	l.ctx, l.halt = context.WithCancel(context.Background())
	go l.await()
	return l
}

// await waits for being asked to stop, and then for the grace.
func (l *life) await() {
	grace := orphaned
	select {
	case <-l.stage.Stop():
		grace = l.stage.Grace()
	case <-l.asked:
	case <-l.ctx.Done():
		return
	}
	l.deadline = time.Now().Add(grace)
	close(l.stop)
	timer := time.NewTimer(grace - grace/reserve)
	defer timer.Stop()
	select {
	case <-timer.C:
		l.halt()
	case <-l.ctx.Done():
	}
}

func (l *life) end() { l.halt() }

// run makes the stage and runs it until it is stopped or fails. A panic is an error.
func (l *life) run(build func() (pipeline.Stage, error)) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	stage, err := build()
	if err != nil {
		return pipeline.Permanent(err)
	}
	if err := stage.Run(l.ctx, l.stop); err != nil {
		return err
	}
	select {
	case <-l.stop:
		return nil
	default:
		return errors.New("the stage ended without being asked to")
	}
}

// finish hands over what is left and tells the supervisor how the stage ended.
func (l *life) finish(err error) error {
	deadline := time.Now().Add(orphaned)
	select {
	case <-l.stop:
		deadline = l.deadline
	default:
	}
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	return l.stage.Finish(ctx, err)
}
