package models

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"sightline/configs/strict"
	"sightline/configs/strict/stricttest"
)

func TestTheJSONSchemaIsCurrent(t *testing.T) {
	text, err := strict.Schema(reflect.TypeFor[Card](), "card.schema.json", "Sightline model card")
	if err != nil {
		t.Fatal(err)
	}
	stricttest.Golden(t, "card.schema.json", string(text), *update)
	if !*update && !bytes.Equal(text, CardSchema()) {
		t.Error("the embedded schema is another")
	}
}

func TestTheReferenceIsCurrent(t *testing.T) {
	const path = "../docs/models.md"
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	stricttest.Golden(t, path, stricttest.Section(t, string(page), "keys", stricttest.Table(t, reflect.TypeFor[Card]())), *update)
}

func TestCardsFitTheSchema(t *testing.T) {
	check := stricttest.Editor(t, CardSchema())
	for _, path := range append(cards(t, "good"), filepath.Join("gate", "gate.yaml")) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := check(text); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	for _, name := range []string{"everything-missing", "unknown-keys", "wrong-values"} {
		text, err := os.ReadFile(filepath.Join("testdata", "cards", "bad", name+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		if check(text) == nil {
			t.Errorf("%s passes the schema", name)
		}
	}
}
