package strict

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"sightline/pipeline"
)

// walker compares the nodes of a document with its definition.
type walker struct {
	doc      *Document
	opts     Options
	problems Problems
	values   int            // seen so far, aliases counted each time
	active   []*yaml.Node   // anchors being followed
	outer    []reflect.Type // structs around the current one
	stopped  bool           // a limit was reached
}

func (w *walker) problem(path string, n *yaml.Node, problem, suggestion string) {
	switch {
	case w.stopped:
		return
	case len(w.problems) == maxProblems:
		w.stopped = true
		problem, suggestion = "there are more problems than are told here", ""
	}
	w.problems = append(w.problems, Problem{
		File: w.doc.file, Line: n.Line, Column: n.Column, Key: path, Problem: problem, Suggestion: suggestion,
	})
}

// at notes where a key stands.
func (w *walker) at(path string, n *yaml.Node) {
	w.doc.places[path] = place{line: n.Line, column: n.Column}
}

// count tells whether another value may be looked at.
func (w *walker) count(path string, n *yaml.Node) bool {
	w.values++
	if w.values > maxValues {
		w.problem(path, n, fmt.Sprintf("there are more than %d values, aliases followed", maxValues), "")
		w.stopped = true
	}
	return !w.stopped
}

// follow calls do with the node that an alias stands for, or with n itself.
func (w *walker) follow(path string, n *yaml.Node, do func(*yaml.Node)) {
	if n.Kind != yaml.AliasNode {
		do(n)
		return
	}
	if n.Alias == nil || slices.Contains(w.active, n.Alias) {
		w.problem(path, n, "the alias *"+n.Value+" contains itself", "")
		return
	}
	w.active = append(w.active, n.Alias)
	do(n.Alias)
	w.active = w.active[:len(w.active)-1]
}

// value reads the value of a key; false means that there was a problem, which is noted.
func (w *walker) value(path string, key, n *yaml.Node, f field) (value any, ok bool) {
	if !w.count(path, n) {
		return nil, false
	}
	w.at(path, key)
	w.follow(path, n, func(n *yaml.Node) { value, ok = w.resolved(path, key, n, f) })
	return value, ok
}

func (w *walker) resolved(path string, key, n *yaml.Node, f field) (any, bool) {
	if n.Style&yaml.TaggedStyle != 0 {
		w.problem(path, n, "begins with !, which makes it a YAML tag", "remove the tag, or write text in quotes")
		return nil, false
	}
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" {
		w.problem(path, key, "has no value", "write "+f.kind()+", or remove the key")
		return nil, false
	}
	var value any
	var ok bool
	switch shape := f.shape(); {
	case shape == scalarShape && n.Kind == yaml.ScalarNode:
		w.at(path, n)
		value, ok = w.scalar(path, n, f)
	case shape == structShape && n.Kind == yaml.MappingNode:
		value, ok = w.structure(path, n, f.typ)
	case shape == mapShape && n.Kind == yaml.MappingNode:
		value, ok = w.names(path, n, f)
	case shape == listShape && n.Kind == yaml.SequenceNode:
		value, ok = w.list(path, n, f)
	default:
		w.wrongKind(path, n, f)
		return nil, false
	}
	if ok {
		w.doc.given[path] = n.Value
	}
	return value, ok
}

func (w *walker) wrongKind(path string, n *yaml.Node, f field) {
	is, suggestion := "a single value", ""
	switch n.Kind {
	case yaml.MappingNode:
		is = "a group of keys"
	case yaml.SequenceNode:
		is = "a list"
	}
	if f.shape() == listShape && n.Kind == yaml.ScalarNode && f.element().typ != secretType {
		suggestion = "write [" + literal{text: pipeline.RedactText(n.Value), tag: n.ShortTag()}.plain() + "]"
	}
	w.problem(path, n, "must be "+f.kind()+", is "+is, suggestion)
}

// structure reads a group of fixed keys. n may be an empty mapping that stands for an absent one.
func (w *walker) structure(path string, n *yaml.Node, t reflect.Type) (map[string]any, bool) {
	fields := fieldsOf(t)
	out, written, before := map[string]any{}, map[string]bool{}, len(w.problems)
	w.outer = append(w.outer, t)
	for _, p := range w.pairs(path, n) {
		i := slices.IndexFunc(fields, func(f field) bool { return f.key == p.name })
		at := Join(path, p.name)
		if i < 0 {
			w.unknown(at, p, fields)
			continue
		}
		written[p.name] = true
		if value, ok := w.value(at, p.key, p.value, fields[i]); ok {
			out[p.name] = value
		}
	}
	for _, f := range fields {
		if _, ok := out[f.key]; !ok {
			w.absent(path, n, f, written[f.key], out)
		}
	}
	w.outer = w.outer[:len(w.outer)-1]
	w.alternatives(path, fields, written, len(w.problems) > before)
	return out, true
}

// absent fills in for a key that is not there, or whose value was refused.
func (w *walker) absent(path string, n *yaml.Node, f field, written bool, out map[string]any) {
	at := Join(path, f.key)
	if f.required && !written {
		w.missing(path, n, f)
	}
	if value, ok := f.defaultValue(); ok {
		out[f.key] = value
	}
	if f.shape() == structShape && !f.pointer && !written {
		empty := &yaml.Node{Kind: yaml.MappingNode, Line: n.Line, Column: n.Column}
		if value, ok := w.structure(at, empty, f.typ); ok {
			out[f.key] = value
		}
	}
}

func (w *walker) missing(path string, n *yaml.Node, f field) {
	suggestion := "add " + f.key + ": " + f.kind()
	switch {
	case f.example != "":
		suggestion = "add " + f.key + ": " + f.example
	case len(f.enum) > 0: // what to choose is in the doc
		suggestion = "add " + f.key + ": " + strings.Join(f.enum, " or ") + ". " + strings.TrimSuffix(f.doc, ".")
	}
	p := w.doc.Problem(path, "", "")
	w.problem(Join(path, f.key), &yaml.Node{Line: p.Line, Column: p.Column}, "is missing", suggestion)
}

// alternatives checks that exactly one of the keys that exclude each other is written.
func (w *walker) alternatives(path string, fields []field, written map[string]bool, faulty bool) {
	var all, found []string
	for _, f := range fields {
		if f.alternative() {
			all = append(all, f.key)
			if written[f.key] {
				found = append(found, f.key)
			}
		}
	}
	p := w.doc.Problem(path, "", "")
	at := &yaml.Node{Line: p.Line, Column: p.Column}
	switch {
	case len(all) == 0 || len(found) == 1:
	case len(found) > 1:
		w.problem(path, at, "has "+strings.Join(found, " and "), "keep one of them")
	case !faulty:
		w.problem(path, at, "does not say of which kind it is", "add "+strings.Join(all, " or "))
	}
}

func (w *walker) scalar(path string, n *yaml.Node, f field) (any, bool) {
	e := expand(n.Value, w.opts.Lookup)
	fault := e.fault
	switch {
	case fault != nil:
	case f.typ == secretType && w.opts.Lookup != nil && !variablePattern.MatchString(n.Value):
		fault = w.secretFault(f)
	case e.missing != "" && w.opts.Elsewhere:
		w.doc.open[path] = true
		return nil, false
	case e.missing != "":
		fault = unsetFault(e.missing)
	}
	if fault != nil {
		w.problem(path, n, fault.problem, fault.suggestion)
		return nil, false
	}
	quoted := n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0
	value, fault := f.scalar(literal{text: e.text, tag: n.ShortTag(), quoted: quoted, loose: e.replaced})
	if fault != nil {
		w.problem(path, n, fault.problem, fault.suggestion)
	}
	return value, fault == nil
}

// Join returns the path of a key or name within the group at path. One that is no plain word is quoted,
// and an address in it loses its user and password.
func Join(path, key string) string {
	if !plainKey.MatchString(key) {
		key = strconv.Quote(pipeline.RedactText(key))
	}
	if path == "" {
		return key
	}
	return path + "." + key
}
