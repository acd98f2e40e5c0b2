package strict_test

import (
	"reflect"
	"testing"

	"sightline/configs/strict"
	"sightline/configs/strict/stricttest"
)

type optionally struct {
	RTSP   *camera `mapstructure:"rtsp"`
	File   *file   `mapstructure:"file"`
	Limits *limits `mapstructure:"limits" optional:"true"`
}

func TestAnOptionalGroupIsNoAlternative(t *testing.T) {
	definition := reflect.TypeFor[optionally]()
	schema, err := strict.Schema(definition, "s.json", "s")
	if err != nil {
		t.Fatal(err)
	}
	editor := stricttest.Editor(t, schema)
	for yaml, settled := range map[string]bool{
		"file: {path: a}\n":                          false,
		"file: {path: a}\nlimits: {}\n":              true,
		"file: {path: a}\nlimits: {max_bytes: 1MiB}": true,
	} {
		doc, problems := strict.Read("f", []byte(yaml), definition, strict.Options{})
		if problems.Err() != nil {
			t.Fatalf("%q: %v", yaml, problems)
		}
		limits, there := doc.Settings()["limits"].(map[string]any)
		if there != settled || there && limits["small"] == nil {
			t.Errorf("%q: limits are %v", yaml, doc.Settings()["limits"])
		}
		if err := editor([]byte(yaml)); err != nil {
			t.Errorf("%q: %v", yaml, err)
		}
	}
	if _, problems := strict.Read("f", []byte("limits: {}\n"), definition, strict.Options{}); problems.Err() == nil {
		t.Error("an optional group stands for an alternative")
	}
}
