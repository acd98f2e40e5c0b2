package strict

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// names reads a map by name.
func (w *walker) names(path string, n *yaml.Node, f field) (map[string]any, bool) {
	out, element := map[string]any{}, f.element()
	for _, p := range w.pairs(path, n) {
		at := Join(path, p.name)
		if !namePattern.MatchString(p.name) {
			w.problem(at, p.key, "is not a name", nameHint(p.name))
		}
		if value, ok := w.value(at, p.key, p.value, element); ok && namePattern.MatchString(p.name) {
			out[p.name] = value
		}
	}
	if len(n.Content) == 0 && f.required {
		w.problem(path, n, "is empty", "add one")
	}
	return out, true
}

func nameHint(name string) string {
	rule := "names are 1 to 63 of a-z 0-9 _ -, beginning with a letter"
	meant := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '_' || r == '-' {
			return r
		}
		return '-'
	}, strings.ToLower(name))
	if namePattern.MatchString(meant) && !strings.Contains(name, "://") { // not from an address with a password
		return rule + ", such as " + meant
	}
	return rule
}

func (w *walker) list(path string, n *yaml.Node, f field) ([]any, bool) {
	if f.typ.Kind() == reflect.Array && len(n.Content) != f.typ.Len() {
		w.problem(path, n, fmt.Sprintf("needs %d values, has %d", f.typ.Len(), len(n.Content)), "")
		return nil, false
	}
	if len(n.Content) == 0 && f.required {
		w.problem(path, n, "is empty", "")
		return nil, false
	}
	out, element, refused := make([]any, 0, len(n.Content)), f.element(), false
	for i, item := range n.Content {
		value, ok := w.value(path+"["+strconv.Itoa(i)+"]", item, item, element)
		if !ok {
			value, refused = reflect.Zero(element.typ).Interface(), true // keeps the others' places
		}
		out = append(out, value)
	}
	return out, f.typ.Kind() != reflect.Array || !refused
}
