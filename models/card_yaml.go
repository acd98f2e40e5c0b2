package models

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"sightline/pipeline"
)

const (
	maxSide       = 8192
	maxTopK       = 1000
	maxBatch      = 256
	maxClassIndex = 1 << 20
)

// field is one key of a card and what takes its value; set returns what is wrong and what would fit.
type field struct {
	key string
	set func(*yaml.Node) (problem, hint string)
}

func (c *Card) fields() []field {
	return []field{
		{"name", into(&c.Name)},
		{"version", into(&c.Version)},
		{"description", into(&c.Description)},
		{"licence", into(&c.Licence)},
		{"source", into(&c.Source)},
		{"sha256", digest(&c.SHA256)},
		{"data", into(&c.Data)},
		{"accuracy", into(&c.Accuracy)},
		{"not_for", into(&c.NotFor)},
		{"labels", labelList(&c.Labels)},
		{"labels_file", into(&c.LabelsFile)},
		{"background", classIndex(&c.Background)},
		{"layout", oneOf(&c.Layout, NCHW, NHWC)},
		{"color", oneOf(&c.Color, RGB, BGR, Gray)},
		{"dtype", oneOf(&c.DType, Float32, Float16, Uint8, Int8)},
		{"width", integer(&c.Width, 1, maxSide)},
		{"height", integer(&c.Height, 1, maxSide)},
		{"scale", number(&c.Scale, math.SmallestNonzeroFloat32, math.MaxFloat32)},
		{"mean", channels(&c.Mean, -math.MaxFloat32)},
		{"std", channels(&c.Std, math.SmallestNonzeroFloat32)},
		{"resize_type", oneOf(&c.Resize, pipeline.ResizeStandard, pipeline.ResizeCrop, pipeline.ResizeFit, pipeline.ResizeLetterbox)},
		{"crop_fraction", number(&c.CropFraction, 0.01, 1)},
		{"pad_value", integer(&c.PadValue, 0, 255)},
		{"activation", oneOf(&c.Activation, None, Softmax, Sigmoid)},
		{"multilabel", boolean(&c.Multilabel)},
		{"top_k", integer(&c.TopK, 1, maxTopK)},
		{"threshold", number(&c.Threshold, -math.MaxFloat32, math.MaxFloat32)},
		{"input", into(&c.Input)},
		{"output", into(&c.Output)},
		{"output_scale", number(&c.OutputScale, math.SmallestNonzeroFloat32, math.MaxFloat32)},
		{"output_zero_point", optional(&c.OutputZeroPoint, -128, 255)},
	}
}

type cardReader struct {
	card     *Card
	problems []Problem
	unknown  bool // a key is not known
}

func (r *cardReader) add(p Problem) { r.problems = append(r.problems, p) }

func (r *cardReader) at(n *yaml.Node, key, text, hint string) {
	r.add(Problem{File: r.card.file, Line: n.Line, Column: n.Column, Key: key, Text: text, Hint: hint})
}

func (r *cardReader) read(text []byte) {
	var document, more yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	err := decoder.Decode(&document)
	if errors.Is(err, io.EOF) || (err == nil && len(document.Content) == 0) {
		r.add(Problem{File: r.card.file, Text: "is empty", Hint: "name: my-model"})
		return
	}
	if err == nil && !errors.Is(decoder.Decode(&more), io.EOF) {
		err = errors.New("yaml: a card is one document")
	}
	if err != nil {
		line, what := yamlError(err)
		r.add(Problem{File: r.card.file, Line: line, Column: min(line, 1), Text: what})
		return
	}
	root := document.Content[0]
	if root.Kind != yaml.MappingNode {
		r.at(root, "", "a card is a mapping of keys to values", "name: my-model")
		return
	}
	fields := r.card.fields()
	for i := 0; i+1 < len(root.Content); i += 2 {
		r.pair(fields, root.Content[i], root.Content[i+1])
	}
	r.problems = append(r.problems, r.card.check()...)
	if !r.unknown { // what is missing may stand there by another name
		r.problems = append(r.problems, r.card.missing()...)
	}
	slices.SortStableFunc(r.problems, func(a, b Problem) int { return a.Line - b.Line })
}

func (r *cardReader) pair(fields []field, key, value *yaml.Node) {
	i := slices.IndexFunc(fields, func(f field) bool { return f.key == key.Value })
	if i < 0 || key.Kind != yaml.ScalarNode {
		r.unknown = true
		r.at(key, key.Value, "unknown key", suggest(key.Value, fields))
		return
	}
	if _, twice := r.card.at[key.Value]; twice {
		r.at(key, key.Value, "given twice", "")
		return
	}
	r.card.at[key.Value] = position{key.Line, key.Column}
	if problem, hint := fields[i].set(value); problem != "" {
		r.at(value, key.Value, problem, hint)
	}
}

// yamlError takes the line out of the parser's error, 0 when it names none.
func yamlError(err error) (line int, what string) {
	found := regexp.MustCompile(`(?s)^yaml: (?:line (\d+): )?(.*)$`).FindStringSubmatch(err.Error())
	if found == nil {
		return 1, "not a card: " + err.Error()
	}
	line, _ = strconv.Atoi(found[1])
	return line, "not YAML: " + found[2]
}

func scalar(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag != "!!null" }

func into(to *string) func(*yaml.Node) (string, string) {
	return func(n *yaml.Node) (string, string) {
		if !scalar(n) || n.Value == "" {
			return "is not a text", ""
		}
		if !utf8.ValidString(n.Value) || strings.ContainsRune(n.Value, 0) {
			return "has characters that no text has", ""
		}
		*to = n.Value
		return "", ""
	}
}

func digest(to *string) func(*yaml.Node) (string, string) {
	return func(n *yaml.Node) (string, string) {
		if !scalar(n) || !regexp.MustCompile(`^(sha256:)?[0-9a-fA-F]{64}$`).MatchString(n.Value) {
			return "is not a SHA-256", "64 hexadecimal digits, as sha256sum prints them"
		}
		*to = n.Value
		return "", ""
	}
}

func oneOf[T ~string](to *T, values ...T) func(*yaml.Node) (string, string) {
	return func(n *yaml.Node) (string, string) {
		if scalar(n) && slices.Contains(values, T(n.Value)) {
			*to = T(n.Value)
			return "", ""
		}
		words := make([]string, len(values))
		for i, v := range values {
			words[i] = string(v)
		}
		return fmt.Sprintf("%q is not known", n.Value), "one of " + strings.Join(words, ", ")
	}
}

func boolean(to *bool) func(*yaml.Node) (string, string) {
	return func(n *yaml.Node) (string, string) {
		if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" || n.Decode(to) != nil {
			return fmt.Sprintf("%q is neither true nor false", n.Value), ""
		}
		return "", ""
	}
}

func integer[T int | uint8](to *T, least, most int) func(*yaml.Node) (string, string) {
	return func(n *yaml.Node) (string, string) {
		v, err := strconv.Atoi(n.Value)
		if n.Kind != yaml.ScalarNode || err != nil || v < least || v > most {
			return fmt.Sprintf("%q is no whole number from %d to %d", n.Value, least, most), ""
		}
		*to = T(v)
		return "", ""
	}
}

func optional(to **int, least, most int) func(*yaml.Node) (string, string) {
	return func(n *yaml.Node) (string, string) {
		v := 0
		problem, hint := integer(&v, least, most)(n)
		if problem == "" {
			*to = &v
		}
		return problem, hint
	}
}

func number(to *float64, least, most float64) func(*yaml.Node) (string, string) {
	return func(n *yaml.Node) (string, string) {
		v, err := strconv.ParseFloat(n.Value, 64)
		switch {
		case n.Kind != yaml.ScalarNode || err != nil || math.IsNaN(v) || math.IsInf(v, 0):
			return fmt.Sprintf("%q is not a number", n.Value), ""
		case v < least && least == math.SmallestNonzeroFloat32:
			return fmt.Sprintf("%s is not more than 0", n.Value), ""
		case v < least || v > most:
			return fmt.Sprintf("%s is not within %g … %g", n.Value, least, most), ""
		}
		*to = v
		return "", ""
	}
}

func channels(to *[]float64, least float64) func(*yaml.Node) (string, string) {
	return func(n *yaml.Node) (string, string) {
		if n.Kind != yaml.SequenceNode || (len(n.Content) != 1 && len(n.Content) != 3) {
			return "is not a list of one number for each channel", "for example [0.485, 0.456, 0.406]"
		}
		values := make([]float64, len(n.Content))
		for i, element := range n.Content {
			if problem, hint := number(&values[i], least, math.MaxFloat32)(element); problem != "" {
				return problem, hint
			}
		}
		*to = values
		return "", ""
	}
}

func labelList(to *[]string) func(*yaml.Node) (string, string) {
	return func(n *yaml.Node) (string, string) {
		if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
			return "is not a list of labels", "labels: [cat, dog]; a file of labels is labels_file"
		}
		labels := make([]string, len(n.Content))
		for i, element := range n.Content {
			if element.Kind != yaml.ScalarNode {
				return fmt.Sprintf("element %d is not a text", i+1), ""
			}
			labels[i] = element.Value
		}
		if err := checkLabels(labels); err != nil {
			return err.Error(), ""
		}
		*to = labels
		return "", ""
	}
}

// classIndex takes true (class 0), false (none) or an index.
func classIndex(to *int) func(*yaml.Node) (string, string) {
	return func(n *yaml.Node) (string, string) {
		yes := false
		if problem, _ := boolean(&yes)(n); problem == "" {
			if yes {
				*to = 0
			}
			return "", ""
		}
		if problem, _ := integer(to, 0, maxClassIndex)(n); problem != "" {
			return fmt.Sprintf("%q is no class", n.Value), "true for class 0, or the index of the class that means nothing"
		}
		return "", ""
	}
}
