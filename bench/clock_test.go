package bench

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"sightline/pipeline"
	"sightline/sources/sim/clock"
)

const ms = time.Millisecond

func TestThePictureBehindACounter(t *testing.T) {
	s := Schedule{Begin: 10 * time.Second, FPS: 30, Lap: 120} // comes around every 4 s
	tests := []struct {
		name    string
		counter uint32
		at      time.Duration
		want    int64
		ok      bool
	}{
		{"the first picture, as it is taken", 0, 10 * time.Second, 0, true},
		{"the first picture, some time later", 0, 10*time.Second + 20*ms, 0, true},
		{"nothing was taken yet", 0, 9 * time.Second, 0, false},
		{"that one is still to come", 5, 10*time.Second + 100*ms, 0, false},
		{"the last of the first lap", 119, 10*time.Second + 3990*ms, 119, true},
		{"the first of the second lap", 0, 14*time.Second + 10*ms, 120, true},
		{"the last of the first lap, received in the second", 119, 14*time.Second + 10*ms, 119, true},
		{"a counter ahead of the lap is of the lap before", 50, 14*time.Second + 10*ms, 50, true},
		{"after many laps", 7, 10*time.Second + 4000*time.Second + 240*ms, 120007, true},
		{"no picture shows this", 120, 20 * time.Second, 0, false},
	}
	for _, test := range tests {
		got, ok := s.Number(test.counter, test.at)
		if ok != test.ok || ok && got != test.want {
			t.Errorf("%s: %d, %v; want %d, %v", test.name, got, ok, test.want, test.ok)
		}
	}
}

func TestEveryPictureIsFoundFromItsCounterUntilOneLapLater(t *testing.T) {
	for _, fps := range []int{1, 7, 25, 30, 60} {
		s := Schedule{Begin: 123456789, FPS: fps, Lap: int64(4 * fps)}
		lap := s.Taken(s.Lap) - s.Begin
		for n := range int64(20 * fps) {
			for _, age := range []time.Duration{0, 1, lap / 2, lap - ms} {
				if got, ok := s.Number(uint32(n%s.Lap), s.Taken(n)+age); !ok || got != n {
					t.Fatalf("%d fps: picture %d received after %v was taken for %d, %v", fps, n, age, got, ok)
				}
			}
		}
	}
}

// fake answers like a model.
type fake struct {
	wish  pipeline.Wish
	takes time.Duration
	calls int
	err   error
}

func (f *fake) Info() pipeline.ModelInfo { return pipeline.ModelInfo{Name: "fake", MaxBatch: 2} }
func (f *fake) Wish() pipeline.Wish      { return f.wish }
func (f *fake) Close() error             { return nil }
func (f *fake) Classify(_ context.Context, frames []*pipeline.Frame, answers []pipeline.Answer) error {
	f.calls++
	time.Sleep(f.takes)
	for i := range frames {
		answers[i].Predictions = append(answers[i].Predictions[:0], pipeline.Prediction{Class: "cat", Confidence: 0.9})
		answers[i].Top = 0
	}
	return f.err
}

func TestStampAddsTheClockOfEachFrame(t *testing.T) {
	model := &fake{wish: pipeline.Wish{Width: 96, Height: 84, Resize: pipeline.ResizeCrop, CropFraction: 0.875}}
	stamp, err := NewStamp(model, 0)
	if err != nil {
		t.Fatal(err)
	}
	if w := stamp.Wish(); w.Resize != pipeline.ResizeStandard || w.CropFraction != 0 || w.Width != 96 {
		t.Errorf("wishes %+v", w)
	}
	var pool pipeline.FramePool
	drawn, blank := pool.New(96, 84), pool.New(96, 84)
	clear(drawn.Data)
	clear(blank.Data)
	clock.DrawRGB(drawn.Data, 96, 84, 4711)
	answers := make([]pipeline.Answer, 2)
	if err := stamp.Classify(t.Context(), []*pipeline.Frame{drawn, blank}, answers); err != nil {
		t.Fatal(err)
	}
	if n, err := counterOf(answers[0].Predictions); err != nil || n != 4711 || len(answers[0].Predictions) != 2 || answers[0].Top != 0 {
		t.Errorf("answered %+v, clock %d, %v", answers[0], n, err)
	}
	if _, err := counterOf(answers[1].Predictions); !errors.Is(err, errNoClock) || len(answers[1].Predictions) != 1 {
		t.Errorf("answered %+v to a picture without clock, %v", answers[1], err)
	}
}

func TestStampRunsTheModelUntilItTookLongEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		model := &fake{wish: pipeline.Wish{Width: 96, Height: 84}, takes: 2 * ms}
		stamp, err := NewStamp(model, 5*ms)
		if err != nil {
			t.Fatal(err)
		}
		if err := stamp.Classify(t.Context(), nil, nil); err != nil {
			t.Fatal(err)
		}
		if model.calls != 3 {
			t.Errorf("ran %d times for 2 ms, want 3 times to fill 5 ms", model.calls)
		}
	})
}

func TestStampPassesFailuresOn(t *testing.T) {
	model := &fake{wish: pipeline.Wish{Width: 96, Height: 84}, err: errors.New("no")}
	stamp, err := NewStamp(model, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := stamp.Classify(t.Context(), nil, nil); !errors.Is(err, model.err) {
		t.Errorf("got %v", err)
	}
}

func TestAModelWhosePicturesAreTooSmallForTheClockIsRefused(t *testing.T) {
	if _, err := NewStamp(&fake{wish: pipeline.Wish{Width: 28, Height: 28}}, 0); err == nil {
		t.Error("28×28 was taken")
	}
}
