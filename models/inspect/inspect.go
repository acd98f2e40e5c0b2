// Package inspect tells what can be told of a model file without running it.
package inspect

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"sightline/models"
	"sightline/models/catalogue"
)

// Model is what can be told of a model without running it.
type Model struct {
	Path       string            `json:"path"`
	Bytes      int               `json:"bytes"`
	SHA256     string            `json:"sha256"`
	Catalogue  string            `json:"catalogue,omitempty"` // its name, where the catalogue has just this file
	Inputs     []string          `json:"inputs"`
	Outputs    []string          `json:"outputs"`
	IR         uint64            `json:"ir_version"`
	Opsets     []string          `json:"opsets"`
	Program    string            `json:"program,omitempty"`
	Graph      string            `json:"graph,omitempty"`
	Document   string            `json:"document,omitempty"`
	Parameters int64             `json:"parameters"`
	Operators  map[string]int    `json:"operators"`
	Metadata   map[string]string `json:"metadata,omitempty"`
	Card       *CardSays         `json:"card,omitempty"`
	Problem    string            `json:"problem,omitempty"` // why a pipeline cannot use it as it is
	Guesses    []Guess           `json:"guesses,omitempty"` // what a card would probably say
}

// CardSays is what a pipeline makes of a model and its card.
type CardSays struct {
	File       string            `json:"file"`
	Name       string            `json:"name,omitempty"`
	Licence    string            `json:"licence,omitempty"`
	Source     string            `json:"source,omitempty"`
	Wants      string            `json:"wants"`      // the picture, as the model gets it
	Numbers    string            `json:"numbers"`    // what a picture's levels become
	Classes    string            `json:"classes"`    // how many, and from which to which
	Activation models.Activation `json:"activation"` // what is still applied to the scores
}

// Guess is one line of a card as it probably is.
type Guess struct {
	Key   string `json:"key"`
	Value string `json:"value"`
	Why   string `json:"why"`
	Sure  bool   `json:"sure"` // the file itself says so
}

// File looks at a model file, and at its card where there is one; card is as in models.CardFor. The error is that
// the file is not ONNX; that it is no classifier, or has no card that fits, is a Problem.
func File(file models.File, card string) (*Model, error) {
	d, err := models.Describe(file.Bytes)
	if err != nil {
		return nil, err
	}
	a, err := models.Dissect(file.Bytes)
	if err != nil {
		return nil, err
	}
	i := &Model{
		Path: file.Path, Bytes: len(file.Bytes), SHA256: file.SHA256, Inputs: lines(d.Inputs), Outputs: lines(d.Outputs),
		IR: a.IR, Opsets: opsets(a.Opsets), Program: a.Program, Graph: d.Graph, Document: a.Document,
		Parameters: a.Parameters, Operators: a.Operators, Metadata: d.Properties,
	}
	if known, ok := catalogue.ByDigest(file.SHA256); ok {
		i.Catalogue = known.Name
	}
	fit, err := file.Fit(nil, card)
	if err == nil {
		i.Card = says(fit, card, file)
		return i, nil
	}
	i.Problem = err.Error()
	if without, ok := errors.AsType[*models.NoCardError](err); ok {
		i.Problem = fmt.Sprintf("it has no card (expected is %q), and its metadata is none", without.Card)
	}
	i.Guesses = guess(d, a, i.Catalogue)
	return i, nil
}

func lines(tensors []models.Tensor) []string {
	list := []string{}
	for _, t := range tensors {
		list = append(list, t.String())
	}
	return list
}

func opsets(list []models.Opset) []string {
	var words []string
	for _, o := range list {
		name := o.Domain
		if name == "" {
			name = "ai.onnx"
		}
		words = append(words, fmt.Sprintf("%s %d", name, o.Version))
	}
	return words
}

func says(fit *models.Fit, card string, file models.File) *CardSays {
	c := fit.Card
	numbers := "bytes as they are"
	if c.Scale != 0 {
		numbers = span(c)
	}
	resize := string(c.Resize)
	if c.CropFraction != 1 {
		resize += fmt.Sprintf(" %g", c.CropFraction)
	}
	if card == "" {
		card = models.CardPath(file.Path)
	}
	return &CardSays{
		File: card, Name: c.Name, Licence: c.Licence, Source: c.Source, Activation: c.Activation, Numbers: numbers,
		Wants:   fmt.Sprintf("%d×%d %s, %s, %s %s", fit.Width, fit.Height, c.Color, resize, fit.Input.Type, fit.Layout),
		Classes: fmt.Sprintf("%d, from %q to %q", fit.Classes, fit.Labels[0], fit.Labels[len(fit.Labels)-1]),
	}
}

// span is from where to where the numbers go that a picture's levels become.
func span(c *models.Card) string {
	low, high := math.Inf(1), math.Inf(-1)
	for channel := range max(len(c.Mean), len(c.Std), 1) {
		mean, std := 0.0, 1.0
		if c.Mean != nil {
			mean = c.Mean[channel]
		}
		if c.Std != nil {
			std = c.Std[channel]
		}
		low, high = min(low, (0-mean)/std), max(high, (255/c.Scale-mean)/std)
	}
	return fmt.Sprintf("from %.3g to %.3g", low, high)
}

// guess says what the card of a model probably says.
func guess(d *models.Description, a *models.Anatomy, known string) []Guess {
	in, out, err := d.Classify("", "")
	if err != nil {
		return nil
	}
	if known != "" {
		return []Guess{{"(all)", "the catalogue's card", "it is " + known + ": `sightline models pull " + known + "` writes its card", true}}
	}
	list := []Guess{layout(in)}
	if in.Type == models.Float32 || in.Type == models.Float16 {
		list = append(list, numbersOf(a)...)
	} else {
		list = append(list, Guess{"dtype", string(in.Type), "the input takes a picture's bytes: no scale, mean or std", true})
	}
	list = append(list, activation(a, out))
	if classes := slices.Max(out.Shape); classes == 1001 {
		list = append(list, Guess{"background", "true", "1001 classes: those of ImageNet after a background class", false})
	} else if classes == 1000 {
		list = append(list, Guess{"labels_file", "1000 lines", "1000 classes: those of ImageNet, in the order of their synsets", false})
	}
	return list
}

func layout(in models.Tensor) Guess {
	first, last := in.Shape[1] == 1 || in.Shape[1] == 3, in.Shape[3] == 1 || in.Shape[3] == 3
	switch {
	case first && !last:
		return Guess{"layout", "nchw", "the channels are the second dimension of " + in.String(), true}
	case last && !first:
		return Guess{"layout", "nhwc", "the channels are the last dimension of " + in.String(), true}
	}
	return Guess{"layout", "nchw", in.String() + " does not tell; most are so", false}
}

// numbersOf goes by the habits of the programs that models are trained with: the file does not tell.
func numbersOf(a *models.Anatomy) []Guess {
	switch p := strings.ToLower(a.Program); {
	case contains(p, "caffe"):
		return []Guess{{"color", "bgr", "written by " + a.Program, false}, {"scale, mean", "1, [103.939, 116.779, 123.68]", "the habit of Caffe", false}}
	case contains(p, "tf2onnx", "tensorflow", "keras"):
		return []Guess{{"color", "rgb", "written by " + a.Program, false}, {"scale, mean, std", "255, [0.5, 0.5, 0.5], [0.5, 0.5, 0.5]", "the habit of TensorFlow", false}}
	}
	return []Guess{{"color", "rgb", "most are so", false}, {"scale, mean, std", "255, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]", "the habit of torchvision; try it with `sightline models check`", false}}
}

func activation(a *models.Anatomy, out models.Tensor) Guess {
	switch maker := a.Maker[out.Name]; maker {
	case "Softmax":
		return Guess{"activation", "none", "a Softmax makes the scores", true}
	case "LogSoftmax":
		return Guess{"activation", "softmax", "a LogSoftmax makes the scores; softmax takes the logarithm back", true}
	case "Sigmoid", "HardSigmoid":
		return Guess{"activation", "none", "a " + maker + " makes the scores; multilabel: true when several classes can be meant", true}
	case "":
		return Guess{"activation", "softmax", "the file does not tell; most give logits", false}
	default:
		return Guess{"activation", "softmax", "the scores come from " + maker + " as they are: logits", false}
	}
}

// common lists the operators that are there most often.
func (i *Model) common(most int) []string {
	names := slices.SortedFunc(maps.Keys(i.Operators), func(a, b string) int {
		if i.Operators[a] != i.Operators[b] {
			return i.Operators[b] - i.Operators[a]
		}
		return slices.Compare([]byte(a), []byte(b))
	})
	var list []string
	for _, name := range names[:min(most, len(names))] {
		list = append(list, fmt.Sprintf("%s %d", name, i.Operators[name]))
	}
	if len(names) > most {
		list = append(list, fmt.Sprintf("%d kinds more", len(names)-most))
	}
	return list
}
