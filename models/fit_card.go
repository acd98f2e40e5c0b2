package models

import (
	"fmt"
	"slices"

	"sightline/configs/strict"
)

const (
	maxSide  = 8192
	maxBatch = 256
)

// Fit puts a card and its model together. The error is a *NotClassifierError or a strict.Problems
// of all that does not fit and what would.
func (c *Card) Fit(s Signature) (*Fit, error) {
	in, out, err := s.Classify(c.Input, c.Output)
	if err != nil {
		return nil, err
	}
	f := &fitting{Fit: Fit{Input: in, Output: out, Card: c}}
	f.types()
	if f.layout(); f.Layout != "" {
		f.size()
	}
	f.classes()
	if len(f.problems) > 0 {
		return nil, f.problems
	}
	return &f.Fit, nil
}

type fitting struct {
	Fit
	problems strict.Problems
}

func (f *fitting) refuse(key, hint, format string, args ...any) {
	f.problems = append(f.problems, f.Card.problem(key, fmt.Sprintf(format, args...), hint))
}

func (f *fitting) types() {
	c, t := f.Card, f.Input.Type
	if c.DType != "" && c.DType != t {
		f.refuse("dtype", "dtype: "+string(t), "is %s, but the model's input is %s", c.DType, f.Input)
		return
	}
	float := t == Float32 || t == Float16
	if float && c.Scale == 0 {
		f.refuse("scale", scaleHint, "is missing, and the model's input is %s", f.Input)
	}
	if !float && (c.Scale != 0 || c.Mean != nil || c.Std != nil) {
		f.refuse("scale", "leave scale, mean and std out", "does not go with the model's input %s, which takes the bytes themselves", f.Input)
	}
	quantised := f.Output.Type == Uint8 || f.Output.Type == Int8
	if !quantised && (c.OutputScale != 0 || c.OutputZeroPoint != nil) {
		f.refuse("output_scale", "leave it out", "is only for quantised scores, and the model's output is %s", f.Output)
	}
}

// layout decides where the channels are: where the card says, else where 1 or 3 stands.
func (f *fitting) layout() {
	want, shape := int64(f.Card.channels()), f.Input.Shape
	fits := func(l Layout) bool { return shape[axis(l)] == want || shape[axis(l)] < 0 }
	known := func(l Layout) bool { return shape[axis(l)] == want }
	f.Channels, f.Layout = int(want), f.Card.Layout
	switch {
	case f.Layout != "" && fits(f.Layout):
	case f.Layout != "" && fits(other(f.Layout)):
		f.refuse("layout", "layout: "+string(other(f.Layout)), "is %s, but the model's input is %s", f.Layout, f.Input)
		f.Layout = ""
	case !fits(NCHW) && !fits(NHWC):
		hint := "color: gray"
		if f.Card.Color == Gray {
			hint = "color: rgb or bgr"
		}
		f.refuse("color", hint, "is %s, which has %d channels, but the model's input is %s", f.Card.Color, want, f.Input)
		f.Layout = ""
	case known(NCHW) != known(NHWC):
		f.Layout = NHWC
		if known(NCHW) {
			f.Layout = NCHW
		}
	default:
		f.refuse("layout", "nchw or nhwc", "is missing, and the model's input %s does not tell", f.Input)
	}
}

func axis(l Layout) int {
	if l == NHWC {
		return 3
	}
	return 1
}

func other(l Layout) Layout {
	if l == NHWC {
		return NCHW
	}
	return NHWC
}

func (f *fitting) size() {
	shape := f.Input.Shape
	height, width := shape[2], shape[3]
	if f.Layout == NHWC {
		height, width = shape[1], shape[2]
	}
	f.Batch = f.batch(shape[0], f.Output.Shape[0])
	f.Width = f.side("width", width, f.Card.Width)
	f.Height = f.side("height", height, f.Card.Height)
}

// batch is the number of frames in a run: what the input or the output fixes, 0 when both are open.
func (f *fitting) batch(in, out int64) int {
	if in > 0 && out > 0 && in != out {
		f.refuse("output", "", "%s has scores of %d frames, the input %s takes %d", f.Output, out, f.Input, in)
	}
	most := max(in, out, 0)
	if most > maxBatch {
		f.refuse("input", "", "%s takes %d frames in one run, more than the %d that are allowed", f.Input, most, maxBatch)
	}
	return int(most)
}

func (f *fitting) side(key string, model int64, card int) int {
	switch {
	case model > maxSide:
		f.refuse(key, "", "of the model is %d, more than the %d that are allowed", model, maxSide)
	case model > 0 && card != 0 && int64(card) != model:
		f.refuse(key, fmt.Sprintf("%s: %d", key, model), "is %d, but the model's input is %s", card, f.Input)
	case model <= 0 && card == 0:
		f.refuse(key, key+": 224, or what it was trained with", "is missing, and the model's input %s leaves it open", f.Input)
	case model <= 0:
		return card
	}
	return int(model)
}

// classes compares the number of scores with the number of labels. A list without the background
// class is given one when the card says which it is.
func (f *fitting) classes() {
	c, labels := f.Card, f.Card.Labels
	f.Classes = scores(f.Output.Shape)
	background := int(c.Background)
	if f.Classes == 0 {
		f.Classes = len(labels)
	}
	if background >= 0 && len(labels) == f.Classes-1 && background < f.Classes {
		labels = slices.Insert(slices.Clone(labels), background, "background")
	}
	key := "labels"
	if c.LabelsFile != "" {
		key = "labels_file"
	}
	switch {
	case len(labels) == f.Classes:
		f.Labels = labels
	case len(labels) == f.Classes-1:
		f.refuse(key, "background: true, when class 0 means nothing",
			"the model has %d classes, labels %d: it probably has a background class", f.Classes, len(labels))
	case len(labels) == f.Classes+1:
		f.refuse(key, "take a list without the background class",
			"the model has %d classes, labels %d: the list probably names a background class that the model does not have", f.Classes, len(labels))
	default:
		f.refuse(key, "one label for each class, in the order of the scores", "the model has %d classes, labels %d", f.Classes, len(labels))
	}
	if background >= f.Classes {
		f.refuse("background", fmt.Sprintf("0 to %d", f.Classes-1), "is class %d, but the model has %d", background, f.Classes)
	}
}

// scores returns the number of classes that a shape tells, 0 when it is open.
func scores(shape []int64) int {
	open, most := false, int64(1)
	for _, d := range shape[1:] {
		open = open || d < 0
		most = max(most, d)
	}
	if open && most == 1 {
		return 0
	}
	return int(most)
}
