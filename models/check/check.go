// Package check tells whether a model and its card answer as they should, and when they do not, what is likely wrong
// with the card: it runs the model as a pipeline does, and then with the alternatives that people confuse.
package check

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"sightline/configs/strict"
	"sightline/models"
	"sightline/models/answer"
	"sightline/models/onnx"
	"sightline/pipeline"
)

// Picture is one picture, and what is expected of it.
type Picture struct {
	Name string
	// Frame returns the picture as a model wishes it, Width×Height×3 bytes, just as a pipeline brings a camera's
	// picture to it.
	Frame    func(pipeline.Wish) ([]byte, error)
	Expected *Expected // nil: nothing is known
}

// Checker checks one model. ONNX Runtime must be started.
type Checker struct {
	Runtime  *onnx.Runtime
	File     models.File
	Card     *models.Card // fits the model's file
	Provider onnx.Provider
	GPU      int
	Threads  int
	CacheDir string
	Top      int                                // predictions to report of each picture; 0: 5
	Progress func(done, total int, what string) // nil: none
}

// Report is what a check found.
type Report struct {
	Model    string    `json:"model"`
	Digest   string    `json:"digest"`
	Provider string    `json:"provider"`
	Refused  string    `json:"refused,omitempty"` // why a pipeline would refuse the model and its card
	Pictures []Seen    `json:"pictures"`
	Judged   int       `json:"judged"` // pictures of which something is expected
	Right    int       `json:"right"`  // those that are as expected
	Findings []Finding `json:"findings,omitempty"`
}

// Seen is what the model says of one picture.
type Seen struct {
	Name        string                `json:"name"`
	Predictions []pipeline.Prediction `json:"predictions"`
	Error       string                `json:"error,omitempty"` // why there are none
	Expected    []string              `json:"expected,omitempty"`
	Place       int                   `json:"place,omitempty"` // of the best expected class, from 1
	Right       bool                  `json:"right"`
	Problem     string                `json:"problem,omitempty"` // what is not as expected
}

// OK tells whether a pipeline would take the model, every judged picture is as expected, and nothing certain was found.
func (r *Report) OK() bool {
	certain := slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Certain })
	return r.Refused == "" && r.Right == r.Judged && !certain
}

// Run looks at the pictures with the card as it is, and, when something is not as it should be, with the alternatives.
func (c *Checker) Run(ctx context.Context, pictures []Picture) (*Report, error) {
	base, err := c.scores(ctx, *c.Card, pictures)
	if err != nil {
		return c.otherwise(ctx, err, pictures)
	}
	wants, err := resolve(base.labels, pictures)
	if err != nil {
		return nil, err
	}
	r := &Report{Model: cmp.Or(c.Card.Name, c.File.Name()), Digest: "sha256:" + c.File.SHA256, Provider: base.provider, Refused: base.refused}
	for i, p := range pictures {
		r.Pictures = append(r.Pictures, c.see(p, base, i, wants[i]))
		if wants[i] == nil {
			continue
		}
		if r.Judged++; r.Pictures[i].Right {
			r.Right++
		}
	}
	d := diagnosis{Checker: c, pictures: pictures, wants: wants, base: base}
	r.Findings, err = d.run(ctx)
	return r, err
}

// otherwise looks whether a model that does not run with its card runs with the other layout.
func (c *Checker) otherwise(ctx context.Context, refused error, pictures []Picture) (*Report, error) {
	if c.Card.Layout == "" || ctx.Err() != nil {
		return nil, refused
	}
	now := inputOf(c.Card)
	want := now
	want.layout = otherLayout(now.layout)
	v, err := c.scores(ctx, want.on(*c.Card), pictures)
	if err != nil {
		return nil, refused
	}
	d := diagnosis{Checker: c}
	r := &Report{Model: cmp.Or(c.Card.Name, c.File.Name()), Digest: "sha256:" + c.File.SHA256, Provider: v.provider, Refused: refused.Error()}
	r.Findings = []Finding{d.describe(alternative{input: want, verdict: verdict{judged: 1, right: 1}}, verdict{judged: 1})}
	return r, nil
}

// view is what a model says of all pictures before any activation.
type view struct {
	labels   []string
	scores   [][]float32 // of each picture; nil where it gave numbers that cannot be used
	failures []error     // of each picture, why scores are nil
	provider string
	refused  string
}

// scores runs the model with a card as a pipeline would, but for the activation: it is applied afterwards, so that what
// it does can be told from what the model does.
func (c *Checker) scores(ctx context.Context, card models.Card, pictures []Picture) (*view, error) {
	v := &view{}
	if card.Activation == models.Softmax { // Open tries it, and refuses a second one
		if whole, err := c.open(card); err != nil {
			v.refused = err.Error()
		} else if err := whole.Close(); err != nil {
			return nil, err
		}
	}
	card.Activation, card.Multilabel, card.TopK, card.Threshold = models.None, false, maxClasses, 0
	model, err := c.open(card)
	if err != nil {
		return nil, err
	}
	v.provider = model.Info().Provider
	err = v.read(ctx, model, pictures)
	return v, errors.Join(err, model.Close())
}

// maxClasses is more than any model has: every class is listed.
const maxClasses = 1 << 24

func (c *Checker) open(card models.Card) (*onnx.Classifier, error) {
	return onnx.Open(c.Runtime, onnx.Options{
		Path: c.File.Path, Bytes: c.File.Bytes, Card: &card, Provider: cmp.Or(c.Provider, onnx.CPU), GPU: c.GPU,
		Threads: c.Threads, CacheDir: c.CacheDir,
	})
}

func (v *view) read(ctx context.Context, model *onnx.Classifier, pictures []Picture) error {
	wish := model.Wish()
	for _, p := range pictures {
		data, err := p.Frame(wish)
		if err != nil {
			return fmt.Errorf("picture %q: %w", p.Name, err)
		}
		frame := &pipeline.Frame{Source: p.Name, Width: wish.Width, Height: wish.Height, Color: wish.Color, Data: data}
		answers := make([]pipeline.Answer, 1)
		err = model.Classify(ctx, []*pipeline.Frame{frame}, answers)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		v.add(answers[0].Predictions, err)
	}
	return nil
}

func (v *view) add(all []pipeline.Prediction, err error) {
	v.failures = append(v.failures, err)
	if err != nil {
		v.scores = append(v.scores, nil)
		return
	}
	scores := make([]float32, len(all))
	if len(v.labels) != len(all) {
		v.labels = make([]string, len(all))
	}
	for _, p := range all {
		scores[p.ClassID], v.labels[p.ClassID] = p.Confidence, p.Class
	}
	v.scores = append(v.scores, scores)
}

// see makes of the scores what a pipeline makes of them.
func (c *Checker) see(p Picture, v *view, i int, want []int) Seen {
	s := Seen{Name: p.Name}
	if p.Expected != nil {
		s.Expected = p.Expected.Labels
	}
	if v.scores[i] == nil {
		s.Error = v.failures[i].Error()
		return s
	}
	decoder := answer.Decoder{
		Labels: v.labels, Activation: c.Card.Activation, TopK: len(v.labels), Background: int(c.Card.Background),
	}
	var a pipeline.Answer
	if err := decoder.Decode(slices.Clone(v.scores[i]), &a); err != nil {
		s.Error = err.Error()
		return s
	}
	s.Predictions = a.Predictions[:min(cmp.Or(c.Top, 5), len(a.Predictions))]
	if want == nil {
		return s
	}
	at := slices.IndexFunc(a.Predictions, func(p pipeline.Prediction) bool { return slices.Contains(want, p.ClassID) })
	s.Place, s.Right = at+1, at == 0
	s.judge(*p.Expected, a.Predictions[at])
	return s
}

// judge says what is not as expected of the expected class.
func (s *Seen) judge(e Expected, got pipeline.Prediction) {
	switch off := confidenceOff(e, got.Confidence); {
	case !s.Right:
		s.Problem = fmt.Sprintf("%s is only in place %d, with %.3f", got.Class, s.Place, got.Confidence)
	case off:
		s.Right = false
		s.Problem = fmt.Sprintf("the confidence is %.3f, expected is %.3f ± %.3f", got.Confidence, *e.Confidence, e.Tolerance)
	}
}

func confidenceOff(e Expected, got float32) bool {
	if e.Confidence == nil {
		return false
	}
	return float64(got) < *e.Confidence-e.Tolerance || float64(got) > *e.Confidence+e.Tolerance
}

// resolve turns the expected labels into classes; nil for a picture of which nothing is expected.
func resolve(labels []string, pictures []Picture) ([][]int, error) {
	wants := make([][]int, len(pictures))
	for i, p := range pictures {
		if p.Expected == nil || len(labels) == 0 {
			continue
		}
		for _, label := range p.Expected.Labels {
			classes := classesOf(labels, label)
			if classes == nil {
				return nil, unknownLabel(labels, label)
			}
			wants[i] = append(wants[i], classes...)
		}
	}
	return wants, nil
}

func unknownLabel(labels []string, label string) error {
	var words []string
	for _, l := range labels {
		words = append(words, parts(l)...)
	}
	if near := strict.Nearest(fold(label), words); near != "" {
		return fmt.Errorf("the model has no label %q (did you mean %q?)", label, near)
	}
	return fmt.Errorf("the model has no label %q; its %d labels are from %q to %q", label, len(labels), labels[0], labels[len(labels)-1])
}
