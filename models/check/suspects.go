package check

import (
	"math"
	"slices"

	"sightline/models"
	"sightline/pipeline"
)

// input is the part of a card that says how numbers are made of a picture.
type input struct {
	color     models.Color
	scale     float64
	mean, std []float64 // in the order of color
	layout    models.Layout
	resize    pipeline.ResizeType
	crop      float64
}

func inputOf(c *models.Card) input {
	return input{c.Color, c.Scale, c.Mean, c.Std, c.Layout, c.Resize, c.CropFraction}
}

// on is a card with that input.
func (in input) on(c models.Card) models.Card {
	c.Color, c.Scale, c.Mean, c.Std = in.color, in.scale, in.mean, in.std
	c.Layout, c.Resize, c.CropFraction = in.layout, in.resize, in.crop
	return c
}

// recipes are the habits of those who train models, in the order of red, green, blue.
func recipes() []input {
	return []input{
		{scale: 255, mean: []float64{0.485, 0.456, 0.406}, std: []float64{0.229, 0.224, 0.225}}, // torchvision
		{scale: 1, mean: []float64{123.68, 116.779, 103.939}},                                   // Caffe
		{scale: 255, mean: []float64{0.5, 0.5, 0.5}, std: []float64{0.5, 0.5, 0.5}},             // TensorFlow: -1 … 1
		{scale: 255}, // 0 … 1
		{scale: 1},   // 0 … 255
	}
}

// suspects are the inputs that a card may have been confused with: first those that differ in one thing.
func suspects(c *models.Card, signature models.Tensor) []input {
	own := inputOf(c)
	list := []input{own}
	add := func(change func(*input)) {
		in := own
		change(&in)
		list = append(list, in)
	}
	if c.Color != models.Gray {
		add(func(in *input) { in.color = swapped(own.color) })
		add(func(in *input) {
			in.color, in.mean, in.std = swapped(own.color), reversed(own.mean), reversed(own.std)
		})
	}
	if c.Scale != 0 {
		for _, scale := range []float64{own.scale * 255, own.scale / 255} {
			if scale > 0.5 && scale < 300 { // no one means other ones
				add(func(in *input) { in.scale = scale })
			}
		}
		add(func(in *input) { in.mean = nil })
		add(func(in *input) { in.std = nil })
		list = append(list, habits(own)...)
	}
	if open := slices.Index(signature.Shape, 3) < 0; open && c.Layout != "" && c.Color != models.Gray {
		add(func(in *input) { in.layout = otherLayout(own.layout) })
	}
	for _, crop := range []float64{0.875, 1} {
		add(func(in *input) { in.resize, in.crop = pipeline.ResizeCrop, crop })
	}
	add(func(in *input) { in.resize, in.crop = pipeline.ResizeStandard, 1 })
	return distinct(list)
}

// habits are the recipes in both orders of colours, or, of one channel, those that do not tell channels apart.
func habits(own input) []input {
	var list []input
	for _, recipe := range recipes() {
		in := own
		in.scale, in.mean, in.std = recipe.scale, recipe.mean, recipe.std
		if own.color == models.Gray {
			in.mean, in.std = one(recipe.mean), one(recipe.std)
			list = append(list, in)
			continue
		}
		for _, color := range []models.Color{own.color, swapped(own.color)} {
			in.color, in.mean, in.std = color, recipe.mean, recipe.std
			if color == models.BGR {
				in.mean, in.std = reversed(recipe.mean), reversed(recipe.std)
			}
			list = append(list, in)
		}
	}
	return list
}

// one is the mean of a list, as a list.
func one(list []float64) []float64 {
	if list == nil {
		return nil
	}
	sum := 0.0
	for _, v := range list {
		sum += v
	}
	return []float64{sum / float64(len(list))}
}

// distinct leaves out what comes to about the same numbers as something before it.
func distinct(list []input) []input {
	var kept []input
	for _, in := range list {
		if !slices.ContainsFunc(kept, in.alike) {
			kept = append(kept, in)
		}
	}
	return kept
}

// alike tells whether two inputs come to the same numbers, but for some levels of 255: nothing that a model can tell.
func (in input) alike(other input) bool {
	if in.color != other.color || in.layout != other.layout || in.resize != other.resize || in.crop != other.crop {
		return false
	}
	for channel := range in.channels() {
		slope, offset := in.line(channel)
		otherSlope, otherOffset := other.line(channel)
		if math.Abs(offset/slope-otherOffset/otherSlope) > 3 || math.Abs(math.Log(slope/otherSlope)) > 0.05 {
			return false
		}
	}
	return true
}

func (in input) channels() int {
	if in.color == models.Gray {
		return 1
	}
	return 3
}

// line is how a channel, counted in the order of color, becomes a number: slope × x + offset.
func (in input) line(channel int) (slope, offset float64) {
	scale, mean, std := 1.0, 0.0, 1.0
	if in.scale != 0 {
		scale = in.scale
	}
	if in.mean != nil {
		mean = in.mean[channel]
	}
	if in.std != nil {
		std = in.std[channel]
	}
	return 1 / (scale * std), 0 - mean/std
}

// reach is the least and the largest number that any channel can become.
func (in input) reach() (low, high float64) {
	low, high = math.Inf(1), math.Inf(-1)
	for channel := range in.channels() {
		slope, offset := in.line(channel)
		low, high = min(low, offset), max(high, offset+255*slope)
	}
	return low, high
}

func swapped(c models.Color) models.Color {
	if c == models.BGR {
		return models.RGB
	}
	return models.BGR
}

func otherLayout(l models.Layout) models.Layout {
	if l == models.NHWC {
		return models.NCHW
	}
	return models.NHWC
}

func reversed(list []float64) []float64 {
	out := slices.Clone(list)
	slices.Reverse(out)
	return out
}
