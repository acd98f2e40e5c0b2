// Package publish is the publish stage: results come in, are queued, and go upstream through a sink.
//
//	link ─▶ spool ─▶ sink
//
// The spool stands between, so that whoever makes results never waits for the upstream.
package publish

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"sightline/pipeline"
	"sightline/sinks"
	"sightline/sinks/spool"
)

const (
	// batchLimit is the most messages that are delivered at once.
	batchLimit = 64
	// farewell is how long delivering nothing but statuses may hold up a stage that is to stop.
	farewell = time.Second
)

// Stage is a publish stage. Its fields are set before Run is called; what is queued outlives a Run
// that ended with an error.
type Stage struct {
	Input *pipeline.ResultLink
	Sink  pipeline.Sink
	Spool sinks.Spool
	Env   pipeline.Env
	// Retry is the wait between tries to deliver; zero: 250 ms to 5 s. A sink that reports that it is
	// connected again ends the wait.
	Retry pipeline.Backoff
	// RetryOpen is the wait between tries to open the sink; zero: 1 s to 1 min.
	RetryOpen pipeline.Backoff

	queue   spool.Queue
	arrived chan struct{} // something came to deliver
	online  chan struct{} // the sink says that it is connected
	meters  meters
	sink    sinkState
	refused complaint
	lost    complaint
	batch   []pipeline.Message
	tries   int // failed in a row
	// singly is how many messages are delivered one by one, to find the one that is refused for good.
	singly int

	mu       sync.Mutex
	statuses []*pipeline.Status // to deliver; of each stage and source the newest
}

var _ pipeline.Stage = (*Stage)(nil)

// panicError is a panic of a sink.
type panicError struct {
	value any
	stack []byte
}

func (p *panicError) Error() string { return fmt.Sprintf("panic: %v\n%s", p.value, p.stack) }

// Run queues and delivers until stop closes, then delivers what is left, closes the sink and returns.
// When ctx ends before all is delivered, it logs how many results are left. A sink that cannot be
// opened or reached is no error: results queue up, and the status says why. A sink that panics is: its
// message is refused, so that the next Run does not meet it again.
func (s *Stage) Run(ctx context.Context, stop <-chan struct{}) error {
	s.prepare()
	inner, cancel := context.WithCancelCause(ctx)
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		if err := s.protect(func() error { return s.take(inner, stop) }); err != nil {
			cancel(err)
		}
	}()
	err := s.protect(func() error { return s.work(inner, drained) })
	cancel(err)
	<-drained
	if n, bytes := s.queue.Size(); n > 0 {
		s.Env.Log.Warn("results are left that the upstream has not taken", "results", n, "bytes", bytes)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return context.Cause(inner) // whichever half failed first
	}
	return nil
}

func (s *Stage) prepare() {
	if s.queue != nil {
		return
	}
	s.arrived, s.online = make(chan struct{}, 1), make(chan struct{}, 1)
	s.meters = newMeters(s.Env.Stats, s.Env.Stage)
	s.queue = &spool.Memory{Config: s.Spool, Lost: s.lose}
	if s.Retry == (pipeline.Backoff{}) {
		s.Retry = pipeline.Backoff{Least: 250 * time.Millisecond, Most: 5 * time.Second}
	}
	if s.RetryOpen == (pipeline.Backoff{}) {
		s.RetryOpen = pipeline.Backoff{Least: time.Second, Most: time.Minute}
	}
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

// take moves what comes over the link into the queue, until the link is drained after stop.
func (s *Stage) take(ctx context.Context, stop <-chan struct{}) error {
	var messages []pipeline.Message
	for {
		var err error
		messages, err = s.Input.Receive(ctx, stop, batchLimit, messages[:0])
		for _, m := range messages {
			s.accept(m)
		}
		if len(messages) > 0 {
			s.meters.spooled(s.queue)
			wake(s.arrived)
		}
		switch {
		case errors.Is(err, pipeline.ErrClosed):
			return nil
		case err != nil:
			return err
		}
	}
}

func (s *Stage) accept(m pipeline.Message) {
	if m.Status != nil {
		s.keep(m.Status)
	}
	if m.Result == nil {
		return
	}
	if err := s.queue.Put(m.Result); err != nil {
		s.refuse(m.Result.ID, err)
	}
}

// keep replaces the status of the same stage and source that is not delivered yet.
func (s *Stage) keep(status *pipeline.Status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, o := range s.statuses {
		if o.Stage == status.Stage && o.Source == status.Source {
			s.statuses[i] = status
			return
		}
	}
	s.statuses = append(s.statuses, status)
}

// refuse counts a result that cannot be published at all.
func (s *Stage) refuse(id string, err error) {
	s.meters.refused.Add(1)
	if n, now := s.refused.due(time.Now(), 1); now {
		s.Env.Log.Warn("result refused for good", "id", id[:min(len(id), 128)], "err", err, "since_last", n)
	}
}

// lose is told of what the queue lets go.
func (s *Stage) lose(why spool.Loss, n int) {
	s.meters.lost[why].Add(uint64(n))
	if n, now := s.lost.due(time.Now(), n); now {
		s.Env.Log.Warn("results let go by the limits of the spool", "reason", string(why), "since_last", n)
	}
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
