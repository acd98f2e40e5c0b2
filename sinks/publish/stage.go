// Package publish is the publish stage: what waits in its intake goes upstream through a sink.
//
//	intake ─▶ sink
//
// The intake is a durable queue, in the supervisor: a result stays in it until the upstream has it.
package publish

import (
	"cmp"
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"sightline/pipeline"
)

const (
	// batchLimit is the most messages that are delivered at once.
	batchLimit = 64
	// farewell is how long delivering nothing but statuses may hold up a stage that is to stop.
	farewell = time.Second
)

// Stage is a publish stage. Its fields are set before Run is called.
type Stage struct {
	Input pipeline.Intake
	Sink  pipeline.Sink
	Env   pipeline.Env
	// Retry is the wait between tries to deliver; zero: 250 ms to 5 s. A sink that reports that it is
	// connected again ends the wait.
	Retry pipeline.Backoff
	// RetryOpen is the wait between tries to open the sink; zero: 1 s to 1 min.
	RetryOpen pipeline.Backoff

	online             chan struct{} // the sink says that it is connected
	meters             meters
	sink               sinkState
	refused, unwelcome pipeline.Seldom // results and events; statuses
	batch              []pipeline.Message
	tries              int // failed in a row
	// singly is how many messages are delivered one by one, to find the one that is refused for good.
	singly   int
	statuses []pipeline.Status // to deliver; of each stage and source the newest
	told     []pipeline.Status // those in the batch
}

var _ pipeline.Stage = (*Stage)(nil)

// panicError is a panic of a sink.
type panicError struct {
	value any
	stack []byte
}

func (p *panicError) Error() string { return fmt.Sprintf("panic: %v\n%s", p.value, p.stack) }

// Run delivers until stop closes, then delivers what is left, closes the sink and returns. When ctx
// ends before all is delivered, the rest stays in the intake. A sink that cannot be opened or reached is
// no error: results wait, and the status says why. A sink that panics is: its message is refused, so
// that the next Run does not meet it again.
func (s *Stage) Run(ctx context.Context, stop <-chan struct{}) error {
	s.prepare()
	err := s.protect(func() error { return s.work(ctx, stop) })
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

func (s *Stage) prepare() {
	if s.online != nil {
		return
	}
	s.online = make(chan struct{}, 1)
	s.meters = newMeters(s.Env.Stats, s.Env.Stage)
	s.Retry = cmp.Or(s.Retry, pipeline.Backoff{Least: 250 * time.Millisecond, Most: 5 * time.Second})
	s.RetryOpen = cmp.Or(s.RetryOpen, pipeline.Backoff{Least: time.Second, Most: time.Minute})
}

// protect calls f and turns a panic into an error.
func (s *Stage) protect(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &panicError{p, debug.Stack()}
		}
	}()
	return f()
}

// keep takes the statuses that came; each replaces the one of the same stage and source that is not
// delivered yet.
func (s *Stage) keep() {
	for _, status := range s.Input.Statuses(nil) {
		if i := slices.IndexFunc(s.statuses, func(o pipeline.Status) bool { return same(o, status) }); i >= 0 {
			s.statuses[i] = status
			continue
		}
		s.statuses = append(s.statuses, status)
	}
}

func same(a, b pipeline.Status) bool { return a.Stage == b.Stage && a.Source == b.Source }

// refuse counts a result that cannot be published at all.
func (s *Stage) refuse(id string, err error) {
	s.meters.refused.Add(1)
	if n, now := s.refused.Due(time.Now(), 1); now {
		s.Env.Log.Warn("result refused for good", "id", id[:min(len(id), 128)], "err", err, "since_last", n)
	}
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
