// Package stricttest keeps current what is generated from a definition (package strict), and checks
// documents as editors do.
package stricttest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"sightline/configs/strict"
)

// Golden compares the file at path with what it should hold, or rewrites it when update is true.
func Golden(t testing.TB, path, want string, update bool) {
	t.Helper()
	if update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (go test -update writes it)", err)
	}
	if string(got) != want {
		t.Errorf("%s is not current (go test -update rewrites it)\nfile:\n%s\nnow:\n%s", path, got, want)
	}
}

// Section replaces what stands between the marks of a page: <!-- mark: generated --> and
// <!-- mark: end -->.
func Section(t testing.TB, page, mark, content string) string {
	t.Helper()
	begin, end := "<!-- "+mark+": generated -->\n", "<!-- "+mark+": end -->"
	before, rest, ok := strings.Cut(page, begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("the page has no marks for %s", mark)
	}
	return before + begin + "\n" + content + "\n" + end + after
}

// Table is the reference of a definition as a Markdown table. A key without a doc is an error.
func Table(t testing.TB, definition reflect.Type) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("| key | value | default | meaning |\n| --- | --- | --- | --- |\n")
	for _, e := range strict.Reference(definition) {
		if e.Doc == "" {
			t.Errorf("%s has no doc", e.Path)
		}
		value, def := e.Kind, ""
		if e.Range != "" {
			value += ", " + e.Range
		}
		switch {
		case e.Required:
			def = "required"
		case e.Default != "":
			def = "`" + e.Default + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", e.Path, escaped(value), def, meaning(e))
	}
	return b.String()
}

func meaning(e strict.Entry) string {
	text := e.Doc
	if e.Example != "" {
		text += " For example `" + e.Example + "`."
	}
	return strings.TrimSpace(escaped(text))
}

func escaped(cell string) string { return strings.ReplaceAll(cell, "|", `\|`) }

// Editor compiles a JSON Schema and returns what checks a YAML document against it, as an editor does.
func Editor(t testing.TB, schema []byte) func(document []byte) error {
	t.Helper()
	resource, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource("schema.json", resource); err != nil {
		t.Fatal(err)
	}
	compiled, err := compiler.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return func(document []byte) error {
		var value any
		if err := yaml.Unmarshal(document, &value); err != nil {
			return err
		}
		text, err := json.Marshal(value)
		if err != nil {
			return err
		}
		instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			return err
		}
		return compiled.Validate(instance)
	}
}
