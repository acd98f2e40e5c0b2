package onnx

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"sightline/models"
	"sightline/models/onnxtest"
	"sightline/pipeline"
	"sightline/pipeline/pipelinetest"
)

const colours = "labels: [red, green, blue]\ncolor: rgb\nactivation: none\n"

func open1(t testing.TB, o Options) *Classifier {
	t.Helper()
	o.Threads = 1
	c, err := Open(started(t), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// plain is a frame of one colour.
func plain(c *Classifier, r, g, b byte) *pipeline.Frame {
	f := new(pipeline.FramePool).New(c.wish.Width, c.wish.Height)
	f.Color, f.Source = c.wish.Color, "test"
	for i := 0; i < len(f.Data); i += 3 {
		f.Data[i], f.Data[i+1], f.Data[i+2] = r, g, b
	}
	return f
}

// Every kind of input and output that classifiers have, with a model whose scores are the means of
// its channels: what comes out is what the card's formula makes of the picture's colour.
func TestInputsAndOutputs(t *testing.T) {
	const f32, f16, u8, i8 = models.Float32, models.Float16, models.Uint8, models.Int8
	d := func(dims ...int64) []int64 { return dims }
	tests := []struct {
		name      string
		in, out   models.DType
		inS, outS []int64
		extra     []int64
		card      string
		want      [3]float64 // of the colour 200, 100, 20
	}{
		{"float32 nchw", f32, f32, d(1, 3, 4, 6), d(1, 3), nil, "scale: 255\n", [3]float64{200 / 255., 100 / 255., 20 / 255.}},
		{"float32 nhwc with mean and std", f32, f32, d(1, 4, 6, 3), d(1, 3), nil, "scale: 1\nmean: [100, 100, 20]\nstd: [10, 1, 1]\n", [3]float64{10, 0, 0}},
		{"float16 in and out", f16, f16, d(1, 3, 4, 6), d(1, 3), nil, "scale: 256\n", [3]float64{200 / 256., 100 / 256., 20 / 256.}},
		{"float16, the output's shape not told", f16, f16, d(-1, 3, 4, 6), nil, nil, "scale: 256\n", [3]float64{200 / 256., 100 / 256., 20 / 256.}},
		{"float16, scores in 4 dimensions, open", f16, f16, d(-1, 3, 4, 6), d(-1, 3, -1, -1), d(2, 3), "scale: 256\n", [3]float64{200 / 256., 100 / 256., 20 / 256.}},
		{"uint8 in, quantised scores", u8, u8, d(1, 4, 6, 3), d(1, 3), nil, "", [3]float64{200 / 256., 100 / 256., 20 / 256.}},
		{"uint8 nchw, the card's scale of scores", u8, u8, d(1, 3, 4, 6), d(1, 3), nil, "output_scale: 0.1\noutput_zero_point: 50\n", [3]float64{15, 5, -3}},
		{"int8 in and out", i8, i8, d(1, 3, 4, 6), d(1, 3), nil, "", [3]float64{200 / 256., 100 / 256., 20 / 256.}},
		{"scores in 4 dimensions", f32, f32, d(1, 3, 4, 6), d(1, 3, 1, 1), d(2, 3), "scale: 1\n", [3]float64{200, 100, 20}},
		{"scores at the end of 4", f32, f32, d(1, 3, 4, 6), d(1, 1, 1, 3), d(1, 2), "scale: 1\n", [3]float64{200, 100, 20}},
		{"scores in 3 dimensions", f32, f32, d(1, 3, 4, 6), d(1, 1, 3), d(1), "scale: 1\n", [3]float64{200, 100, 20}},
		{"batch and size open", f32, f32, d(-1, 3, -1, -1), d(-1, 3), nil, "scale: 1\nwidth: 6\nheight: 4\n", [3]float64{200, 100, 20}},
		{"the output's shape not told", f32, f32, d(-1, 3, 4, 6), nil, nil, "scale: 1\n", [3]float64{200, 100, 20}},
		{"a fixed batch", f32, f32, d(4, 3, 4, 6), d(4, 3), nil, "scale: 1\n", [3]float64{200, 100, 20}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			file := onnxtest.Averages(test.in, test.inS, test.out, test.outS, test.extra...).File()
			c := open1(t, Options{Path: "averages", Bytes: file, Card: card(t, colours+test.card)})
			if c.wish.Width != 6 || c.wish.Height != 4 {
				t.Fatalf("wish is %+v", c.wish)
			}
			answers := make([]pipeline.Answer, 1)
			if err := c.Classify(t.Context(), []*pipeline.Frame{plain(c, 200, 100, 20)}, answers); err != nil {
				t.Fatal(err)
			}
			for i, p := range answers[0].Predictions {
				if want := test.want[i]; p.ClassID != i && want != 0 || math.Abs(float64(p.Confidence)-test.want[p.ClassID]) > 2e-3*max(1, math.Abs(want)) {
					t.Errorf("prediction %d is %+v, want %v", i, p, want)
				}
			}
		})
	}
}

// However frames are put together, every frame gets its own answer.
func TestBatches(t *testing.T) {
	for name, test := range map[string]struct {
		batch     int64
		options   int
		frames    int
		want      int // MaxBatch
		wantSteps int
	}{
		"open, in one run":            {-1, 5, 5, 5, 5},
		"open, fewer than can be":     {-1, 8, 3, 8, 8},
		"one by one":                  {1, 4, 4, 4, 1},
		"fixed, the last is not full": {4, 7, 7, 7, 4},
		"fixed, more than asked for":  {4, 0, 3, 4, 4},
		"open, nothing asked for":     {-1, 0, 1, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			file := onnxtest.Averages(models.Float32, []int64{test.batch, 3, 4, 6}, models.Float32, []int64{test.batch, 3}).File()
			c := open1(t, Options{Path: "averages", Bytes: file, Card: card(t, colours+"scale: 1\n"), Batch: test.options})
			if c.Info().MaxBatch != test.want || c.step != test.wantSteps {
				t.Fatalf("at most %d frames, %d in a run", c.Info().MaxBatch, c.step)
			}
			frames, answers := make([]*pipeline.Frame, test.frames), make([]pipeline.Answer, test.frames)
			for i := range frames {
				frames[i] = plain(c, byte(10*i+5), 1, 2)
			}
			if err := c.Classify(t.Context(), frames, answers); err != nil {
				t.Fatal(err)
			}
			for i, a := range answers {
				if got := a.Predictions[0]; got.Class != "red" || math.Abs(float64(got.Confidence)-float64(10*i+5)) > 1e-3 {
					t.Errorf("frame %d: %+v", i, got)
				}
			}
			if err := c.Classify(t.Context(), make([]*pipeline.Frame, test.want+1), make([]pipeline.Answer, test.want+1)); err == nil {
				t.Error("more frames than MaxBatch were taken")
			}
		})
	}
}

func TestARealModelInBatches(t *testing.T) {
	data := pipelinetest.TestData(t)
	m := photoModels[2]
	path := filepath.Join(data, "models", m.model+".onnx")
	text := "name: m\n" + m.card + labels(1001)
	one := open1(t, Options{Path: path, Card: card(t, text)})
	many := open1(t, Options{Path: path, Card: card(t, text), Batch: 3})
	var frames []*pipeline.Frame
	for _, photo := range []string{"coral_cat.bmp", "jetson_banana_0.jpg", "jetson_brown_bear.jpg"} {
		frames = append(frames, stretched(t, filepath.Join(data, "images", photo), one.Wish()))
	}
	together := make([]pipeline.Answer, 3)
	if err := many.Classify(t.Context(), frames, together); err != nil {
		t.Fatal(err)
	}
	for i, f := range frames {
		alone := make([]pipeline.Answer, 1)
		if err := one.Classify(t.Context(), []*pipeline.Frame{f}, alone); err != nil {
			t.Fatal(err)
		}
		a, b := alone[0].Predictions[0], together[i].Predictions[0]
		if a.ClassID != b.ClassID || math.Abs(float64(a.Confidence-b.Confidence)) > 0.01 {
			t.Errorf("frame %d: alone %+v, together %+v", i, a, b)
		}
	}
}

func TestFramesThatAreNotAsWished(t *testing.T) {
	file := onnxtest.Averages(models.Uint8, []int64{1, 4, 6, 3}, models.Uint8, []int64{1, 3}).File()
	c := open1(t, Options{Path: "averages", Bytes: file, Card: card(t, colours)})
	for name, spoil := range map[string]func(*pipeline.Frame){
		"width":  func(f *pipeline.Frame) { f.Width = 5 },
		"colour": func(f *pipeline.Frame) { f.Color = pipeline.BGR },
		"length": func(f *pipeline.Frame) { f.Data = f.Data[:10] },
	} {
		f := plain(c, 1, 2, 3)
		spoil(f)
		if err := c.Classify(t.Context(), []*pipeline.Frame{f}, make([]pipeline.Answer, 1)); err == nil || !strings.Contains(err.Error(), "wants 6×4 rgb") {
			t.Errorf("%s: %v", name, err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Classify(ended, []*pipeline.Frame{plain(c, 1, 2, 3)}, make([]pipeline.Answer, 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of its context: %v", err)
	}
}

// Scores that are no numbers name the class, the frame and the model.
func TestABrokenAnswer(t *testing.T) {
	g := onnxtest.Averages(models.Float32, []int64{1, 3, 4, 6}, models.Float32, []int64{1, 3})
	g.Nodes[len(g.Nodes)-1] = onnxtest.Node("Log", "means", "scores")
	c := open1(t, Options{Path: "log", Bytes: g.File(), Card: card(t, colours+"scale: 1\nmean: [1, 2, 1]\n")})
	err := c.Classify(t.Context(), []*pipeline.Frame{plain(c, 9, 1, 9)}, make([]pipeline.Answer, 1))
	if err == nil || !strings.Contains(err.Error(), "score of class 1 (green) is NaN") || !strings.Contains(err.Error(), `"test"`) {
		t.Errorf("error is %v", err)
	}
}

// Complaint 23 of the field: a second softmax makes every answer look alike.
func TestASecondSoftmaxIsRefused(t *testing.T) {
	data := pipelinetest.TestData(t)
	text := "color: bgr\nscale: 1\nactivation: softmax\n" + labels(1000)
	_, err := Open(started(t), Options{Path: filepath.Join(data, "models", "squeezenet1.1_fp32.onnx"), Card: card(t, text), Threads: 1})
	if err == nil || !strings.Contains(err.Error(), "card.yaml:3:13: activation: is softmax, but the model's scores already are probabilities") {
		t.Errorf("error is %v", err)
	}
}

func TestThePipelineFilesNumbersGoBeforeTheCards(t *testing.T) {
	file := onnxtest.Averages(models.Uint8, []int64{1, 4, 6, 3}, models.Uint8, []int64{1, 3}).File()
	mine := card(t, colours+"threshold: 0.1\ntop_k: 3\nname: averages\nversion: \"3\"\n")
	threshold, k := 0.9, 2
	region := pipeline.Region{Name: "left", Right: 0.5, Bottom: 1}
	c := open1(t, Options{Path: "file.onnx", Bytes: file, Card: mine, Threshold: &threshold, TopK: &k, Regions: []pipeline.Region{region}})
	answers := make([]pipeline.Answer, 1)
	if err := c.Classify(t.Context(), []*pipeline.Frame{plain(c, 200, 1, 1)}, answers); err != nil {
		t.Fatal(err)
	}
	if a := answers[0]; a.Top != -1 || len(a.Predictions) != 2 {
		t.Errorf("answer is %+v", a)
	}
	if w := c.Wish(); len(w.Regions) != 1 || w.Regions[0] != region {
		t.Errorf("wish is %+v", w)
	}
	if i := c.Info(); i.Name != "averages" || i.Version != "3" || i.Provider != "cpu" || len(i.Digest) != 7+64 {
		t.Errorf("info is %+v", i)
	}
	if c.Detail() != "1 thread" || mine.Threshold != 0.1 {
		t.Errorf("detail %q, the card's threshold %v", c.Detail(), mine.Threshold)
	}
}

// Several stages of one process classify at the same time, each with its own model.
func TestModelsSideBySide(t *testing.T) {
	file := onnxtest.Averages(models.Float32, []int64{-1, 3, 4, 6}, models.Float32, []int64{-1, 3}).File()
	var all sync.WaitGroup
	for n := range 4 {
		c := open1(t, Options{Path: fmt.Sprint("averages", n), Bytes: file, Card: card(t, colours+"scale: 1\n")})
		all.Go(func() {
			answers := make([]pipeline.Answer, 1)
			for i := range 50 {
				if err := c.Classify(context.Background(), []*pipeline.Frame{plain(c, byte(100+i), 1, 2)}, answers); err != nil {
					t.Error(err)
				} else if got := answers[0].Predictions[0].Confidence; math.Abs(float64(got)-float64(100+i)) > 1e-3 {
					t.Errorf("model %d, frame %d: %v", n, i, got)
				}
			}
		})
	}
	all.Wait()
}

func TestNothingIsAllocatedPerFrame(t *testing.T) {
	file := onnxtest.Averages(models.Float32, []int64{-1, 3, 40, 60}, models.Float32, []int64{-1, 3}).File()
	c := open1(t, Options{Path: "averages", Bytes: file, Card: card(t, colours+"scale: 1\n"), Batch: 2})
	frames := []*pipeline.Frame{plain(c, 1, 2, 3), plain(c, 3, 2, 1)}
	answers := make([]pipeline.Answer, 2)
	ctx := t.Context()
	n := testing.AllocsPerRun(20, func() {
		if err := c.Classify(ctx, frames, answers); err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations a call", n)
	}
}

func TestTheLibraryStaysWhileAModelIsOpen(t *testing.T) {
	r := started(t)
	file := onnxtest.Averages(models.Uint8, []int64{1, 4, 6, 3}, models.Uint8, []int64{1, 3}).File()
	c := open1(t, Options{Path: "averages", Bytes: file, Card: card(t, colours)})
	if err := r.Close(); err == nil || !strings.Contains(err.Error(), "models are open") {
		t.Fatalf("closing the runtime: %v", err)
	}
	if err := c.Classify(t.Context(), []*pipeline.Frame{plain(c, 1, 2, 3)}, make([]pipeline.Answer, 1)); err != nil {
		t.Error(err)
	}
	if _, err := Start(""); err == nil {
		t.Error("a second runtime was started")
	}
}

func BenchmarkClassify(b *testing.B) {
	data := pipelinetest.TestData(b)
	for _, m := range photoModels {
		if strings.Contains(m.labels, "synset") || strings.Contains(m.labels, "csv") {
			continue
		}
		b.Run(m.model, func(b *testing.B) {
			n := 1001
			if strings.HasPrefix(m.model, "squeezenet") {
				n = 1000
			}
			c := open1(b, Options{Path: filepath.Join(data, "models", m.model+".onnx"), Card: card(b, m.card+labels(n))})
			frames, answers := []*pipeline.Frame{plain(c, 90, 60, 30)}, make([]pipeline.Answer, 1)
			b.ReportAllocs()
			for b.Loop() {
				if err := c.Classify(context.Background(), frames, answers); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
