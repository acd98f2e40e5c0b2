package models

import (
	"fmt"
	"slices"
	"strings"

	"sightline/pipeline"
)

// Tensor describes an input or output of a model.
type Tensor struct {
	Name  string
	Type  DType   // any name of an element type; for values that are no tensors what they are
	Shape []int64 // -1 where it is dynamic; nil for values that are no tensors
}

// String is like: data float32[?,3,224,224].
func (t Tensor) String() string {
	if t.Shape == nil {
		return fmt.Sprintf("%s %s", t.Name, t.Type)
	}
	dims := make([]string, len(t.Shape))
	for i, d := range t.Shape {
		dims[i] = "?"
		if d >= 0 {
			dims[i] = fmt.Sprint(d)
		}
	}
	return fmt.Sprintf("%s %s[%s]", t.Name, t.Type, strings.Join(dims, ","))
}

// Signature is what goes into a model and what comes out.
type Signature struct{ Inputs, Outputs []Tensor }

// Fit is a card fitted to its model: everything that running it takes, with nothing left open.
type Fit struct {
	Input, Output Tensor
	Layout        Layout
	Width, Height int
	Channels      int // 1 or 3
	Batch         int // frames in one run; 0: dynamic
	Classes       int
	Labels        []string // one for each class
	Card          *Card
}

// Shape is the input's shape for n frames.
func (f *Fit) Shape(n int) []int64 {
	if f.Layout == NHWC {
		return []int64{int64(n), int64(f.Height), int64(f.Width), int64(f.Channels)}
	}
	return []int64{int64(n), int64(f.Channels), int64(f.Height), int64(f.Width)}
}

// Wish is the frames that the model wants.
func (f *Fit) Wish() pipeline.Wish {
	color := pipeline.RGB
	if f.Card.Color == BGR {
		color = pipeline.BGR
	}
	return pipeline.Wish{
		Width: f.Width, Height: f.Height, Color: color, Resize: f.Card.Resize,
		CropFraction: f.Card.CropFraction, Pad: uint8(f.Card.PadValue),
	}
}

// NotClassifierError says why a model is no image classifier, and what one looks like.
type NotClassifierError struct{ Reason string }

// Error names the reason and what would fit.
func (e *NotClassifierError) Error() string {
	return "not an image classifier: " + e.Reason +
		"; a classifier has one image input of 4 dimensions (N×C×H×W or N×H×W×C, C being 1 or 3) and an output with one score for each class (N×classes)"
}

// Classify looks whether a model can be an image classifier at all, and picks its input and output.
// The names may be empty. The error is a *NotClassifierError.
func (s Signature) Classify(input, output string) (in, out Tensor, err error) {
	refuse := func(format string, args ...any) (Tensor, Tensor, error) {
		return Tensor{}, Tensor{}, &NotClassifierError{fmt.Sprintf(format, args...)}
	}
	if len(s.Inputs) != 1 {
		return refuse("it has %d inputs: %s", len(s.Inputs), list(s.Inputs))
	}
	in = s.Inputs[0]
	if input != "" && input != in.Name {
		return refuse("it has no input named %q but %s", input, in)
	}
	if reason := imageProblem(in); reason != "" {
		return refuse("its input %s %s", in, reason)
	}
	candidates := slices.Clone(s.Outputs)
	if output != "" {
		candidates = slices.DeleteFunc(candidates, func(t Tensor) bool { return t.Name != output })
		if len(candidates) == 0 {
			return refuse("it has no output named %q but %s", output, list(s.Outputs))
		}
	}
	fitting := slices.DeleteFunc(slices.Clone(candidates), func(t Tensor) bool { return scoresProblem(t) != "" })
	switch {
	case len(fitting) == 1 && len(candidates) == 1:
		return in, fitting[0], nil
	case len(candidates) == 1:
		return refuse("its output %s %s", candidates[0], scoresProblem(candidates[0]))
	case len(fitting) == 0:
		return refuse("none of its outputs gives scores of classes: %s", list(candidates))
	}
	return refuse("it has %d outputs, and the card's output names none of them: %s", len(candidates), list(candidates))
}

func list(tensors []Tensor) string {
	if len(tensors) == 0 {
		return "none"
	}
	words := make([]string, len(tensors))
	for i, t := range tensors {
		words[i] = t.String()
	}
	return strings.Join(words, ", ")
}

func imageProblem(t Tensor) string {
	switch {
	case t.Shape == nil:
		return "is no tensor"
	case !runs(t.Type):
		return fmt.Sprintf("has elements of type %s, not float32, float16, uint8 or int8", t.Type)
	case len(t.Shape) != 4:
		return fmt.Sprintf("has %d dimensions, not 4", len(t.Shape))
	case !isChannels(t.Shape[1]) && !isChannels(t.Shape[3]):
		return "has neither 1 nor 3 channels"
	}
	return ""
}

func runs(t DType) bool { return t == Float32 || t == Float16 || t == Uint8 || t == Int8 }

func isChannels(d int64) bool { return d == 1 || d == 3 || d < 0 }

// scoresProblem says why an output holds no scores of classes: after the batch at most one dimension
// may be other than 1.
func scoresProblem(t Tensor) string {
	switch {
	case t.Shape == nil:
		return "is no tensor"
	case !runs(t.Type):
		return fmt.Sprintf("has elements of type %s, not float32, float16, uint8 or int8", t.Type)
	case len(t.Shape) < 2 || len(t.Shape) > 4:
		return fmt.Sprintf("has %d dimensions, not 2 to 4", len(t.Shape))
	}
	large := 0
	for _, d := range t.Shape[1:] {
		if d > 1 {
			large++
		}
	}
	if large > 1 || slices.Contains(t.Shape, 0) {
		return "has more than scores for each class (is it a detector or a segmenter?)"
	}
	return ""
}
