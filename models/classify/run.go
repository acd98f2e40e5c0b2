package classify

import (
	"context"
	"errors"
	"strconv"
	"time"

	"sightline/pipeline"
)

// run is what the stage needs from the model's opening to its closing.
type run struct {
	*Stage
	model   pipeline.Classifier
	info    pipeline.ModelInfo
	limit   int
	prefix  string // of the ids of results
	made    uint64 // results so far
	frames  []*pipeline.Frame
	answers []pipeline.Answer
	infer   pipeline.Histogram
	calls   pipeline.Counter
	sources map[string]*source
	missed  map[place]uint64 // pictures that no result will tell of yet

	usual time.Duration // smoothed time of an inference

	failures   int // in a row
	complained time.Time
	silent     int // failures since then
}

// source is the metrics of one source.
type source struct {
	drops    pipeline.Drops
	analysed pipeline.Counter
	results  pipeline.Counter
	queue    pipeline.Histogram
}

// place is where results come from one after the other.
type place struct{ source, region string }

func (r *run) source(name string) *source {
	if found, ok := r.sources[name]; ok {
		return found
	}
	stats, stage := r.Env.Stats, r.Env.Stage
	made := &source{
		drops:    stats.Drops(stage, name),
		analysed: stats.Counter(pipeline.FramesAnalysed, "stage", stage, "source", name, "provider", r.info.Provider),
		results:  stats.Counter(pipeline.ResultsMade, "stage", stage, "source", name, "provider", r.info.Provider),
		queue:    stats.Histogram(pipeline.QueueSeconds, "stage", stage, "source", name),
	}
	r.sources[name] = made
	return made
}

// take classifies the frames, sends the results, and gives the frames back.
func (r *run) take(ctx context.Context, frames []*pipeline.Frame) error {
	begin := time.Now()
	for _, f := range frames {
		if !f.Times.Decoded.IsZero() {
			r.source(f.Source).queue.Observe(begin.Sub(f.Times.Decoded))
		}
	}
	answers := r.answers[:len(frames)]
	if err := r.classify(ctx, frames, answers); err != nil {
		r.drop(frames, pipeline.DropFailed)
		return r.failed(ctx, err)
	}
	inferred := time.Now()
	r.failures = 0
	r.infer.Observe(inferred.Sub(begin))
	r.usual += (inferred.Sub(begin) - r.usual) / 8
	r.Inbox.Expect(r.usual)
	r.calls.Add(1)
	for i, f := range frames {
		r.source(f.Source).analysed.Add(1)
		result := r.result(f, answers[i], begin, inferred)
		f.Release()
		if err := r.send(ctx, result); err != nil {
			release(frames[i+1:])
			return err
		}
	}
	return nil
}

func (r *run) classify(ctx context.Context, frames []*pipeline.Frame, answers []pipeline.Answer) (err error) {
	defer recovered(&err, "classify")
	return r.model.Classify(ctx, frames, answers)
}

// drop gives frames back unanswered; the next result of the same place counts them.
func (r *run) drop(frames []*pipeline.Frame, why pipeline.Reason) {
	for _, f := range frames {
		r.source(f.Source).drops.Add(why, 1)
		r.missed[place{f.Source, f.Region}] += f.Dropped + 1
	}
	release(frames)
}

func release(frames []*pipeline.Frame) {
	for _, f := range frames {
		f.Release()
	}
}

// failed decides what becomes of an error: one that may pass is logged, at most once a second; one
// that stays, or a panic, ends the run.
func (r *run) failed(ctx context.Context, err error) error {
	var panicked *panicError
	r.failures++
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case r.failures >= tolerated || pipeline.IsPermanent(err) || errors.As(err, &panicked):
		return err
	case time.Since(r.complained) < time.Second:
		r.silent++
		return nil
	}
	r.Env.Log.Warn("frames are not classified", "err", err, "like_it_before", r.silent)
	r.complained, r.silent = time.Now(), 0
	return nil
}

// result is what the model said of a frame. It holds nothing of the frame or the answer.
func (r *run) result(f *pipeline.Frame, a pipeline.Answer, begin, inferred time.Time) *pipeline.Result {
	r.made++
	from := place{f.Source, f.Region}
	predictions := append(make([]pipeline.Prediction, 0, len(a.Predictions)), a.Predictions...) // never null in JSON
	out := &pipeline.Result{
		Schema: pipeline.SchemaVersion, ID: r.id(), Device: r.Env.Device,
		Source: f.Source, Region: f.Region, Stage: r.Env.Stage, Sequence: f.Sequence,
		Captured: f.Times.Captured, CaptureOrigin: f.Times.Origin, Received: f.Times.Received,
		Decoded: f.Times.Decoded, Inferred: inferred,
		Model: r.info, Provider: r.info.Provider, Predictions: predictions,
		Latency: latency(f.Times, begin, inferred), Dropped: f.Dropped + r.missed[from],
	}
	delete(r.missed, from)
	if a.Top == 0 && len(predictions) > 0 {
		out.Top = &predictions[0]
	}
	return out
}

// id is unique for ever: the run's random number, the stage, and the number of the result.
func (r *run) id() string {
	var room [128]byte
	return string(strconv.AppendUint(append(room[:0], r.prefix...), r.made, 10))
}

func latency(t pipeline.Times, begin, inferred time.Time) pipeline.Latency {
	l := pipeline.Latency{
		Decode: seconds(t.Received, t.Decoded), Queue: seconds(t.Decoded, begin), Infer: seconds(begin, inferred),
	}
	if t.Origin != pipeline.OriginArrival {
		l.Receive = seconds(t.Captured, t.Received)
	}
	return l
}

// seconds is 0 when a moment is unknown, or when the camera's clock is ahead of the host's.
func seconds(from, to time.Time) float64 {
	if from.IsZero() || to.IsZero() {
		return 0
	}
	return max(to.Sub(from), 0).Seconds()
}

// send hands the result to every output; it waits while one is full, because results are never
// dropped. Every output has a Result of its own, which its stage may complete; predictions are shared
// and not changed.
func (r *run) send(ctx context.Context, result *pipeline.Result) error {
	r.source(result.Source).results.Add(1)
	for i, link := range r.Outputs {
		mine := result
		if i < len(r.Outputs)-1 {
			copied := *result
			mine = &copied
		}
		if err := link.Send(ctx, mine); err != nil {
			return err
		}
	}
	return nil
}
