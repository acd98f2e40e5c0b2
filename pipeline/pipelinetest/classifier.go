package pipelinetest

import (
	"context"
	"math"
	"strings"
	"testing"

	"sightline/pipeline"
)

// ClassifierSuite holds a classifier to the contract of pipeline.Classifier. open makes one of its
// own, for each test.
func ClassifierSuite(t *testing.T, open func(t *testing.T) pipeline.Classifier) {
	for _, c := range []struct {
		name string
		test func(*testing.T, pipeline.Classifier)
	}{
		{"it says what it is and what it wants", classifierIntroducesItself},
		{"every frame has its answer, best first, in batches of any size", classifierAnswers},
		{"the same frame has the same answer, alone or beside others", classifierIsSteady},
		{"a frame that it did not wish for is an error", classifierRefusesFrames},
		{"more frames than the largest batch are an error", classifierRefusesBatches},
		{"nothing is done once the context has ended", classifierHeedsContext},
		{"answers are reused without allocating", classifierReuses},
	} {
		t.Run(c.name, func(t *testing.T) {
			classifier := open(t)
			defer func() {
				if err := classifier.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			}()
			c.test(t, classifier)
		})
	}
}

func classifierIntroducesItself(t *testing.T, c pipeline.Classifier) {
	info, wish := c.Info(), c.Wish()
	if info.Name == "" || info.Provider == "" || !strings.HasPrefix(info.Digest, "sha256:") || len(info.Digest) != len("sha256:")+64 {
		t.Errorf("info %+v", info)
	}
	if wish.Width < 1 || wish.Height < 1 || wish.Color != pipeline.RGB && wish.Color != pipeline.BGR || wish.Resize == "" {
		t.Errorf("wish %+v", wish)
	}
	if c.Info().MaxBatch < 1 {
		t.Errorf("largest batch %d", c.Info().MaxBatch)
	}
}

// frames makes n frames as the classifier wishes, each with other content.
func frames(c pipeline.Classifier, n int) []*pipeline.Frame {
	var pool pipeline.FramePool
	list := make([]*pipeline.Frame, n)
	for i := range list {
		f := pool.New(c.Wish().Width, c.Wish().Height)
		f.Source, f.Sequence, f.Color = "gate", uint64(i+1), c.Wish().Color
		for j := range f.Data {
			f.Data[j] = byte(j*(i+3) + i*41)
		}
		list[i] = f
	}
	return list
}

func classifierAnswers(t *testing.T, c pipeline.Classifier) {
	for n := 1; n <= c.Info().MaxBatch; n++ {
		answers := make([]pipeline.Answer, n)
		if err := c.Classify(t.Context(), frames(c, n), answers); err != nil {
			t.Fatalf("%d frames: %v", n, err)
		}
		for i, a := range answers {
			if len(a.Predictions) == 0 || a.Top != 0 && a.Top != -1 {
				t.Fatalf("answer %d of %d: %+v", i, n, a)
			}
			for j, p := range a.Predictions {
				if p.Class == "" || p.ClassID < 0 || math.IsNaN(float64(p.Confidence)) || j > 0 && p.Confidence > a.Predictions[j-1].Confidence {
					t.Errorf("prediction %d of answer %d of %d: %+v", j, i, n, a.Predictions)
				}
			}
		}
	}
}

func classifierIsSteady(t *testing.T, c pipeline.Classifier) {
	list := frames(c, c.Info().MaxBatch)
	together, alone := make([]pipeline.Answer, len(list)), make([]pipeline.Answer, 1)
	if err := c.Classify(t.Context(), list, together); err != nil {
		t.Fatal(err)
	}
	for i, f := range list {
		if err := c.Classify(t.Context(), []*pipeline.Frame{f}, alone); err != nil {
			t.Fatal(err)
		}
		for j, p := range alone[0].Predictions {
			if d := math.Abs(float64(p.Confidence - together[i].Predictions[j].Confidence)); d > 1e-3 {
				t.Errorf("frame %d: %+v alone, %+v beside others", i, alone[0].Predictions, together[i].Predictions)
			}
		}
	}
}

func classifierRefusesFrames(t *testing.T, c pipeline.Classifier) {
	wrong := (&pipeline.FramePool{}).New(c.Wish().Width+1, c.Wish().Height)
	wrong.Color = c.Wish().Color
	if err := c.Classify(t.Context(), []*pipeline.Frame{wrong}, make([]pipeline.Answer, 1)); err == nil {
		t.Error("took a frame of another size")
	}
	swapped := frames(c, 1)
	swapped[0].Color = map[pipeline.Color]pipeline.Color{pipeline.RGB: pipeline.BGR, pipeline.BGR: pipeline.RGB}[c.Wish().Color]
	if err := c.Classify(t.Context(), swapped, make([]pipeline.Answer, 1)); err == nil {
		t.Error("took a frame with red and blue swapped")
	}
}

func classifierRefusesBatches(t *testing.T, c pipeline.Classifier) {
	n := c.Info().MaxBatch + 1
	if err := c.Classify(t.Context(), frames(c, n), make([]pipeline.Answer, n)); err == nil {
		t.Errorf("took %d frames at once", n)
	}
}

func classifierHeedsContext(t *testing.T, c pipeline.Classifier) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Classify(ctx, frames(c, 1), make([]pipeline.Answer, 1)); err == nil {
		t.Error("classified though the context had ended")
	}
}

func classifierReuses(t *testing.T, c pipeline.Classifier) {
	list, answers := frames(c, c.Info().MaxBatch), make([]pipeline.Answer, c.Info().MaxBatch)
	ctx := context.Background()
	if n := testing.AllocsPerRun(10, func() {
		if err := c.Classify(ctx, list, answers); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a call, want none", n)
	}
}
