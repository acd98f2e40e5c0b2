package models

import (
	"fmt"
	"strings"
)

// NoCardError is returned for a model that nothing describes. Skeleton is a card to fill in.
type NoCardError struct {
	Card     string // where its card is expected
	Skeleton string
}

// Error says what is needed and shows the skeleton.
func (e *NoCardError) Error() string {
	return fmt.Sprintf("it has no card, and its metadata does not say what its input and its scores mean; write %q and fill in (`sightline models inspect` says what it probably is):\n\n%s", e.Card, e.Skeleton)
}

// Skeleton writes the card that a model needs as far as the model tells it; the rest is to be filled in.
// The error is a *NotClassifierError.
func Skeleton(name string, s Signature) (string, error) {
	in, out, err := s.Classify("", "")
	if err != nil {
		return "", err
	}
	var b strings.Builder
	line := func(comment, format string, args ...any) {
		fmt.Fprintf(&b, "%-44s # %s\n", fmt.Sprintf(format, args...), comment)
	}
	fmt.Fprintf(&b, "# %s → %s\n", in, out)
	fmt.Fprintf(&b, "name: %q\n", name)
	classes := "one line for each class"
	if n := scores(out.Shape); n > 0 {
		classes = fmt.Sprintf("%d lines, one for each class", n)
	}
	line(classes+"; or labels: [cat, dog]", "labels_file: labels.txt")
	if in.Shape[1] == 1 || in.Shape[3] == 1 {
		line("one channel", "color: gray")
	} else {
		line("or bgr: the order it was trained with", "color: rgb")
	}
	if in.Shape[1] < 0 && in.Shape[3] < 0 {
		line("or nhwc", "layout: nchw")
	}
	if in.Type == Float32 || in.Type == Float16 {
		line(scaleHint, "scale: 255")
		line("leave out when there is none", "mean: [0.485, 0.456, 0.406]")
		line("leave out when there is none", "std: [0.229, 0.224, 0.225]")
	}
	if open(in) {
		line("pixels", "width: 224")
		line("pixels", "height: 224")
	}
	line("or crop, fit_to_window, fit_to_window_letterbox", "resize_type: standard")
	line("none when the scores are probabilities already", "activation: softmax")
	return b.String(), nil
}

func open(in Tensor) bool {
	if isChannels(in.Shape[1]) {
		return in.Shape[2] < 0 || in.Shape[3] < 0
	}
	return in.Shape[1] < 0 || in.Shape[2] < 0
}
