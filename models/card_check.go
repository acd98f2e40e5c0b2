package models

import (
	"fmt"
	"path/filepath"
	"slices"

	"sightline/pipeline"
)

// check says what does not go together in a card, whatever its model is.
func (c *Card) check() []Problem {
	var found []Problem
	add := func(key, text, hint string) { found = append(found, c.problem(key, text, hint)) }
	c.checkLabelKeys(add)
	c.checkNumbers(add)
	if c.Multilabel && c.Activation == Softmax {
		add("multilabel", "does not go with activation softmax, which lets one class win", "activation: sigmoid")
	}
	if (c.Activation == Softmax || c.Activation == Sigmoid) && (c.Threshold < 0 || c.Threshold > 1) {
		add("threshold", fmt.Sprintf("%g is not within 0 … 1", c.Threshold), "")
	}
	resize := c.Resize != "" || !c.has("resize_type") // else it was refused already
	if c.has("crop_fraction") && resize && c.Resize != pipeline.ResizeCrop {
		add("crop_fraction", "is only for resize_type: crop", "")
	}
	if c.has("pad_value") && resize && c.Resize != pipeline.ResizeFit && c.Resize != pipeline.ResizeLetterbox {
		add("pad_value", "is only for the fit_to_window types of resize_type", "")
	}
	if c.has("width") != c.has("height") {
		add("width", "goes together with height", "")
	}
	return found
}

// missing says which required keys are not there.
func (c *Card) missing() []Problem {
	var found []Problem
	add := func(key, hint string) { found = append(found, c.problem(key, "is missing", hint)) }
	if !c.has("labels") && !c.has("labels_file") {
		add("labels", "labels: [cat, dog], or labels_file: labels.txt")
	}
	if !c.has("color") {
		add("color", "rgb for models of torchvision and TensorFlow, bgr for models of Caffe, gray for one channel")
	}
	if !c.has("activation") {
		add("activation", "softmax when the model gives logits, none when it gives probabilities, sigmoid for independent classes")
	}
	bytes := c.DType == Uint8 || c.DType == Int8
	if !c.has("scale") && !bytes && (c.DType != "" || c.has("mean") || c.has("std")) {
		add("scale", scaleHint)
	}
	return found
}

func (c *Card) has(key string) bool {
	_, ok := c.at[key]
	return ok
}

func (c *Card) checkLabelKeys(add func(key, text, hint string)) {
	switch {
	case c.has("labels") && c.has("labels_file"):
		add("labels_file", "does not go with labels", "give one of them")
	case c.LabelsFile != "" && !filepath.IsLocal(c.LabelsFile):
		add("labels_file", fmt.Sprintf("%q leads out of the card's folder", c.LabelsFile), "put the file beside the card")
	}
}

// checkNumbers finds numbers that fit the type but cannot be meant.
func (c *Card) checkNumbers(add func(key, text, hint string)) {
	given := slices.DeleteFunc([]string{"scale", "mean", "std"}, func(k string) bool { return !c.has(k) })
	if c.DType == Uint8 || c.DType == Int8 {
		for _, key := range given {
			add(key, fmt.Sprintf("does not go with dtype %s, whose inputs are the bytes themselves", c.DType), "")
		}
		return
	}
	for _, key := range given {
		list := map[string][]float64{"mean": c.Mean, "std": c.Std}[key]
		if want := c.channels(); list != nil && c.Color != "" && len(list) != want {
			add(key, fmt.Sprintf("has %d numbers, color %s has %d channels", len(list), c.Color, want), "")
		}
	}
	if c.Mean == nil {
		return
	}
	most := slices.Max(c.Mean)
	if c.Scale >= 100 && most > 2 {
		add("mean", fmt.Sprintf("%g is a number of 0 … 255, but scale %g makes the inputs 0 … 1", most, c.Scale),
			"scale: 1 with mean and std of 0 … 255, or scale: 255 with those of 0 … 1")
	}
	if c.Scale == 1 && most > 0 && most <= 1 {
		add("mean", fmt.Sprintf("%g is a number of 0 … 1, but scale 1 leaves the inputs 0 … 255", most), "scale: 255")
	}
}

const scaleHint = "255 when the model wants 0 … 1 before mean and std, 1 when it wants 0 … 255"

func (c *Card) channels() int {
	if c.Color == Gray {
		return 1
	}
	return 3
}

// suggest names the key that was probably meant.
func suggest(key string, fields []field) string {
	others := map[string]string{
		"license": "licence", "colour": "color", "color_order": "color", "channel_order": "color",
		"reverse_input_channels": "color: rgb or bgr", "mean_values": "mean, with scale: 1",
		"scale_values": "std, with scale: 1", "confidence_threshold": "threshold", "topk": "top_k",
		"labels_path": "labels_file", "classes": "labels", "names": "labels", "format": "layout",
		"input_dtype": "dtype", "data_type": "dtype", "normalization": "mean, std and scale",
		"resize": "resize_type", "input_width": "width", "input_height": "height",
	}
	if other, ok := others[key]; ok {
		return "it is called " + other + " here"
	}
	best, least := "", 3
	for _, f := range fields {
		if d := distance(key, f.key); d < least && d < len(f.key) {
			best, least = f.key, d
		}
	}
	if best == "" {
		return ""
	}
	return "did you mean " + best + "?"
}

// distance is the number of letters to insert, delete or replace to get from a to b (Levenshtein).
// Keys much longer than any real one are far from all.
func distance(a, b string) int {
	if len(a) > 64 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		previous := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := previous
			if a[i] != b[j] {
				cost++
			}
			previous = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
