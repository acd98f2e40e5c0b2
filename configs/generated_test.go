package configs_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"sightline/configs"
	"sightline/configs/strict"
)

var update = flag.Bool("update", false, "rewrite golden files, the JSON Schema and the reference")

// golden compares a file with what it should hold, or rewrites it.
func golden(t *testing.T, path, want string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (go test ./configs -update writes it)", err)
	}
	if string(got) != want {
		t.Errorf("%s is not current (go test ./configs -update rewrites it)\nfile:\n%s\nnow:\n%s", path, got, want)
	}
}

func TestTheJSONSchemaIsCurrent(t *testing.T) {
	schema, err := strict.Schema(reflect.TypeFor[configs.Pipeline](), "pipeline.schema.json", "Sightline pipeline file")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "pipeline.schema.json", string(schema))
	if !*update && !bytes.Equal(schema, configs.JSONSchema()) {
		t.Error("the embedded schema is another")
	}
}

// compiled returns the schema on disk.
func compiled(t testing.TB) *jsonschema.Schema {
	t.Helper()
	data, err := os.ReadFile("pipeline.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource("pipeline.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := compiler.Compile("pipeline.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// editorSees checks a YAML file against the schema as an editor does.
func editorSees(t testing.TB, s *jsonschema.Schema, data []byte) error {
	t.Helper()
	var value any
	if err := yaml.Unmarshal(data, &value); err != nil {
		return err
	}
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(instance)
}

func TestExamplesLoadAndFitTheSchema(t *testing.T) {
	schema := compiled(t)
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
			if err := editorSees(t, schema, data); err != nil {
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
	schema := compiled(t)
	for _, name := range []string{
		"unknown-key", "upper-case-key", "name-with-dot", "duration-without-unit", "size-without-unit", "two-kinds", "no-kind",
		"missing-url", "password-in-file", "wrong-enum", "box-of-later-version", "no-inputs", "region-of-three", "number-as-text",
	} {
		data, err := os.ReadFile(filepath.Join("testdata", "bad", name+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		if editorSees(t, schema, data) == nil {
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
	text := between(t, string(page), "keys", reference())
	text = between(t, text, "overrides", overrides())
	golden(t, docs, text)
}

// between replaces what stands between the marks of a page.
func between(t *testing.T, page, mark, content string) string {
	t.Helper()
	begin, end := "<!-- "+mark+": generated -->\n", "<!-- "+mark+": end -->"
	before, rest, ok := strings.Cut(page, begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no marks for %s", docs, mark)
	}
	return before + begin + "\n" + content + "\n" + end + after
}

func reference() string {
	var b strings.Builder
	b.WriteString("| key | value | default | meaning |\n| --- | --- | --- | --- |\n")
	for _, e := range strict.Reference(reflect.TypeFor[configs.Pipeline]()) {
		value, def := e.Kind, "`"+e.Default+"`"
		if e.Range != "" {
			value += ", " + e.Range
		}
		if e.Default == "" {
			def = ""
		}
		if e.Required {
			def = "required"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", e.Path, strings.ReplaceAll(value, "|", `\|`), def, cell(e))
	}
	return b.String()
}

func cell(e strict.Entry) string {
	text := e.Doc
	if e.Example != "" {
		text += " For example `" + e.Example + "`."
	}
	return strings.TrimSpace(strings.ReplaceAll(text, "|", `\|`))
}

func overrides() string {
	var b strings.Builder
	b.WriteString("| key | variable | flag |\n| --- | --- | --- |\n")
	for _, o := range configs.Overrides() {
		fmt.Fprintf(&b, "| `%s` | `%s` | `--%s` |\n", o.Key, o.Env, o.Flag)
	}
	return b.String()
}

func TestEveryKeyIsDocumented(t *testing.T) {
	for _, e := range strict.Reference(reflect.TypeFor[configs.Pipeline]()) {
		if e.Doc == "" {
			t.Errorf("%s has no doc", e.Path)
		}
	}
}
