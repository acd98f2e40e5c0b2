package models

import (
	"fmt"
	"strconv"
	"strings"

	"sightline/configs/strict"
	"sightline/pipeline"
)

// CardFromMetadata makes a card of the metadata_props that OpenVINO's Model API writes into a .onnx
// file: keys like "model_info labels". found is false when the metadata has no labels, which is when
// it was not written for a classifier.
//
// There numbers are (x - mean_values) / scale_values with x of 0…255, and pictures come as BGR
// unless reverse_input_channels says otherwise. It has no word for the activation: scores are logits.
func CardFromMetadata(name string, properties map[string]string) (card *Card, found bool, err error) {
	m := metadata{file: name + " (metadata)", values: properties}
	labels := strings.Fields(m.value("labels"))
	if len(labels) == 0 {
		return nil, false, nil
	}
	if task := m.value("model_type"); task != "" && !strings.EqualFold(task, "classification") {
		m.refuse("model_type", fmt.Sprintf("%q is no classifier", task))
	}
	c, _ := decode(m.file, []byte("{}")) // the defaults
	c.doc, c.Labels, c.Color, c.Scale, c.Activation = nil, labels, BGR, 1, Softmax
	if m.boolean("reverse_input_channels") {
		c.Color = RGB
	}
	if c.Multilabel = m.boolean("multilabel"); c.Multilabel {
		c.Activation = Sigmoid
	}
	c.Mean, c.Std = m.numbers("mean_values"), m.numbers("scale_values")
	m.resize(&c.Resize)
	if pad := m.numbers("pad_value"); len(pad) > 0 {
		c.PadValue = int(min(max(pad[0], 0), 255))
	}
	if t := m.numbers("confidence_threshold"); len(t) > 0 {
		c.Threshold = t[0]
	}
	c.Name, c.Description = m.value("model_name"), m.value("description")
	for _, p := range c.checkMetadata() {
		m.refuse(p.Key, p.Problem)
	}
	if len(m.problems) > 0 {
		return nil, true, m.problems
	}
	return c, true, nil
}

// checkMetadata repeats for values from metadata what the keys of a card are checked for.
func (c *Card) checkMetadata() strict.Problems {
	var found strict.Problems
	add := func(key, problem string) { found = append(found, c.problem(key, problem, "")) }
	if err := checkLabels(c.Labels); err != nil {
		add("labels", err.Error())
	}
	if c.Mean != nil && len(c.Mean) != 3 {
		add("mean_values", fmt.Sprintf("has %d numbers, not 3", len(c.Mean)))
	}
	if c.Std != nil && len(c.Std) != 3 {
		add("scale_values", fmt.Sprintf("has %d numbers, not 3", len(c.Std)))
	}
	for _, s := range c.Std {
		if s <= 0 {
			add("scale_values", fmt.Sprintf("%g is not more than 0", s))
		}
	}
	if c.Threshold < 0 || c.Threshold > 1 {
		add("confidence_threshold", fmt.Sprintf("%g is not within 0 … 1", c.Threshold))
	}
	return found
}

type metadata struct {
	file     string
	values   map[string]string
	problems strict.Problems
}

func (m *metadata) value(key string) string { return strings.TrimSpace(m.values["model_info "+key]) }

func (m *metadata) refuse(key, problem string) {
	m.problems = append(m.problems, strict.Problem{File: m.file, Key: key, Problem: problem, Suggestion: "write a card beside the model"})
}

func (m *metadata) boolean(key string) bool {
	switch strings.ToLower(m.value(key)) {
	case "", "false", "no", "0":
		return false
	case "true", "yes", "1":
		return true
	}
	m.refuse(key, fmt.Sprintf("%q is neither true nor false", m.value(key)))
	return false
}

// numbers reads numbers between blanks or commas, with or without brackets.
func (m *metadata) numbers(key string) []float64 {
	words := strings.FieldsFunc(m.value(key), func(r rune) bool { return strings.ContainsRune(" ,[]", r) })
	var list []float64
	for _, word := range words {
		v, err := strconv.ParseFloat(word, 32)
		if err != nil || v != v {
			m.refuse(key, fmt.Sprintf("%q is not a number", word))
			return nil
		}
		list = append(list, v)
	}
	return list
}

// resize leaves to as it is when the metadata does not say.
func (m *metadata) resize(to *pipeline.ResizeType) {
	switch t := pipeline.ResizeType(m.value("resize_type")); t {
	case "":
	case pipeline.ResizeStandard, pipeline.ResizeCrop, pipeline.ResizeFit, pipeline.ResizeLetterbox:
		*to = t
	default:
		m.refuse("resize_type", fmt.Sprintf("%q is not known", t))
	}
}
