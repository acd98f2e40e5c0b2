package bench

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"sightline/pipeline"
	"sightline/sources/decode"
	"sightline/sources/picture"
	"sightline/sources/scale"
)

// meter measures decode, scale and infer, one picture after another.
type meter struct {
	decode, scale, infer watch
	chain                []time.Duration
}

func (m *meter) add(other *meter) {
	m.decode.add(&other.decode)
	m.scale.add(&other.scale)
	m.infer.add(&other.infer)
	m.chain = append(m.chain, other.chain...)
}

// limits is a meter without pauses, and one at the cameras' pace.
type limits struct{ free, paced meter }

func (l *limits) limit() *Limit {
	m := &l.free
	return &Limit{
		Decode: m.decode.stage("decode"), Scale: m.scale.stage("scale"), Infer: m.infer.stage("infer"),
		Chain: quantiles(m.chain), Paced: quantiles(l.paced.chain),
	}
}

// warming is how many calls or pictures go before those that count.
const warming = 10

// run shows the recording to the three stages for some time, at least once around, and adds what
// they took. The pictures come at a pace, or without a pause when it is 0.
func (m *meter) run(ctx context.Context, r *Recording, c pipeline.Classifier, length, pace time.Duration) error {
	decoder, err := decode.Open(decode.Options{Codec: pipeline.H264})
	if err != nil {
		return err
	}
	defer decoder.Close()
	l := &line{classifier: c, wish: c.Wish(), decoder: decoder}
	defer l.scaler.Close()
	units := r.units()
	began := time.Now()
	err = cycle(ctx, length, len(units), func() { l.meter = meter{} }, func(n int) error {
		time.Sleep(time.Until(began.Add(time.Duration(n) * pace)))
		return l.one(ctx, units[n%len(units)], uint64(n+1))
	})
	if err != nil {
		return fmt.Errorf("measure decode, scale and infer: %w", err)
	}
	m.add(&l.meter)
	return nil
}

// cycle calls do with 0, 1, 2 …: some times to warm up, then fresh once, then do for a length of
// time and at least so many times.
func cycle(ctx context.Context, length time.Duration, least int, fresh func(), do func(n int) error) error {
	runtime.GC()
	var end time.Time
	for n := 0; n < warming+least || time.Now().Before(end); n++ {
		if n == warming {
			fresh()
			end = time.Now().Add(length)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := do(n); err != nil {
			return err
		}
	}
	return nil
}

// line is the three stages, one behind the other.
type line struct {
	meter      meter
	decoder    *decode.Decoder
	scaler     scale.Scaler
	classifier pipeline.Classifier
	wish       pipeline.Wish
	pool       pipeline.FramePool
	frames     [1]*pipeline.Frame
	answers    [1]pipeline.Answer
}

// one takes one unit through.
func (l *line) one(ctx context.Context, u *pipeline.Unit, sequence uint64) error {
	var took time.Duration
	var failed error
	pictures := 0
	l.meter.decode.start()
	err := l.decoder.Decode(u, sequence, func(p *picture.Picture) {
		took = l.meter.decode.stop()
		pictures++
		if failed == nil {
			failed = l.rest(ctx, p, &took)
		}
	})
	switch {
	case err != nil:
		return err
	case failed != nil:
		return failed
	case pictures != 1:
		return fmt.Errorf("the decoder gave %d pictures for one", pictures)
	}
	l.meter.chain = append(l.meter.chain, took)
	return nil
}

// rest scales and infers.
func (l *line) rest(ctx context.Context, p *picture.Picture, took *time.Duration) error {
	l.meter.scale.start()
	f := l.pool.New(l.wish.Width, l.wish.Height)
	defer f.Release()
	f.Color = l.wish.Color
	if err := l.scaler.Scale(p, &l.wish, pipeline.Whole, f.Data); err != nil {
		return err
	}
	*took += l.meter.scale.stop()
	l.meter.infer.start()
	l.frames[0] = f
	if err := l.classifier.Classify(ctx, l.frames[:], l.answers[:]); err != nil {
		return err
	}
	*took += l.meter.infer.stop()
	return nil
}
