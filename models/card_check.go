package models

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"

	"sightline/configs/strict"
	"sightline/pipeline"
)

// checking gathers what the definition of a card cannot say.
type checking struct {
	*Card
	problems strict.Problems
}

func (c *checking) add(key, problem, suggestion string) {
	c.problems = append(c.problems, c.problem(key, problem, suggestion))
}

// check says what does not go together in a card that was parsed, whatever its model is. What was
// refused already is not judged again.
func (c *Card) check() strict.Problems {
	found := &checking{Card: c}
	found.checkLabels()
	found.checkNumbers()
	found.checkPicture()
	found.checkScores()
	if c.SHA256 != "" && !regexp.MustCompile(`^(sha256:)?[0-9a-fA-F]{64}$`).MatchString(c.SHA256) {
		found.add("sha256", "is not a SHA-256", "64 hexadecimal digits, as sha256sum prints them")
	}
	return found.problems
}

func (c *checking) checkLabels() {
	list, file := c.doc.Stands("labels"), c.doc.Stands("labels_file")
	switch {
	case !list && !file:
		c.add("labels", "is missing", "labels: [cat, dog], or labels_file: labels.txt")
	case list && file:
		c.add("labels_file", "does not go with labels", "give one of them")
	case c.doc.Given("labels_file") && !filepath.IsLocal(c.LabelsFile):
		c.add("labels_file", fmt.Sprintf("%q is not within the card's folder", c.LabelsFile), "put the file beside the card")
	}
	if !c.doc.Given("labels") {
		return
	}
	for i := range c.Labels {
		if !c.doc.Given(fmt.Sprintf("labels[%d]", i)) {
			return
		}
	}
	if err := checkLabels(c.Labels); err != nil {
		c.add("labels", err.Error(), "")
	}
}

// checkNumbers finds numbers that are in bounds but cannot be meant.
func (c *checking) checkNumbers() {
	given := slices.DeleteFunc([]string{"scale", "mean", "std"}, func(key string) bool { return !c.doc.Stands(key) })
	if c.DType == Uint8 || c.DType == Int8 {
		for _, key := range given {
			c.add(key, fmt.Sprintf("does not go with dtype %s, whose inputs are the bytes themselves", c.DType), "")
		}
		return
	}
	if !c.doc.Stands("scale") && (c.DType != "" || len(given) > 0) {
		c.add("scale", "is missing", scaleHint)
	}
	c.checkChannels("mean", c.Mean)
	c.checkChannels("std", c.Std)
	if len(c.Mean) == 0 {
		return
	}
	most := slices.Max(c.Mean)
	if c.Scale >= 100 && most > 2 {
		c.add("mean", fmt.Sprintf("%g is a number of 0 … 255, but scale %g makes the inputs 0 … 1", most, c.Scale),
			"scale: 1 with mean and std of 0 … 255, or scale: 255 with those of 0 … 1")
	}
	if c.Scale == 1 && most > 0 && most <= 1 {
		c.add("mean", fmt.Sprintf("%g is a number of 0 … 1, but scale 1 leaves the inputs 0 … 255", most), "scale: 255")
	}
}

const scaleHint = "255 when the model wants 0 … 1 before mean and std, 1 when it wants 0 … 255"

func (c *checking) checkChannels(key string, list []float64) {
	if want := c.channels(); c.doc.Given(key) && c.Color != "" && len(list) != want {
		c.add(key, fmt.Sprintf("has %d numbers, color %s has %d channels", len(list), c.Color, want), "")
	}
}

func (c *checking) checkPicture() {
	refused := c.doc.Stands("resize_type") && !c.doc.Given("resize_type")
	if c.doc.Stands("crop_fraction") && !refused && c.Resize != pipeline.ResizeCrop {
		c.add("crop_fraction", "is only for resize_type: crop", "")
	}
	if c.doc.Stands("pad_value") && !refused && c.Resize != pipeline.ResizeFit && c.Resize != pipeline.ResizeLetterbox {
		c.add("pad_value", "is only for the fit_to_window types of resize_type", "")
	}
	if c.doc.Stands("width") != c.doc.Stands("height") {
		c.add("width", "goes together with height", "")
	}
}

func (c *checking) checkScores() {
	if c.Multilabel && c.Activation == Softmax {
		c.add("multilabel", "does not go with activation softmax, which lets one class win", "activation: sigmoid")
	}
	if (c.Activation == Softmax || c.Activation == Sigmoid) && (c.Threshold < 0 || c.Threshold > 1) {
		c.add("threshold", fmt.Sprintf("%g is not within 0 … 1", c.Threshold), "")
	}
}

func (c *Card) channels() int {
	if c.Color == Gray {
		return 1
	}
	return 3
}
