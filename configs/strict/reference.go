package strict

import (
	"reflect"
	"strings"
)

// Entry is what the reference says of one key.
type Entry struct {
	Path     string // such as sources.<name>.rtsp.url
	Kind     string // such as "duration", "list of names in sources", "auto | tcp | udp"
	Default  string // as it would be written; empty: none
	Required bool
	Range    string // such as "at least 1ms"; empty: any
	Doc      string
	Example  string
}

// Reference lists every key of a definition in the order of its fields, groups before their keys.
func Reference(definition reflect.Type) []Entry { return entries("", definition) }

func entries(path string, t reflect.Type) []Entry {
	var out []Entry
	for _, f := range fieldsOf(t) {
		e := Entry{
			Path: Join(path, f.key), Kind: f.described(), Default: f.def, Required: f.required,
			Range: f.interval(), Doc: f.doc, Example: f.example,
		}
		out = append(out, e)
		switch inner := f.typ; f.shape() {
		case structShape:
			out = append(out, entries(e.Path, inner)...)
		case mapShape:
			if f.element().shape() == structShape {
				out = append(out, entries(e.Path+".<name>", inner.Elem())...)
			}
		}
	}
	return out
}

// described says what a value is, without the article.
func (f field) described() string {
	switch {
	case f.shape() == mapShape:
		return "map by name: " + f.element().described()
	case f.shape() == listShape && f.ref != "":
		return "list of names in " + f.ref
	case f.shape() == listShape:
		return "list: " + f.element().described()
	case len(f.enum) > 0:
		return strings.Join(f.enum, " | ")
	case f.shape() == structShape:
		return "group"
	}
	_, kind, found := strings.Cut(f.kind(), " ")
	if strings.HasPrefix(f.kind(), "a ") && found {
		return kind
	}
	return f.kind()
}

func (f field) interval() string {
	switch {
	case f.min != "" && f.max != "":
		return f.min + " to " + f.max
	case f.min != "":
		return "at least " + f.min
	case f.max != "":
		return "at most " + f.max
	}
	return ""
}
