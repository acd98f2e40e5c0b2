// Package answer turns a model's scores into predictions: activation, the best classes, threshold.
package answer

import (
	"fmt"
	"math"
	"slices"

	"sightline/models"
	"sightline/pipeline"
)

// Decoder reads the scores of one model. Its fields do not change while it is used.
type Decoder struct {
	Labels     []string // one for each class
	Activation models.Activation
	Multilabel bool
	TopK       int     // most predictions in an answer; at least 1
	Threshold  float64 // least confidence of the top class
	Background int     // class that means nothing, -1 when there is none
}

// New is the decoder that a model's card asks for.
func New(f *models.Fit) *Decoder {
	return &Decoder{
		Labels: f.Labels, Activation: f.Card.Activation, Multilabel: f.Card.Multilabel,
		TopK: f.Card.TopK, Threshold: f.Card.Threshold, Background: int(f.Card.Background),
	}
}

// ScoreError says which score is no number that can be used. The model or its input is broken.
type ScoreError struct {
	Class int
	Label string
	Score float32
}

// Error names the class and the score.
func (e *ScoreError) Error() string {
	return fmt.Sprintf("score of class %d (%s) is %v", e.Class, e.Label, e.Score)
}

// Decode fills an answer from the scores, one for each label, which it may change. Predictions that
// the answer has are reused.
//
// Of one-class models the TopK best classes are listed, and Top is 0 when the best one reaches the
// threshold and is not the background. Of multilabel models the classes that reach the threshold are
// listed, without the background. Equal confidences are in the order of the classes.
//
// A score that is not a number is an error, and so is an infinite one, unless the activation makes
// a number of it.
func (d *Decoder) Decode(scores []float32, a *pipeline.Answer) error {
	if len(scores) != len(d.Labels) {
		return fmt.Errorf("%d scores for %d labels", len(scores), len(d.Labels))
	}
	a.Predictions, a.Top = a.Predictions[:0], -1
	if err := d.activate(scores); err != nil {
		return err
	}
	a.Predictions = d.best(scores, a.Predictions)
	if len(a.Predictions) == 0 {
		return nil
	}
	first := a.Predictions[0]
	if float64(first.Confidence) >= d.Threshold && first.ClassID != d.Background {
		a.Top = 0
	}
	return nil
}

// activate replaces scores by confidences.
func (d *Decoder) activate(scores []float32) error {
	if class := slices.IndexFunc(scores, d.unusable); class >= 0 {
		return &ScoreError{class, d.Labels[class], scores[class]}
	}
	switch d.Activation {
	case models.Softmax:
		return d.softmax(scores)
	case models.Sigmoid:
		for i, x := range scores {
			scores[i] = float32(1 / (1 + math.Exp(-float64(x))))
		}
	}
	return nil
}

func (d *Decoder) unusable(x float32) bool {
	switch d.Activation {
	case models.Softmax:
		return x != x || math.IsInf(float64(x), 1) // -Inf is how a class is masked: its share is 0
	case models.Sigmoid:
		return x != x
	}
	return x != x || math.IsInf(float64(x), 0)
}

// softmax takes the largest score off all of them first, so that no power overflows.
func (d *Decoder) softmax(scores []float32) error {
	most, sum := float64(slices.Max(scores)), 0.0
	if math.IsInf(most, -1) {
		return &ScoreError{0, d.Labels[0], scores[0]}
	}
	for i, x := range scores {
		e := math.Exp(float64(x) - most)
		sum += e
		scores[i] = float32(e)
	}
	for i := range scores {
		scores[i] = float32(float64(scores[i]) / sum)
	}
	return nil
}

// best appends the classes to list, best first. It keeps a sorted list of at most TopK, so that most
// classes cost one comparison with the last of them.
func (d *Decoder) best(scores []float32, list []pipeline.Prediction) []pipeline.Prediction {
	limit := min(d.TopK, len(scores))
	for class, confidence := range scores {
		if len(list) == limit && confidence <= list[limit-1].Confidence {
			continue
		}
		if d.Multilabel && (class == d.Background || float64(confidence) < d.Threshold) {
			continue
		}
		if len(list) < limit {
			list = append(list, pipeline.Prediction{})
		}
		at := place(list[:len(list)-1], confidence)
		copy(list[at+1:], list[at:])
		list[at] = pipeline.Prediction{Class: d.Labels[class], ClassID: class, Confidence: confidence}
	}
	return list
}

// place is behind all that have at least this confidence.
func place(list []pipeline.Prediction, confidence float32) int {
	low, high := 0, len(list)
	for low < high {
		middle := (low + high) / 2
		if list[middle].Confidence >= confidence {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low
}
