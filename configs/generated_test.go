package configs_test

import (
	"bytes"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"sightline/configs"
	"sightline/configs/strict"
	"sightline/configs/strict/stricttest"
)

var update = flag.Bool("update", false, "rewrite golden files, the JSON Schema and the reference")

func TestTheJSONSchemaIsCurrent(t *testing.T) {
	schema, err := strict.Schema(reflect.TypeFor[configs.Pipeline](), "pipeline.schema.json", "Sightline pipeline file")
	if err != nil {
		t.Fatal(err)
	}
	stricttest.Golden(t, "pipeline.schema.json", string(schema), *update)
	if !*update && !bytes.Equal(schema, configs.JSONSchema()) {
		t.Error("the embedded schema is another")
	}
}

func TestExamplesLoadAndFitTheSchema(t *testing.T) {
	check := stricttest.Editor(t, configs.JSONSchema())
	files, err := fs.Glob(configs.Examples(), "*.yaml")
	if err != nil || len(files) < 6 {
		t.Fatalf("%d examples, %v", len(files), err)
	}
	for _, name := range files {
		t.Run(name, func(t *testing.T) {
			data, err := fs.ReadFile(configs.Examples(), name)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.HasPrefix(data, []byte("# yaml-language-server: $schema=pipeline.schema.json\n")) {
				t.Error("does not name its schema in the first line")
			}
			p, err := configs.Parse(name, data, configs.Options{Env: exampleEnv, BuiltIn: []string{"gate"}, Elsewhere: true})
			if err != nil {
				t.Fatal(err)
			}
			if len(p.Warnings) > 0 {
				t.Error(p.Warnings)
			}
			if err := check(data); err != nil {
				t.Error(err)
			}
		})
	}
}

func exampleEnv(name string) (string, bool) {
	switch name {
	case "SIGHTLINE_DEMO_RTSP_URL":
		return "rtsp://127.0.0.1:8554/gate", true
	case "SIGHTLINE_DEMO_MQTT_URL":
		return "mqtt://127.0.0.1:1883", true
	}
	if name == "SITE" || strings.HasSuffix(name, "_PASSWORD") {
		return "example", true
	}
	return "", false
}

func TestTheSchemaRefusesWhatAnEditorShouldUnderline(t *testing.T) {
	check := stricttest.Editor(t, configs.JSONSchema())
	for _, name := range []string{
		"unknown-key", "upper-case-key", "name-with-dot", "duration-without-unit", "size-without-unit", "two-kinds", "no-kind",
		"missing-url", "password-in-file", "wrong-enum", "wrong-box", "no-inputs", "region-of-three", "number-as-text",
	} {
		data, err := os.ReadFile(filepath.Join("testdata", "bad", name+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		if check(data) == nil {
			t.Errorf("%s passes the schema", name)
		}
	}
}

const docs = "../docs/configuration.md"

func TestTheReferenceIsCurrent(t *testing.T) {
	page, err := os.ReadFile(docs)
	if err != nil {
		t.Fatal(err)
	}
	text := stricttest.Section(t, string(page), "keys", stricttest.Table(t, reflect.TypeFor[configs.Pipeline]()))
	text = stricttest.Section(t, text, "overrides", overrides())
	stricttest.Golden(t, docs, text, *update)
}

func overrides() string {
	var b strings.Builder
	b.WriteString("| key | variable | flag |\n| --- | --- | --- |\n")
	for _, o := range configs.Overrides() {
		fmt.Fprintf(&b, "| `%s` | `%s` | `--%s` |\n", o.Key, o.Env, o.Flag)
	}
	return b.String()
}
