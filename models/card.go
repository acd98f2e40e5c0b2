package models

import (
	_ "embed" // for the JSON Schema
	"encoding"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"sightline/configs/strict"
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

const maxCardBytes = 1 << 20

// ClassIndex is the index of a class; NoClass stands for none. A card may write true for class 0.
type ClassIndex int

// NoClass is the index of no class.
const NoClass ClassIndex = -1

// UnmarshalText reads an index, true (class 0) or false (none).
func (i *ClassIndex) UnmarshalText(text []byte) error {
	switch string(text) {
	case "true":
		*i = 0
		return nil
	case "false":
		*i = NoClass
		return nil
	}
	v, err := strconv.ParseUint(string(text), 10, 20)
	if err != nil {
		return errors.New("is neither the index of a class, nor true (class 0), nor false (none)")
	}
	*i = ClassIndex(v)
	return nil
}

var _ encoding.TextUnmarshaler = (*ClassIndex)(nil)

// Card says what a model wants to see and what its numbers mean, in the words of OpenVINO's
// model_info and torchvision. Its YAML form is flat and lies beside the .onnx file.
//
// An input element is (x/scale - mean)/std, where x is the channel's value 0…255; of uint8 inputs x
// itself and of int8 inputs x-128. Nothing that changes the numbers has a silent default: color and
// activation are required, and so is scale for models with float inputs. The bounds of scale, mean and
// std keep input elements finite.
//
// Cards are made by ReadCard, ParseCard and CardFromMetadata, and not changed afterwards.
type Card struct {
	Name        string `mapstructure:"name" doc:"What the model is called, in every result; default: the file's name without .onnx." example:"mobilenetv2"`
	Version     string `mapstructure:"version" doc:"Version of the model, in every result."`
	Description string `mapstructure:"description" doc:"What it tells, for people."`
	Licence     string `mapstructure:"licence" foreign:"license" doc:"Licence of the model, for people." example:"Apache-2.0"`
	Source      string `mapstructure:"source" doc:"Where the model comes from, for people."`
	SHA256      string `mapstructure:"sha256" doc:"SHA-256 of the .onnx file, as sha256sum prints it; checked when given."`
	Data        string `mapstructure:"data" doc:"What it was trained on, for people."`
	Accuracy    string `mapstructure:"accuracy" doc:"How good it is, and on what, for people."`
	NotFor      string `mapstructure:"not_for" doc:"What it must not be used for, for people."`

	Labels     []string   `mapstructure:"labels" foreign:"classes,names" doc:"Classes, in the order of the scores. Either this or labels_file is required." example:"[cat, dog]"`
	LabelsFile string     `mapstructure:"labels_file" foreign:"labels_path" doc:"File of labels inside the card's folder: one a line, ImageNet synset lines (n01440764 tench), index,name lines, a JSON list, or a JSON object by index." example:"labels.txt"`
	Background ClassIndex `mapstructure:"background" default:"false" doc:"Index of the class that means nothing, or true for class 0; it is never the top class. false: there is none."`

	Layout       Layout              `mapstructure:"layout" foreign:"format" enum:"nchw,nhwc" doc:"Order of the input's dimensions; default: seen from the model."`
	Color        Color               `mapstructure:"color" foreign:"colour,color_order,channel_order,reverse_input_channels" required:"true" enum:"rgb,bgr,gray" doc:"Order of the channels, also of mean and std: rgb for models of torchvision and TensorFlow, bgr for models of Caffe, gray for one channel."`
	DType        DType               `mapstructure:"dtype" foreign:"input_dtype,data_type" enum:"float32,float16,uint8,int8" doc:"Type of the input's elements; default: the model's."`
	Width        int                 `mapstructure:"width" foreign:"input_width" min:"1" max:"8192" doc:"Pixels, for a model whose size is dynamic; default: the model's."`
	Height       int                 `mapstructure:"height" foreign:"input_height" min:"1" max:"8192" doc:"Pixels, for a model whose size is dynamic; default: the model's."`
	Scale        float64             `mapstructure:"scale" min:"1e-9" max:"1e9" doc:"An input element is (x / scale − mean) / std, with x from 0 to 255: 255 when the model wants 0 … 1 before mean and std, 1 when it wants 0 … 255. Required for floating-point inputs." example:"255"`
	Mean         []float64           `mapstructure:"mean" foreign:"mean_values,normalization" min:"-1e9" max:"1e9" doc:"One number for each channel, in the unit that scale leaves; default: 0." example:"[0.485, 0.456, 0.406]"`
	Std          []float64           `mapstructure:"std" foreign:"scale_values" min:"1e-9" max:"1e9" doc:"One number for each channel, in the unit that scale leaves; default: 1." example:"[0.229, 0.224, 0.225]"`
	Resize       pipeline.ResizeType `mapstructure:"resize_type" foreign:"resize" enum:"standard,crop,fit_to_window,fit_to_window_letterbox" default:"standard" doc:"How a picture is brought to the size: standard (stretch), crop (shorter side, then the centre), fit_to_window (padded right and below), fit_to_window_letterbox (padded evenly)."`
	CropFraction float64             `mapstructure:"crop_fraction" min:"0.01" max:"1" default:"1" doc:"Of crop: the size divided by what the shorter side is first brought to; torchvision's 256 → 224 is 0.875."`
	PadValue     int                 `mapstructure:"pad_value" min:"0" max:"255" default:"0" doc:"Of the fit_to_window types: the value of what is padded."`

	Activation      Activation `mapstructure:"activation" required:"true" enum:"none,softmax,sigmoid" doc:"What is still to be applied to the scores: softmax when the model gives logits, none when it gives probabilities, sigmoid for independent classes."`
	Multilabel      bool       `mapstructure:"multilabel" default:"false" doc:"Every class that reaches the threshold is meant, not one."`
	TopK            int        `mapstructure:"top_k" foreign:"topk" min:"1" max:"1000" default:"5" doc:"Most predictions in a result."`
	Threshold       float64    `mapstructure:"threshold" foreign:"confidence_threshold" default:"0" doc:"Least confidence of the top class."`
	Input           string     `mapstructure:"input" doc:"Name of the input tensor, for a model with several."`
	Output          string     `mapstructure:"output" doc:"Name of the output tensor, for a model with several."`
	OutputScale     float64    `mapstructure:"output_scale" min:"1e-9" max:"1e9" doc:"Of quantised scores, which are (value − zero point) × scale; default: 1/256."`
	OutputZeroPoint *int       `mapstructure:"output_zero_point" min:"-128" max:"255" doc:"Of quantised scores; default: 0 of uint8, −128 of int8."`

	file string           // what problems call it
	doc  *strict.Document // nil of a card that is no file
}

// CardPath returns the place of a model's card: its path with .yaml instead of .onnx.
func CardPath(model string) string {
	return strings.TrimSuffix(model, filepath.Ext(model)) + ".yaml"
}

// ReadCard reads a card and the labels file that it names. Neither may lead out of the card's folder,
// also not by a link. All that is wrong with the card comes as strict.Problems.
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
// read. All that is wrong comes as strict.Problems.
func ParseCard(name string, text []byte) (*Card, error) {
	c, problems := decode(name, text)
	if len(c.doc.Settings()) == 0 {
		return nil, problems // not YAML
	}
	if err := problems.Merge(c.check()).Err(); err != nil {
		return nil, err
	}
	c.SHA256 = strings.ToLower(strings.TrimPrefix(c.SHA256, "sha256:"))
	return c, nil
}

// decode returns what is right in the text, with the defaults of what is not there.
func decode(name string, text []byte) (*Card, strict.Problems) {
	c := &Card{}
	doc, problems := strict.Read(name, text, reflect.TypeFor[Card](), strict.Options{})
	problems = append(problems, doc.Fill(c)...)
	c.file, c.doc = name, doc
	return c, problems
}

// problem places a problem where the card has the key.
func (c *Card) problem(key, problem, suggestion string) strict.Problem {
	if c.doc == nil {
		return strict.Problem{File: c.file, Key: key, Problem: problem, Suggestion: suggestion}
	}
	return c.doc.Problem(key, problem, suggestion)
}

// Refuse is the error that one key of the card is wrong, where the card has it.
func (c *Card) Refuse(key, problem, suggestion string) error {
	return strict.Problems{c.problem(key, problem, suggestion)}
}

//go:generate go test . -run IsCurrent -update

//go:embed card.schema.json
var schema []byte

// CardSchema returns the JSON Schema of cards, by which editors complete and check them.
func CardSchema() []byte { return slices.Clone(schema) }
