package answer

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"testing"

	"sightline/models"
	"sightline/pipeline"
)

var (
	nan      = float32(math.NaN())
	infinite = float32(math.Inf(1))
)

type want struct {
	class      string
	confidence float32
}

var table = []struct {
	name    string
	decoder Decoder
	scores  []float32
	want    []want
	top     int
}{
	{"softmax of logits: shares of e^x", Decoder{Activation: models.Softmax, TopK: 2, Background: -1},
		[]float32{0, float32(math.Log(2)), float32(math.Log(5))}, []want{{"c", 0.625}, {"b", 0.25}}, 0},
	{"softmax does not overflow", Decoder{Activation: models.Softmax, TopK: 3, Background: -1},
		[]float32{1e38, -1e38, 1e38}, []want{{"a", 0.5}, {"c", 0.5}, {"b", 0}}, 0},
	{"a masked logit has no share", Decoder{Activation: models.Softmax, TopK: 1, Background: -1},
		[]float32{-infinite, 3, -infinite}, []want{{"b", 1}}, 0},
	{"sigmoid: every class for itself", Decoder{Activation: models.Sigmoid, TopK: 3, Background: -1},
		[]float32{0, infinite, -infinite}, []want{{"b", 1}, {"a", 0.5}, {"c", 0}}, 0},
	{"none leaves raw scores", Decoder{Activation: models.None, TopK: 1, Background: -1},
		[]float32{-7, 12.5, 3}, []want{{"b", 12.5}}, 0},
	{"equal confidences in the order of classes", Decoder{Activation: models.None, TopK: 2, Background: -1},
		[]float32{0.3, 0.3, 0.3}, []want{{"a", 0.3}, {"b", 0.3}}, 0},
	{"below the threshold there is no top", Decoder{Activation: models.None, TopK: 1, Threshold: 0.6, Background: -1},
		[]float32{0.1, 0.5, 0.4}, []want{{"b", 0.5}}, -1},
	{"the threshold itself is enough", Decoder{Activation: models.None, TopK: 1, Threshold: 0.5, Background: -1},
		[]float32{0.1, 0.5, 0.4}, []want{{"b", 0.5}}, 0},
	{"the background is listed and never the top", Decoder{Activation: models.None, TopK: 2, Background: 1},
		[]float32{0.1, 0.5, 0.4}, []want{{"b", 0.5}, {"c", 0.4}}, -1},
	{"multilabel lists what reaches the threshold", Decoder{Activation: models.Sigmoid, Multilabel: true, TopK: 3, Threshold: 0.4, Background: -1},
		[]float32{3, -3, 0}, []want{{"a", 0.95257413}, {"c", 0.5}}, 0},
	{"multilabel leaves the background out", Decoder{Activation: models.None, Multilabel: true, TopK: 3, Threshold: 0.4, Background: 0},
		[]float32{0.9, 0.8, 0.1}, []want{{"b", 0.8}}, 0},
	{"multilabel may find nothing", Decoder{Activation: models.None, Multilabel: true, TopK: 3, Threshold: 0.4, Background: -1},
		[]float32{0.1, 0.1, 0.1}, nil, -1},
	{"more predictions than classes", Decoder{Activation: models.None, TopK: 9, Background: -1},
		[]float32{0.1, 0.2, 0.3}, []want{{"c", 0.3}, {"b", 0.2}, {"a", 0.1}}, 0},
}

func TestDecode(t *testing.T) {
	for _, test := range table {
		t.Run(test.name, func(t *testing.T) {
			d := test.decoder
			d.Labels = []string{"a", "b", "c"}
			a := pipeline.Answer{Predictions: []pipeline.Prediction{{Class: "old"}, {Class: "old"}}, Top: 7}
			if err := d.Decode(slices.Clone(test.scores), &a); err != nil {
				t.Fatal(err)
			}
			if a.Top != test.top || len(a.Predictions) != len(test.want) {
				t.Fatalf("got %+v, want %v with top %d", a, test.want, test.top)
			}
			for i, w := range test.want {
				p := a.Predictions[i]
				if p.Class != w.class || p.ClassID != int(w.class[0]-'a') || math.Abs(float64(p.Confidence-w.confidence)) > 1e-6 {
					t.Errorf("prediction %d: %+v, want %+v", i, p, w)
				}
			}
		})
	}
}

func TestScoresThatAreNoNumbers(t *testing.T) {
	tests := []struct {
		name       string
		activation models.Activation
		scores     []float32
		class      int
	}{
		{"NaN before softmax", models.Softmax, []float32{1, nan, 2}, 1},
		{"NaN before sigmoid", models.Sigmoid, []float32{1, 2, nan}, 2},
		{"NaN as it is", models.None, []float32{nan, nan, 2}, 0},
		{"an infinite logit", models.Softmax, []float32{1, infinite, 2}, 1},
		{"every logit masked", models.Softmax, []float32{-infinite, -infinite, -infinite}, 0},
		{"infinite as it is", models.None, []float32{1, 2, -infinite}, 2},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d := Decoder{Labels: []string{"a", "b", "c"}, Activation: test.activation, TopK: 2, Background: -1}
			a := pipeline.Answer{Predictions: []pipeline.Prediction{{}}}
			err := d.Decode(test.scores, &a)
			var score *ScoreError
			if !errors.As(err, &score) || score.Class != test.class || score.Label != d.Labels[test.class] {
				t.Errorf("error is %v, want one of class %d", err, test.class)
			}
			if len(a.Predictions) != 0 || a.Top != -1 {
				t.Errorf("the answer is %+v", a)
			}
		})
	}
}

func TestWrongNumberOfScores(t *testing.T) {
	d := Decoder{Labels: []string{"a"}, TopK: 1}
	if err := d.Decode([]float32{1, 2}, &pipeline.Answer{}); err == nil {
		t.Error("two scores for one label were taken")
	}
}

func TestBestOfManyIsTheSortedOnes(t *testing.T) {
	const classes = 1001
	scores, labels := make([]float32, classes), make([]string, classes)
	for i := range scores {
		scores[i] = float32((i*7919)%257) / 257 // many equal ones
	}
	order := make([]int, classes)
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case scores[a] > scores[b]:
			return -1
		case scores[a] < scores[b]:
			return 1
		}
		return 0
	})
	for _, k := range []int{1, 2, 5, 100, classes} {
		d := Decoder{Labels: labels, Activation: models.None, TopK: k, Background: -1}
		var a pipeline.Answer
		if err := d.Decode(slices.Clone(scores), &a); err != nil {
			t.Fatal(err)
		}
		for i, p := range a.Predictions {
			if p.ClassID != order[i] {
				t.Fatalf("best %d: number %d is class %d, want %d", k, i, p.ClassID, order[i])
			}
		}
	}
}

func TestNothingIsAllocated(t *testing.T) {
	d := Decoder{Labels: make([]string, 1000), Activation: models.Softmax, TopK: 5, Background: -1}
	scores, a := make([]float32, 1000), pipeline.Answer{Predictions: make([]pipeline.Prediction, 0, 5)}
	if n := testing.AllocsPerRun(10, func() { _ = d.Decode(scores, &a) }); n != 0 {
		t.Errorf("%v allocations an answer", n)
	}
}

// Whatever the scores are, there is an answer that keeps its promises or an error that names one.
func FuzzDecode(f *testing.F) {
	for i, row := range table {
		var bytes []byte
		for _, x := range row.scores {
			bytes = binary.LittleEndian.AppendUint32(bytes, math.Float32bits(x))
		}
		f.Add(bytes, byte(i), byte(row.decoder.TopK), float32(row.decoder.Threshold), row.decoder.Multilabel)
	}
	f.Add([]byte{0, 0, 0xc0, 0x7f}, byte(0), byte(1), float32(0), false)
	f.Fuzz(func(t *testing.T, bytes []byte, kind, k byte, threshold float32, multilabel bool) {
		scores := make([]float32, len(bytes)/4)
		for i := range scores {
			scores[i] = math.Float32frombits(binary.LittleEndian.Uint32(bytes[4*i:]))
		}
		if len(scores) == 0 {
			return
		}
		d := Decoder{
			Labels: make([]string, len(scores)), Multilabel: multilabel, TopK: int(k) + 1, Threshold: float64(threshold),
			Activation: []models.Activation{models.None, models.Softmax, models.Sigmoid}[kind%3], Background: int(kind) - 1,
		}
		checkAnswer(t, d, scores)
	})
}

func checkAnswer(t *testing.T, d Decoder, scores []float32) {
	var a pipeline.Answer
	if err := d.Decode(scores, &a); err != nil {
		var score *ScoreError
		if !errors.As(err, &score) {
			t.Fatalf("unexpected error: %v", err)
		}
		return
	}
	if len(a.Predictions) > min(d.TopK, len(scores)) || a.Top > 0 || a.Top >= len(a.Predictions) {
		t.Fatalf("answer %+v", a)
	}
	for i, p := range a.Predictions {
		c := float64(p.Confidence)
		if math.IsNaN(c) || math.IsInf(c, 0) || (d.Activation != models.None && (c < 0 || c > 1)) {
			t.Fatalf("confidence %v", c)
		}
		if i > 0 && p.Confidence > a.Predictions[i-1].Confidence {
			t.Fatalf("out of order: %+v", a.Predictions)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	d := Decoder{Labels: make([]string, 1000), Activation: models.Softmax, TopK: 5, Background: -1}
	logits, scores := make([]float32, 1000), make([]float32, 1000)
	for i := range logits {
		logits[i] = float32((i*7919)%257) / 20
	}
	a := pipeline.Answer{Predictions: make([]pipeline.Prediction, 0, 5)}
	b.ReportAllocs()
	for b.Loop() {
		copy(scores, logits)
		if err := d.Decode(scores, &a); err != nil {
			b.Fatal(err)
		}
	}
}
