package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"sightline/pipeline"
	"sightline/sources/sim/clock"
)

// now reads the machine's monotonic clock, which all its processes share and nobody sets.
func now() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		panic(fmt.Sprintf("bench: read the monotonic clock: %v", err)) // Linux always has it
	}
	return time.Duration(t.Nano())
}

// Schedule says when one camera takes its pictures: picture n at Begin + n/FPS, on the machine's
// monotonic clock. Its pictures come around again after Lap of them, and the clock in them with them.
type Schedule struct {
	Begin time.Duration `json:"begin_ns"`
	FPS   int           `json:"fps"`
	Lap   int64         `json:"lap"`
}

// Taken is when picture n is taken.
func (s Schedule) Taken(n int64) time.Duration {
	whole, rest := n/int64(s.FPS), n%int64(s.FPS)
	return s.Begin + time.Duration(whole)*time.Second + time.Duration(rest)*time.Second/time.Duration(s.FPS)
}

// Number is the number of the picture that shows counter: the latest with that counter that was
// taken by the time at. It is false when none was, or no picture shows such a counter.
//
// So an age is known modulo the time of one lap.
func (s Schedule) Number(counter uint32, at time.Duration) (int64, bool) {
	if s.FPS <= 0 || int64(counter) >= s.Lap || at < s.Begin {
		return 0, false
	}
	latest := s.latest(at)
	n := latest - (latest-int64(counter)+s.Lap)%s.Lap
	return n, n >= 0
}

// latest is the number of the newest picture taken by a time, which is not before Begin.
func (s Schedule) latest(at time.Duration) int64 {
	whole, rest := (at-s.Begin)/time.Second, (at-s.Begin)%time.Second
	n := int64(whole)*int64(s.FPS) + int64(rest)*int64(s.FPS)/int64(time.Second)
	for s.Taken(n+1) <= at { // Taken rounds down
		n++
	}
	return n
}

// clockClass names the prediction that carries the clock.
const clockClass = "clock"

// Stamp is a classifier that also reads the clock in the pictures: each answer gets one prediction
// more, the last, of class "clock", whose ClassID is the counter; none when it cannot be read.
//
// It asks for the whole picture, stretched to the model's size, whatever the card says, because
// anything else might cut the clock off.
type Stamp struct {
	pipeline.Classifier
	// Least is how long one call of Classify takes at least. The model is run again and again until
	// then, as if it were so much larger.
	Least time.Duration
}

var _ pipeline.Classifier = (*Stamp)(nil)

// NewStamp wraps a classifier, which is refused when its pictures are too small for the clock.
func NewStamp(c pipeline.Classifier, least time.Duration) (*Stamp, error) {
	w := c.Wish()
	if w.Width < clock.MinWidth || w.Height < clock.MinHeight {
		return nil, fmt.Errorf("measure the model %q: its pictures of %d×%d are too small for the clock, which needs %d×%d",
			c.Info().Name, w.Width, w.Height, clock.MinWidth, clock.MinHeight)
	}
	return &Stamp{Classifier: c, Least: least}, nil
}

// Detail says what the model says of how it runs; empty when it says nothing.
func (s *Stamp) Detail() string {
	if c, ok := s.Classifier.(interface{ Detail() string }); ok {
		return c.Detail()
	}
	return ""
}

// Wish implements pipeline.Classifier.
func (s *Stamp) Wish() pipeline.Wish { return stretched(s.Classifier.Wish()) }

func stretched(w pipeline.Wish) pipeline.Wish {
	w.Resize, w.CropFraction, w.Regions = pipeline.ResizeStandard, 0, nil
	return w
}

// Classify implements pipeline.Classifier.
func (s *Stamp) Classify(ctx context.Context, frames []*pipeline.Frame, answers []pipeline.Answer) error {
	began := time.Now()
	for {
		if err := s.Classifier.Classify(ctx, frames, answers); err != nil {
			return err
		}
		if time.Since(began) >= s.Least {
			break
		}
	}
	for i, f := range frames {
		if counter, ok := clock.Read(f.Data, f.Width, f.Height); ok {
			answers[i].Predictions = append(answers[i].Predictions, pipeline.Prediction{Class: clockClass, ClassID: int(counter), Confidence: 1})
		}
	}
	return nil
}

var errNoClock = errors.New("the result carries no clock")

// counterOf finds the clock among the predictions of a result.
func counterOf(predictions []pipeline.Prediction) (uint32, error) {
	if len(predictions) == 0 || predictions[len(predictions)-1].Class != clockClass {
		return 0, errNoClock
	}
	return uint32(predictions[len(predictions)-1].ClassID), nil
}
