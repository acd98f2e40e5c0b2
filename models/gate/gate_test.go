package gate_test

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"testing"

	"sightline/models"
	"sightline/models/gate"
)

func parsed(t *testing.T) *models.Card {
	t.Helper()
	card, err := models.ParseCard("gate.yaml", gate.Card())
	if err != nil {
		t.Fatal(err)
	}
	return card
}

func TestTheCardIsTheModels(t *testing.T) {
	sum := sha256.Sum256(gate.Model())
	if got, want := hex.EncodeToString(sum[:]), parsed(t).SHA256; got != want {
		t.Errorf("gate.onnx has sha256 %s, its card says %q", got, want)
	}
}

func TestTheModelIsSmall(t *testing.T) {
	if size := len(gate.Model()); size == 0 || size > 5<<20 {
		t.Errorf("gate.onnx has %d bytes, want at most 5 MiB", size)
	}
}

func TestTheCardSaysHowToAsk(t *testing.T) {
	card := parsed(t)
	if card.Layout != models.NHWC || card.Color != models.RGB || card.DType != models.Uint8 {
		t.Errorf("input is %s %s %s", card.Layout, card.Color, card.DType)
	}
	if card.Mean != nil || card.Std != nil || card.Scale != 0 {
		t.Errorf("the model normalises by itself, the card says mean %v, std %v, scale %v", card.Mean, card.Std, card.Scale)
	}
	if card.Activation != models.Softmax || card.Multilabel {
		t.Errorf("activation is %s, multilabel %v", card.Activation, card.Multilabel)
	}
	// These are scene.Classes(), which the models section does not import.
	want := []string{"empty", "person", "bicycle", "car", "truck", "dog"}
	if !slices.Equal(card.Labels, want) {
		t.Errorf("labels are %v, want %v", card.Labels, want)
	}
}

func TestTheCardTellsWhatItMust(t *testing.T) {
	card := parsed(t)
	for key, text := range map[string]string{
		"name": card.Name, "version": card.Version, "description": card.Description, "source": card.Source,
		"data": card.Data, "accuracy": card.Accuracy, "not_for": card.NotFor,
	} {
		if text == "" {
			t.Errorf("%s is not given", key)
		}
	}
	if card.Licence != "Apache-2.0" {
		t.Errorf("licence is %q", card.Licence)
	}
}
