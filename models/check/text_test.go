package check

import (
	"bytes"
	"testing"

	"sightline/pipeline"
)

func TestAReportIsReadable(t *testing.T) {
	r := Report{
		Model: "net", Provider: "cpu", Judged: 2, Right: 1, Refused: "it is wrong",
		Pictures: []Seen{
			{Name: "a.jpg", Right: true, Place: 1, Expected: []string{"cat"}, Predictions: []pipeline.Prediction{{Class: "cat", ClassID: 3, Confidence: 0.5}}},
			{Name: "b.jpg", Place: 2, Expected: []string{"dog", "wolf"}, Problem: "dog is only in place 2, with 0.100", Predictions: []pipeline.Prediction{{Class: "cat", ClassID: 3, Confidence: 0.5}}},
			{Name: "c.jpg", Error: "score of class 3 (cat) is NaN"},
		},
		Findings: []Finding{{Mistakes: []Mistake{Channels, Mean}, Says: "why", Certain: true, Right: 2, Before: 1, Change: []Setting{{"color", "rgb", "bgr"}, {"std", "[1]", ""}}}},
	}
	const want = `net on cpu

a.jpg  ✓
    0.5000     3  cat

b.jpg  ✗ expected dog or wolf: dog is only in place 2, with 0.100
    0.5000     3  cat

c.jpg: score of class 3 (cat) is NaN

1 of 2 pictures are as expected

A pipeline refuses it: it is wrong

Likely mistake: channels swapped, mean missing
  why
  2 of 2 pictures would then be as expected, instead of 1
  Write into the card:
    color: bgr
    (leave std out)
`
	var text bytes.Buffer
	if err := r.WriteText(&text); err != nil || text.String() != want {
		t.Errorf("%v\n%s", err, text.String())
	}
	if r.OK() {
		t.Error("it is OK")
	}
}
