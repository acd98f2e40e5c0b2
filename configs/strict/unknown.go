package strict

import (
	"reflect"
	"slices"
	"strings"
)

// secretFault says how a secret that stands in the file is to be written.
func (w *walker) secretFault(f field) *fault {
	suggestion := "write " + f.key + ": ${VARIABLE} and set that environment variable"
	for _, sibling := range fieldsOf(w.outer[len(w.outer)-1]) {
		if sibling.key == f.key+"_file" {
			suggestion += ", or use " + sibling.key
		}
	}
	return &fault{"is a secret, which does not belong in this file", suggestion}
}

// unknown tells of a key that the definition does not have, and what was probably meant.
func (w *walker) unknown(path string, p pair, fields []field) {
	if w.later(path) {
		w.problem(path, p.key, "is not in this version", "remove it")
		return
	}
	keys := make([]string, len(fields))
	for i, f := range fields {
		keys[i] = f.key
	}
	suggestion := "known here: " + strings.Join(keys, ", ")
	if i := slices.IndexFunc(fields, func(f field) bool { return slices.Contains(f.foreign, p.name) }); i >= 0 {
		suggestion = "it is called " + keys[i] + " here"
	} else if near := Nearest(p.name, keys); near != "" {
		suggestion = "did you mean " + near + "?"
	} else if inner := within(p.name, fields); inner != "" {
		suggestion = "it belongs under " + inner
	} else if w.aboutOuter(p.name) {
		suggestion = "it belongs further out: indent it less"
	}
	w.problem(path, p.key, "unknown key", suggestion)
}

func (w *walker) later(path string) bool {
	parts := strings.Split(path, ".")
	return slices.ContainsFunc(w.opts.Later, func(pattern string) bool {
		return slices.EqualFunc(strings.Split(pattern, "."), parts, func(a, b string) bool { return a == "*" || a == b })
	})
}

// within returns the key of the group that knows the name.
func within(name string, fields []field) string {
	for _, f := range fields {
		if f.shape() != structShape {
			continue
		}
		if _, ok := fieldAt(f.typ, name); ok {
			return f.key
		}
	}
	return ""
}

func (w *walker) aboutOuter(name string) bool {
	return slices.ContainsFunc(w.outer[:len(w.outer)-1], func(t reflect.Type) bool {
		_, ok := fieldAt(t, name)
		return ok
	})
}
