package publish

import (
	"context"
	"errors"
	"slices"
	"time"

	"sightline/pipeline"
)

// work opens the sink, delivers until stop closes and nothing is left, and closes the sink.
func (s *Stage) work(ctx context.Context, stop <-chan struct{}) (err error) {
	if err := s.open(ctx, stop); err != nil {
		return err
	}
	defer func() {
		if left := s.protect(func() error { return s.Sink.Close(ctx) }); left != nil {
			s.Env.Log.Warn("closing the sink", "err", left)
		}
		if err == nil || ctx.Err() != nil {
			s.report(pipeline.StateStopped, "")
		}
	}()
	for {
		if s.fill(); len(s.batch) > 0 {
			if err := s.deliver(ctx, stop); err != nil {
				return err
			}
			continue
		}
		select {
		case <-s.Input.Arrived():
		case <-stop:
			if s.fill(); len(s.batch) == 0 {
				return nil
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// open tries to open the sink until it does, or until the stage is to stop.
func (s *Stage) open(ctx context.Context, stop <-chan struct{}) error {
	env := s.Env
	env.Report = s.sinkReports
	s.sink.begin()
	for attempt := 1; ; attempt++ {
		err := s.protect(func() error { return s.Sink.Open(ctx, env) })
		if err == nil {
			s.opened()
			return nil
		}
		if p := (*panicError)(nil); errors.As(err, &p) { // it may be half open
			err = errors.Join(err, s.protect(func() error { return s.Sink.Close(ctx) }))
		}
		wait := s.RetryOpen.Wait(attempt)
		s.down(err)
		s.Env.Log.Error("sink does not open, trying again", "err", err, "wait", wait.Round(time.Millisecond))
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-stop:
			timer.Stop()
			return err
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

// fill makes up the next batch: statuses first, then the oldest results.
func (s *Stage) fill() {
	limit := batchLimit
	if s.singly > 0 {
		limit = 1
	}
	s.keep()
	s.batch = s.batch[:0]
	s.told = slices.Clone(s.statuses[:min(limit, len(s.statuses))]) // the sink may keep what it is given
	for i := range s.told {
		s.batch = append(s.batch, pipeline.Message{Status: &s.told[i]})
	}
	s.batch = s.Input.Peek(limit-len(s.batch), s.batch)
}

// deliver hands the batch to the sink once. An error ends the stage. Statuses by themselves do not hold
// up a stage that is to stop: they have one more try, for a moment.
func (s *Stage) deliver(ctx context.Context, stop <-chan struct{}) error {
	s.stamp(time.Now())
	trying := ctx
	if s.results() > 0 {
		stop = nil
	} else {
		var done context.CancelFunc
		trying, done = until(ctx, stop)
		defer done()
	}
	err := s.protect(func() error { return s.Sink.Deliver(trying, s.batch) })
	if err == nil {
		s.delivered()
		return nil
	}
	var panicked *panicError
	switch {
	case ctx.Err() != nil:
		s.Input.Ack(0)
		return ctx.Err()
	case errors.As(err, &panicked) || pipeline.IsPermanent(err):
		return s.unacceptable(err, panicked != nil)
	}
	s.Input.Ack(0)
	if trying.Err() == nil {
		s.down(err)
	}
	select {
	case <-stop:
		s.finish()
		s.keep()
		s.statuses = s.statuses[:0] // nobody is there to hear of them
		return nil
	default:
		return s.pause(ctx, stop)
	}
}

// until returns a context that ends with ctx, or a moment after stop is closed.
func until(ctx context.Context, stop <-chan struct{}) (context.Context, context.CancelFunc) {
	inner, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-stop:
			timer := time.AfterFunc(farewell, cancel)
			<-inner.Done()
			timer.Stop()
		case <-inner.Done():
		}
	}()
	return inner, cancel
}

// stamp notes when results are handed over for the first time.
func (s *Stage) stamp(now time.Time) {
	for i := range s.batch {
		r := s.batch[i].Result
		if r == nil || !r.Published.IsZero() {
			continue
		}
		r.Published = now
		r.Latency.Publish = now.Sub(r.Inferred).Seconds()
		s.meters.age(r.Source).Observe(max(0, now.Sub(r.Captured)))
	}
}

func (s *Stage) delivered() {
	s.finish()
	s.meters.taken.Add(uint64(s.results()))
	s.tries = 0
	s.up()
}

// unacceptable goes on one by one after a refused batch, and past a message that is refused alone.
func (s *Stage) unacceptable(err error, panicked bool) error {
	if len(s.batch) > 1 {
		s.Input.Ack(0)
		s.singly = len(s.batch)
		return nil
	}
	if m := s.batch[0]; m.Result != nil {
		s.refuse(m.Result.ID, err)
	} else if m.Event != nil {
		s.refuse(m.Event.ID, err)
	} else if n, now := s.unwelcome.Due(time.Now(), 1); now {
		s.Env.Log.Warn("status refused for good", "of", m.Status.Stage, "err", err, "since_last", n)
	}
	s.finish()
	if panicked {
		return err
	}
	return nil
}

// finish removes the batch from what is to be delivered. A status that came meanwhile stays.
func (s *Stage) finish() {
	s.statuses = slices.DeleteFunc(s.statuses, func(o pipeline.Status) bool { return slices.Contains(s.told, o) })
	s.Input.Ack(s.results())
	s.singly = max(0, s.singly-1)
}

// results counts the results and events of the batch.
func (s *Stage) results() int { return len(s.batch) - len(s.told) }

// pause waits before the next try, less when the sink says that it is connected or stop is closed.
func (s *Stage) pause(ctx context.Context, stop <-chan struct{}) error {
	s.tries++
	timer := time.NewTimer(s.Retry.Wait(s.tries))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-s.online:
		return nil
	case <-stop:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
