package check

import (
	"slices"
	"testing"

	"sightline/models"
)

func cardOf(t *testing.T, text string) *models.Card {
	t.Helper()
	c, err := models.ParseCard("card.yaml", []byte("labels: [a, b, c]\nactivation: none\n"+text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTheCardItselfIsSuspectedFirstAndNothingTwice(t *testing.T) {
	tensor := models.Tensor{Name: "x", Type: models.Float32, Shape: []int64{1, 3, 8, 8}}
	for text, most := range map[string]int{
		"color: rgb\nscale: 255\nmean: [0.485, 0.456, 0.406]\nstd: [0.229, 0.224, 0.225]": 20,
		"color: bgr\nscale: 1\nmean: [104, 117, 123]":                                     20,
		"color: rgb\nscale: 255":  20,
		"color: gray\nscale: 255": 12,
		"color: rgb":              5,
	} {
		c := cardOf(t, text)
		list := suspects(c, tensor)
		if !list[0].alike(inputOf(c)) || len(list) > most || len(list) < 4 {
			t.Errorf("%q has %d suspects", text, len(list))
		}
		for i, a := range list {
			if slices.ContainsFunc(list[:i], a.alike) {
				t.Errorf("%q: %+v is there twice", text, a)
			}
			if got, _ := compare(inputOf(c), a); (len(got) == 0) != (i == 0) {
				t.Errorf("%q: %+v differs by %q", text, a, got)
			}
		}
	}
}

func TestTheSameNumbersInOtherUnitsAreNoMistake(t *testing.T) {
	pairs := [][2]string{
		{"color: rgb\nscale: 255\nmean: [0.485, 0.456, 0.406]\nstd: [0.229, 0.224, 0.225]", "color: rgb\nscale: 1\nmean: [123.675, 116.28, 103.53]\nstd: [58.395, 57.12, 57.375]"},
		{"color: rgb\nscale: 255\nmean: [0.5, 0.5, 0.5]\nstd: [0.5, 0.5, 0.5]", "color: rgb\nscale: 1\nmean: [127, 127, 127]\nstd: [128, 128, 128]"},
		{"color: bgr\nscale: 1\nmean: [104, 117, 123]", "color: bgr\nscale: 1\nmean: [103.939, 116.779, 123.68]"},
	}
	for _, p := range pairs {
		a, b := inputOf(cardOf(t, p[0])), inputOf(cardOf(t, p[1]))
		if got := compareNumbers(a, b); !a.alike(b) || got != nil {
			t.Errorf("%q and %q differ by %q", p[0], p[1], got)
		}
	}
}
