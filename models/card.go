package models

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sightline/pipeline"
)

// Layout is the order of the dimensions of a model's input.
type Layout string

// The layouts: batch, channels, height, width in either order.
const (
	NCHW Layout = "nchw"
	NHWC Layout = "nhwc"
)

// Color is the order of a model's input channels.
type Color string

// The colours.
const (
	RGB  Color = "rgb"
	BGR  Color = "bgr"
	Gray Color = "gray" // one channel: luma by ITU-R BT.601, 0.299 R + 0.587 G + 0.114 B
)

// DType is the type of a tensor's elements. A card may name the first four.
type DType string

// The element types that classifiers use.
const (
	Float32 DType = "float32"
	Float16 DType = "float16"
	Uint8   DType = "uint8"
	Int8    DType = "int8"
)

// Activation is what is still to be applied to a model's scores.
type Activation string

// The activations.
const (
	None    Activation = "none"    // the scores are used as they are
	Softmax Activation = "softmax" // exp(x) / Σ exp(x): exactly one class is meant
	Sigmoid Activation = "sigmoid" // 1 / (1 + exp(-x)): every class for itself
)

// DefaultTopK is how many predictions an answer holds when the card does not say.
const DefaultTopK = 5

const maxCardBytes = 1 << 20

// Card says what a model wants to see and what its numbers mean, in the words of OpenVINO's
// model_info and torchvision. Its YAML form is flat and lies beside the .onnx file.
//
// An input element is (x/scale - mean)/std, where x is the channel's value 0…255; of uint8 inputs x
// itself and of int8 inputs x-128. Nothing that changes the numbers has a silent default: color and
// activation are required, and so is scale for models with float inputs.
//
// Cards are made by ReadCard, ParseCard and CardFromMetadata, and not changed afterwards.
type Card struct {
	Name        string // default: the file's name without .onnx
	Version     string
	Description string
	Licence     string
	Source      string // where the model comes from
	SHA256      string // 64 hexadecimal digits of the .onnx file; checked when set
	Data        string // what it was trained on
	Accuracy    string // on what, how good
	NotFor      string // what it is not for

	Labels     []string // one for each class, in the order of the scores
	LabelsFile string   // file of labels, relative to the card and within its folder
	Background int      // index of the class that means nothing; -1: there is none

	Layout        Layout              // "": seen from the model's input
	Color         Color               // order of the channels, also of Mean and Std
	DType         DType               // "": the model's
	Width, Height int                 // pixels; 0: the model's, which are then fixed
	Scale         float64             // 0: not given
	Mean, Std     []float64           // one number for each channel; nil: 0 and 1
	Resize        pipeline.ResizeType // how a picture is brought to the size; default standard
	CropFraction  float64             // of resize_type crop: size over resized shorter side; default 1
	PadValue      uint8               // of the fit_to_window types; default 0

	Activation      Activation
	Multilabel      bool    // every class that reaches the threshold is meant, not one
	TopK            int     // predictions in an answer; default DefaultTopK
	Threshold       float64 // least confidence of the top class; default 0
	Input, Output   string  // names of tensors, where the model has several
	OutputScale     float64 // of quantised scores: (value - zero point) × scale; default 1/256
	OutputZeroPoint *int    // default: 0 of uint8, -128 of int8

	file string
	at   map[string]position
}

type position struct{ line, column int }

// CardPath returns the place of a model's card: its path with .yaml instead of .onnx.
func CardPath(model string) string {
	return strings.TrimSuffix(model, filepath.Ext(model)) + ".yaml"
}

// ReadCard reads a card and the labels file that it names. Neither may lead out of the card's folder,
// also not by a link. All that is wrong with the card comes as one *CardError.
func ReadCard(path string) (*Card, error) {
	folder, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("card %q: %w", path, err)
	}
	defer folder.Close()
	text, err := readInside(folder, filepath.Base(path), maxCardBytes)
	if err != nil {
		return nil, fmt.Errorf("card %q: %w", path, err)
	}
	card, err := ParseCard(path, text)
	if err != nil || card.LabelsFile == "" {
		return card, err
	}
	labels, err := readInside(folder, card.LabelsFile, maxLabelsBytes)
	if err == nil {
		card.Labels, err = ParseLabels(labels)
	}
	if err != nil {
		return nil, card.Refuse("labels_file", fmt.Sprintf("%q: %v", card.LabelsFile, err), "")
	}
	return card, nil
}

// ParseCard reads the text of a card; name stands for it in errors. Labels of a labels_file are not
// read. All that is wrong comes as one *CardError.
func ParseCard(name string, text []byte) (*Card, error) {
	r := &cardReader{card: &Card{Background: -1, file: name, at: map[string]position{}}}
	r.read(text)
	if len(r.problems) > 0 {
		return nil, &CardError{r.problems}
	}
	return r.card.withDefaults(), nil
}

func (c *Card) withDefaults() *Card {
	if c.Resize == "" {
		c.Resize = pipeline.ResizeStandard
	}
	if c.CropFraction == 0 {
		c.CropFraction = 1
	}
	if c.TopK == 0 {
		c.TopK = DefaultTopK
	}
	c.SHA256 = strings.ToLower(strings.TrimPrefix(c.SHA256, "sha256:"))
	return c
}

// problem places a problem where the card has the key.
func (c *Card) problem(key, text, hint string) Problem {
	at := c.at[key]
	return Problem{File: c.file, Line: at.line, Column: at.column, Key: key, Text: text, Hint: hint}
}

// Refuse is the error that one key of the card is wrong, where the card has it.
func (c *Card) Refuse(key, text, hint string) error {
	return &CardError{[]Problem{c.problem(key, text, hint)}}
}

// Problem is one thing that is wrong with a card.
type Problem struct {
	File         string
	Line, Column int    // 0: nowhere in particular
	Key          string // may be empty
	Text, Hint   string
}

// String is file:line:column: key: problem (suggestion).
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
	}
	b.WriteString(": ")
	if p.Key != "" {
		b.WriteString(p.Key + ": ")
	}
	b.WriteString(p.Text)
	if p.Hint != "" {
		b.WriteString(" (" + p.Hint + ")")
	}
	return b.String()
}

// CardError is all that is wrong with a card, at least one problem.
type CardError struct{ Problems []Problem }

// Error has a line for each problem.
func (e *CardError) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}
