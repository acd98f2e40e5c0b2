package strict

import (
	"reflect"
	"strings"

	"github.com/go-viper/mapstructure/v2"
)

// Document is what was right in a file, and where everything stood.
type Document struct {
	file       string
	definition reflect.Type
	settings   map[string]any
	places     map[string]place
	given      map[string]string // accepted values that stand in the file, as written; "" for lists and maps
	open       map[string]bool   // values whose variable is not set on this machine
}

type place struct {
	line, column int
	origin       string // instead of the file: what a value was overridden by
}

func newDocument(file string, definition reflect.Type) *Document {
	return &Document{
		file: file, definition: definition, settings: map[string]any{},
		places: map[string]place{}, given: map[string]string{}, open: map[string]bool{},
	}
}

// Settings returns the accepted values, with the defaults of absent keys, as nested maps. Values are
// string, bool, int64, uint64, float64, time.Duration, pipeline.Size, pipeline.Secret, the
// TextUnmarshaler types themselves, []any and map[string]any. The caller owns the result.
func (d *Document) Settings() map[string]any { return d.settings }

// File is what the caller named the document.
func (d *Document) File() string { return d.file }

// Fill sets the struct that into points to, of the definition's type, to the Settings: what was right,
// so that it can be checked further in spite of problems elsewhere.
func (d *Document) Fill(into any) Problems {
	decoder, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{Result: into, ErrorUnused: true, ZeroFields: true})
	if err == nil {
		err = decoder.Decode(d.settings)
	}
	if err != nil {
		return Problems{{File: d.file, Problem: "cannot be taken over: " + err.Error()}}
	}
	return nil
}

// Given tells whether the key stands in the file, or was overridden, with an acceptable value.
func (d *Document) Given(path string) bool {
	_, ok := d.given[path]
	return ok
}

// Stands tells whether the key is in the file, whatever is wrong with its value.
func (d *Document) Stands(path string) bool {
	_, ok := d.places[path]
	return ok
}

// Written returns the value as it stands in the file: variables are not replaced, so a message may
// show it.
func (d *Document) Written(path string) string { return d.given[path] }

// Open tells whether the value depends on a variable that is not set here; see Options.Elsewhere.
func (d *Document) Open(path string) bool { return d.open[path] }

// Problem returns a problem with the value at path, placed there or, if there is no such key, at
// the closest one around it.
func (d *Document) Problem(path, problem, suggestion string) Problem {
	p := Problem{File: d.file, Line: 1, Column: 1, Key: path, Problem: problem, Suggestion: suggestion}
	for at := path; ; at = parent(at) {
		if found, ok := d.places[at]; ok {
			p.Line, p.Column = found.line, found.column
			if found.origin != "" {
				p.File = found.origin
			}
			return p
		}
		if at == "" {
			return p
		}
	}
}

func parent(path string) string {
	return path[:max(strings.LastIndexAny(path, ".["), 0)]
}

// Override checks text as the value of a key and makes origin, such as "$SIGHTLINE_DEVICE" or
// "--device", the place of problems with it. It returns the value in the form of Settings; the caller
// puts it where it belongs. path names fields of structs only.
func (d *Document) Override(path, text, origin string) (any, Problems) {
	f, ok := fieldAt(d.definition, path)
	if !ok {
		panic("strict: no key " + path + " to override")
	}
	d.places[path] = place{origin: origin}
	value, fault := f.scalar(literal{text: text, loose: true})
	if fault != nil {
		return nil, Problems{d.Problem(path, fault.problem, fault.suggestion)}
	}
	d.given[path] = text
	delete(d.open, path)
	return value, nil
}

func fieldAt(t reflect.Type, path string) (field, bool) {
	head, rest, nested := strings.Cut(path, ".")
	for _, f := range fieldsOf(t) {
		if f.key == head && nested && f.typ.Kind() == reflect.Struct {
			return fieldAt(f.typ, rest)
		}
		if f.key == head && !nested {
			return f, true
		}
	}
	return field{}, false
}
