// Package capture is the stage from a camera to frames: it receives encoded pictures, chooses and
// decodes some, and hands each consumer the frames it wished for.
//
//	source ──units──▶ queue ──▶ choose ─▶ decode ─▶ scale ──frames──▶ links
//
// Every unit received ends as frames, or in one count of sightline_frames_dropped_total.
package capture

import (
	"cmp"
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"sightline/pipeline"
	"sightline/sources"
)

// steady is how long pictures must have come over a connection to make the failures before it
// forgotten.
const steady = 10 * time.Second

// Stage is a capture stage. All fields are set before Run is called.
type Stage struct {
	Source pipeline.Source
	Config sources.Config
	Links  []*pipeline.FrameLink
	Env    pipeline.Env
	// Backoff says how long to wait before connecting again; zero: 500 ms to 30 s, so that a camera
	// that is back is soon seen.
	Backoff pipeline.Backoff

	sequence uint64 // of the unit received last; goes on when Run is called again
}

var _ pipeline.Stage = (*Stage)(nil)

// Run implements pipeline.Stage. Errors of the source are not among what it returns, unless they are
// permanent: it connects again by itself, for ever.
func (s *Stage) Run(ctx context.Context, stop <-chan struct{}) error {
	receiving, halt := context.WithCancel(ctx)
	defer halt()
	r := newRun(s)
	if s.Config.Patient() {
		r.queue.patience, r.worker.delivery.patience = receiving.Done(), receiving.Done()
	}
	r.status.set(pipeline.StateStarting, "")

	var working sync.WaitGroup
	var failed error
	worked := make(chan struct{})
	working.Go(func() {
		defer close(worked)
		if failed = s.guard(r.worker.run); failed != nil {
			halt()
		}
	})
	working.Go(func() {
		select {
		case <-stop:
			halt()
		case <-receiving.Done():
		}
	})
	finished := false // a finite source came to its end
	err := s.guard(func() (err error) {
		finished, err = r.receive(receiving)
		return err
	})
	r.queue.close(!finished)
	if finished {
		<-worked
		if failed == nil {
			r.status.set(pipeline.StateStopped, sources.Ended)
		}
		<-receiving.Done()
	}
	halt()
	working.Wait()
	r.up.Set(0)
	switch {
	case failed != nil:
		err = failed
	case err == nil:
		err = ctx.Err()
	}
	if err != nil {
		r.status.set(pipeline.StateOffline, pipeline.RedactText(err.Error()))
		return err
	}
	if !finished {
		r.status.set(pipeline.StateStopped, "")
	}
	return nil
}

// budget is how old a picture may be; 0: it is never too old.
func (s *Stage) budget() time.Duration {
	if s.Config.Patient() {
		return 0
	}
	return s.Config.Staleness
}

// guard turns a panic into an error, so that one stage's does not end the others.
func (s *Stage) guard(work func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("capture %s: panic: %v\n%s", s.Env.Stage, p, debug.Stack())
		}
	}()
	return work()
}

// run is what one call of Run works with.
type run struct {
	stage  *Stage
	queue  *queue
	worker *worker
	status *reporter
	pace   pace

	received, bytes, lost, reconnects pipeline.Counter
	up                                pipeline.Gauge

	connected time.Time // when the first unit came over this connection; zero: none yet
}

func newRun(s *Stage) *run {
	stats, labels := s.Env.Stats, []string{"stage", s.Env.Stage, "source", s.Env.Stage}
	r := &run{
		stage:      s,
		status:     newReporter(s.Env, s.Env.Stage),
		received:   stats.Counter(pipeline.FramesReceived, labels...),
		bytes:      stats.Counter(pipeline.BytesReceived, labels...),
		lost:       stats.Counter(pipeline.PacketsLost, labels...),
		reconnects: stats.Counter(pipeline.Reconnects, labels...),
		up:         stats.Gauge(pipeline.SourceUp, labels...),
	}
	drops := stats.Drops(s.Env.Stage, s.Env.Stage)
	r.queue = newQueue(drops)
	r.pace = newPace(s.Env, r.queue.over)
	r.worker = newWorker(s, r.queue, r.status, drops)
	return r
}

// receive connects again and again until ctx ends, the source is at its end, or fails for good.
func (r *run) receive(ctx context.Context) (finished bool, err error) {
	for attempt := 1; ; attempt++ {
		r.connected = time.Time{}
		back := pipeline.Back(r.stage.Env.Network)
		err = r.stage.Source.Receive(ctx, r.stage.Env, r.take)
		r.up.Set(0)
		switch {
		case over(ctx):
			return false, nil
		case err == nil:
			return true, nil
		case pipeline.IsPermanent(err):
			return false, fmt.Errorf("receive %s: %w", r.stage.Env.Stage, err)
		}
		if !r.connected.IsZero() && time.Since(r.connected) >= steady {
			attempt = 1
		}
		r.queue.interrupt()
		wait := r.backoff().Wait(attempt)
		r.status.failed(err, wait)
		if pause(ctx, wait, back) {
			attempt = 0
		}
		if over(ctx) {
			return false, nil
		}
		r.reconnects.Add(1)
	}
}

func (r *run) backoff() pipeline.Backoff {
	b := r.stage.Backoff
	b.Most = cmp.Or(b.Most, 30*time.Second)
	return b
}

func over(ctx context.Context) bool { return ctx.Err() != nil }

// pause waits, and tells whether it was cut short because the network is back.
func pause(ctx context.Context, d time.Duration, back <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	case <-back:
		return true
	}
	return false
}

// take is called by the source for every unit. It never waits.
func (r *run) take(u *pipeline.Unit) {
	if r.connected.IsZero() {
		r.connected = time.Now()
		r.up.Set(1)
		r.status.set(pipeline.StateOnline, "")
	}
	r.stage.sequence++
	r.received.Add(1)
	r.lost.Add(u.Lost)
	size := 0
	for _, n := range u.NALs {
		size += len(n)
	}
	r.bytes.Add(uint64(size))
	r.queue.put(u, r.stage.sequence)
	if reason, ended := r.pace.check(time.Now()); ended {
		r.status.keepsUp(reason)
	}
}
