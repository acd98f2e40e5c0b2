// Package classify is the classify stage: frames in, results out, with a model in between.
package classify

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"sightline/models"
	"sightline/pipeline"
)

// tolerated is how many inferences in a row may fail before the stage asks to be started again.
const tolerated = 10

// Stage classifies what comes into its inbox. Its fields are set before Run is called.
//
// Per frame it allocates the result alone, with its predictions and its id: results go on to sinks,
// which keep them for as long as their upstream takes.
type Stage struct {
	Env pipeline.Env
	// Open loads the model and warms it up. It is called once a run, from another goroutine.
	Open    func(ctx context.Context) (pipeline.Classifier, error)
	Inbox   *pipeline.Inbox
	Links   []*pipeline.FrameLink  // all that lead into the inbox
	Outputs []*pipeline.ResultLink // all get every result
	Batch   models.Batch
}

var _ pipeline.Stage = (*Stage)(nil)

// detailed is a classifier that says more of how it runs, for the operator.
type detailed interface{ Detail() string }

// Run implements pipeline.Stage.
func (s *Stage) Run(ctx context.Context, stop <-chan struct{}) error {
	s.report(pipeline.StateStarting, "loading the model", "")
	err := s.work(ctx, stop)
	switch {
	case err == nil:
		s.report(pipeline.StateStopped, "", "")
	case ctx.Err() == nil:
		s.report(pipeline.StateOffline, err.Error(), "")
	}
	return err
}

func (s *Stage) work(ctx context.Context, stop <-chan struct{}) error {
	model, err := s.open(ctx, stop)
	if model == nil {
		return err
	}
	defer func() {
		if err := model.Close(); err != nil {
			s.Env.Log.Warn("model is not freed", "err", err)
		}
	}()
	if closed(stop) {
		return nil
	}
	r, err := s.newRun(model)
	if err != nil {
		return err
	}
	wish := model.Wish()
	for _, link := range s.Links {
		link.Open(wish)
		defer link.Shut()
	}
	info := model.Info()
	active := s.Env.Stats.Gauge(pipeline.ProviderInfo, "stage", s.Env.Stage, "model", info.Name, "version", info.Version,
		"digest", info.Digest, "provider", info.Provider)
	active.Set(1)
	defer active.Set(0)
	s.report(pipeline.StateOnline, "", detail(model))
	return r.loop(ctx, stop)
}

func detail(model pipeline.Classifier) string {
	info := model.Info()
	text := info.Name + " on " + info.Provider
	if more, ok := model.(detailed); ok {
		text += ", " + more.Detail()
	}
	return text
}

// open loads the model in a goroutine of its own, because a library that builds an engine for
// minutes cannot be interrupted. When stop closes or ctx ends, there is no model, and the goroutine is
// left to free what it still loads.
func (s *Stage) open(ctx context.Context, stop <-chan struct{}) (pipeline.Classifier, error) {
	type opened struct {
		model pipeline.Classifier
		err   error
	}
	done, vain := make(chan opened), make(chan struct{})
	go func() {
		model, err := s.load(ctx)
		select {
		case done <- opened{model, err}:
		case <-vain:
			if err == nil {
				model.Close()
			}
		}
	}()
	select {
	case o := <-done:
		return o.model, o.err
	case <-stop:
		close(vain)
		return nil, nil
	case <-ctx.Done():
		close(vain)
		return nil, ctx.Err()
	}
}

func (s *Stage) load(ctx context.Context) (model pipeline.Classifier, err error) {
	defer recovered(&err, "load the model")
	if model, err = s.Open(ctx); err != nil {
		return nil, err // also where a typed nil came with the error
	}
	return model, nil
}

// recovered turns a panic into an error of what was being done.
func recovered(err *error, doing string) {
	if p := recover(); p != nil {
		*err = &panicError{fmt.Sprintf("%s: panic: %v\n%s", doing, p, debug.Stack())}
	}
}

type panicError struct{ text string }

func (e *panicError) Error() string { return e.text }

func (s *Stage) report(state pipeline.State, reason, detail string) {
	s.Env.Report(pipeline.Status{Stage: s.Env.Stage, State: state, Reason: reason, Since: time.Now(), Detail: detail})
}

func closed(stop <-chan struct{}) bool {
	select {
	case <-stop:
		return true
	default:
		return false
	}
}

func (s *Stage) newRun(model pipeline.Classifier) (*run, error) {
	var id [8]byte
	if _, err := rand.Read(id[:]); err != nil {
		return nil, fmt.Errorf("id of the run: %w", err)
	}
	stats, stage, info := s.Env.Stats, s.Env.Stage, model.Info()
	limit := min(max(s.Batch.Max, 1), info.MaxBatch)
	return &run{
		Stage: s, model: model, info: info, limit: limit,
		prefix:  hex.EncodeToString(id[:]) + "-" + stage + "-",
		frames:  make([]*pipeline.Frame, 0, limit),
		answers: make([]pipeline.Answer, limit),
		infer:   stats.Histogram(pipeline.InferSeconds, "stage", stage, "provider", info.Provider),
		calls:   stats.Counter(pipeline.BatchFrames, "stage", stage, "provider", info.Provider),
		sources: map[string]*source{},
		missed:  map[place]uint64{},
	}, nil
}

// loop takes, classifies and sends until it is stopped. What waited when stop closed is still
// classified; what a source sends after that is not.
func (r *run) loop(ctx context.Context, stop <-chan struct{}) error {
	var stopped time.Time
	for {
		frames, err := r.Inbox.Take(ctx, stop, r.limit, r.Batch.Wait, r.frames[:0])
		if errors.Is(err, pipeline.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		if stopped.IsZero() && closed(stop) {
			stopped = time.Now()
		}
		if !stopped.IsZero() && frames[0].Times.Decoded.After(stopped) {
			r.drop(frames, pipeline.DropStopping)
			return nil
		}
		if err := r.take(ctx, frames); err != nil {
			return err
		}
	}
}
