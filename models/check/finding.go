package check

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"sightline/models"
	"sightline/pipeline"
)

// Mistake is a kind of mistake in a card.
type Mistake string

// The mistakes.
const (
	Channels       Mistake = "channels swapped"  // color is rgb where bgr is meant, or the other way round
	Mean           Mistake = "mean missing"      // no mean or std where there should be
	MeanWrong      Mistake = "mean wrong"        // others than there should be, or some where there should be none
	Scale          Mistake = "wrong scale"       // 0 … 1 where 0 … 255 is meant, or the other way round
	SoftmaxTwice   Mistake = "softmax twice"     // activation softmax on probabilities
	SoftmaxMissing Mistake = "softmax missing"   // activation none on logits
	SigmoidTwice   Mistake = "sigmoid needless"  // activation sigmoid on probabilities
	LabelsShifted  Mistake = "labels off by one" // most often a background class
	LayoutWrong    Mistake = "layout wrong"      // nchw where nhwc is meant, or the other way round
	Resize         Mistake = "resize differs"    // another part of the picture is looked at
)

// Setting is one line of a card that should be another one.
type Setting struct {
	Key  string `json:"key"`
	Was  string `json:"was,omitempty"`  // "" when the card does not have it
	Want string `json:"want,omitempty"` // "" when it should not have it
}

// Finding is what is likely wrong with a card, and how to mend it.
type Finding struct {
	Mistakes []Mistake `json:"mistakes"`
	Says     string    `json:"says"`
	Change   []Setting `json:"change"`
	Right    int       `json:"right"`  // pictures that are then as expected
	Before   int       `json:"before"` // and with the card as it is
	Certain  bool      `json:"certain"`
}

// activation finds what the scores themselves tell, whatever the picture is.
func (d *diagnosis) activation() []Finding {
	var usable [][]float32
	for _, s := range d.base.scores {
		if len(s) > 2 {
			usable = append(usable, s)
		}
	}
	if len(usable) == 0 {
		return nil
	}
	shares := !slices.ContainsFunc(usable, func(s []float32) bool { return !isShares(s) })
	outside := slices.ContainsFunc(usable, func(s []float32) bool { return slices.Min(s) < 0 || slices.Max(s) > 1.001 })
	finding := func(m Mistake, want models.Activation, says string) []Finding {
		return []Finding{{
			Mistakes: []Mistake{m}, Says: says, Certain: true,
			Change: []Setting{{"activation", string(d.Card.Activation), string(want)}},
		}}
	}
	switch now := d.Card.Activation; {
	case shares && now == models.Softmax:
		return finding(SoftmaxTwice, models.None, "the model's scores already are probabilities that add up to 1, and activation: softmax flattens them")
	case shares && now == models.Sigmoid && !d.Card.Multilabel:
		return finding(SigmoidTwice, models.None, "the model's scores already are probabilities that add up to 1, and activation: sigmoid brings all of them above 0.5")
	case outside && now == models.None:
		return finding(SoftmaxMissing, models.Softmax, "the model's scores are no probabilities: some are below 0 or above 1")
	}
	return nil
}

// describe puts an alternative into words.
func (d *diagnosis) describe(a alternative, own verdict) Finding {
	f := Finding{Right: a.right, Before: own.right}
	now := inputOf(d.Card)
	f.Mistakes, f.Change = compare(now, a.input)
	if a.shift != 0 {
		f.Mistakes = append(f.Mistakes, LabelsShifted)
		f.Change = append(f.Change, d.labels(a.shift))
	}
	// One picture of many may come right by chance; where a picture is cut decides about single ones.
	clearly := 4*(a.right-own.right) >= a.judged || a.share >= own.share+surer
	f.Certain = a.right > own.right && clearly && !slices.Equal(f.Mistakes, []Mistake{Resize})
	f.Says = strings.Join(d.reasons(f.Mistakes, a), "; ")
	switch {
	case a.judged == 0:
		f.Says += fmt.Sprintf(" (a guess, since nothing tells what is right: the model would then be sure by %.2f instead of %.2f)", a.share, own.share)
	case !f.Certain:
		f.Says += fmt.Sprintf(" (perhaps: the expected labels would then have %.2f instead of %.2f)", a.share, own.share)
	}
	return f
}

// compare names what is different between two inputs, and lists the lines.
func compare(now, want input) ([]Mistake, []Setting) {
	var mistakes []Mistake
	if now.color != want.color {
		mistakes = append(mistakes, Channels)
	}
	mistakes = append(mistakes, compareNumbers(now, want)...)
	if now.layout != want.layout {
		mistakes = append(mistakes, LayoutWrong)
	}
	if now.resize != want.resize || now.resize == pipeline.ResizeCrop && now.crop != want.crop {
		mistakes = append(mistakes, Resize)
	}
	var change []Setting
	add := func(key, was, text string) {
		if was != text {
			change = append(change, Setting{key, was, text})
		}
	}
	add("color", string(now.color), string(want.color))
	add("scale", number(now.scale), number(want.scale))
	add("mean", numbers(now.mean), numbers(want.mean))
	add("std", numbers(now.std), numbers(want.std))
	add("layout", string(now.layout), string(want.layout))
	add("resize_type", string(now.resize), string(want.resize))
	if now.resize == pipeline.ResizeCrop || want.resize == pipeline.ResizeCrop {
		add("crop_fraction", crop(now), crop(want))
	}
	return mistakes, change
}

// compareNumbers compares how levels become numbers, in the units of a picture: the same card can be written in two.
func compareNumbers(now, want input) []Mistake {
	ratio, shift := 0.0, 0.0 // of slopes; of the levels that become 0
	for channel := range now.channels() {
		at := channel
		if now.color != want.color {
			at = 2 - channel
		}
		slope, offset := now.line(channel)
		otherSlope, otherOffset := want.line(at)
		ratio += math.Log(otherSlope / slope)
		shift = max(shift, math.Abs(offset/slope-otherOffset/otherSlope))
	}
	ratio = math.Abs(ratio) / float64(now.channels())
	var list []Mistake
	if ratio > math.Log(20) {
		list = append(list, Scale)
	}
	differs := shift > 30 || ratio > math.Log(1.5) && ratio <= math.Log(20)
	lacks := now.mean == nil && want.mean != nil || now.std == nil && want.std != nil
	switch {
	case differs && lacks:
		list = append(list, Mean)
	case differs:
		list = append(list, MeanWrong)
	}
	return list
}

// reasons are sentences, one for each mistake.
func (d *diagnosis) reasons(mistakes []Mistake, a alternative) []string {
	var list []string
	now := inputOf(d.Card)
	for _, m := range mistakes {
		switch m {
		case Channels:
			list = append(list, fmt.Sprintf("the channels are swapped: color is %s, and the model wants %s", now.color, a.input.color))
		case Mean:
			list = append(list, lacking(now, a.input))
		case MeanWrong:
			list = append(list, "mean and std are not those of the model")
		case Scale:
			list = append(list, fmt.Sprintf("the scale is wrong: the numbers go %s, and the model wants %s", now.span(), a.input.span()))
		case LayoutWrong:
			list = append(list, fmt.Sprintf("the layout is %s, and the model wants %s", now.layout, a.input.layout))
		case Resize:
			list = append(list, "another part of the picture is looked at than the model was made for")
		case LabelsShifted:
			list = append(list, d.moved(a.shift))
		}
	}
	return list
}

// lacking says what is not there.
func lacking(now, want input) string {
	switch {
	case now.mean != nil || want.mean == nil:
		return "std is missing"
	case now.std != nil || want.std == nil:
		return "mean is missing"
	}
	return "mean and std are missing"
}

// moved gives an example of how labels and classes do not meet.
func (d *diagnosis) moved(shift int) string {
	text := "the labels are off by one"
	for _, want := range d.wants {
		if want != nil {
			return fmt.Sprintf("%s: %q is number %d of the labels, and class %d of the model (both counted from 0)", text, d.base.labels[want[0]], want[0], want[0]+shift)
		}
	}
	return text
}

// labels is how a list of labels is moved.
func (d *diagnosis) labels(shift int) Setting {
	if b := d.Card.Background; b > 0 && shift > 0 {
		return Setting{"background", strconv.Itoa(int(b)), "true"}
	}
	key, was := "labels", ""
	if d.Card.LabelsFile != "" {
		key, was = "labels_file", d.Card.LabelsFile
	}
	if shift > 0 {
		return Setting{key, was, "a list with one class more at its beginning (a background class?)"}
	}
	return Setting{key, was, "a list with one class less at its beginning (is its first one a background class?)"}
}

func (in input) span() string {
	low, high := in.reach()
	return fmt.Sprintf("from %.3g to %.3g", low, high)
}

// String is for progress.
func (in input) String() string { return fmt.Sprintf("%s, %s, %s", in.color, in.span(), in.resize) }

func number(v float64) string {
	if v == 0 {
		return ""
	}
	return strconv.FormatFloat(v, 'g', 6, 64)
}

func numbers(list []float64) string {
	if list == nil {
		return ""
	}
	words := make([]string, len(list))
	for i, v := range list {
		words[i] = strconv.FormatFloat(v, 'g', 6, 64)
	}
	return "[" + strings.Join(words, ", ") + "]"
}

func crop(in input) string {
	if in.resize != pipeline.ResizeCrop {
		return ""
	}
	return number(in.crop)
}
