// Package strict reads YAML against the definitions that Go structs carry in their tags, and tells all
// that is wrong with it at once, each problem with its line, column and key.
//
// A definition is a struct type. Its fields may be strings, booleans, whole and fractional numbers,
// time.Duration, pipeline.Size, pipeline.Secret, anything that implements encoding.TextUnmarshaler,
// and pointers to these; lists and arrays of them; maps by name; and further structs. The tags:
//
//	mapstructure  the key, lower_snake_case; "-" for a field that is not read
//	doc           what it means, one or two sentences
//	default       the value when the key is absent
//	required      "true": the key must be there, and not be empty
//	optional      "true": a pointer to a struct that may be absent, and is no alternative
//	enum          the values allowed, separated by commas
//	later         values that are known, but not to this version
//	min, max      bounds, inclusive, in the notation of the value
//	example       a value for the reference and for editors
//	ref           the section whose names the value refers to
//	foreign       what other programs call the key, separated by commas: refused, with the key's name here
//
// A struct's fields that are pointers to structs are alternatives, unless they are optional: exactly one of
// them is written.
// A definition with wrong tags is a mistake in the program, and panics; no input does.
package strict

import (
	"fmt"
	"reflect"
	"regexp"

	"go.yaml.in/yaml/v3"
)

// NamePattern is what names in maps look like: lower case, since they become parts of topics, labels
// of metrics and file names.
const NamePattern = `^[a-z][a-z0-9_-]{0,62}$`

var namePattern = regexp.MustCompile(NamePattern)

// Limits that keep a hostile or mistaken file from using up memory and time.
const (
	maxBytes    = 1 << 20 // of the file
	maxValues   = 100_000 // after aliases are followed
	maxProblems = 100     // told; the rest is only mentioned
)

// Options say how a document is read. The zero value reads it without variables.
type Options struct {
	// Lookup finds the variables that ${NAME} in a value stands for. nil: $ is an ordinary character.
	Lookup func(name string) (string, bool)
	// Elsewhere says that the document is for another machine: a variable that is not set here
	// leaves its value open instead of being a problem.
	Elsewhere bool
	// Later lists keys that are known, but not to this version, as paths in which * stands for any
	// name: "sources.*.motion".
	Later []string
	// Rewrite, if not nil, may change the nodes of the document before they are looked at, such as those
	// of an older version. It gets the mapping at the root, and returns warnings.
	Rewrite func(root *yaml.Node) Problems
}

// Read checks one YAML document against the definition, a struct type. It always returns a Document,
// which holds what was right, and all the problems, in the order of the file. name is what problems
// call the file.
func Read(name string, data []byte, definition reflect.Type, opts Options) (*Document, Problems) {
	doc := newDocument(name, definition)
	root, problem := parse(name, data)
	if problem != nil {
		return doc, Problems{*problem}
	}
	w := &walker{doc: doc, opts: opts}
	if opts.Rewrite != nil {
		w.problems = opts.Rewrite(root)
	}
	w.at("", root)
	if settings, ok := w.structure("", root, definition); ok {
		doc.settings = settings
	}
	return doc, w.problems.sorted()
}

// Decode reads one YAML document into a struct, whose type is the definition, as Read does. into is a
// pointer to it; it is filled only if there is no problem.
func Decode(name string, data []byte, into any, opts Options) (*Document, Problems) {
	target := reflect.TypeOf(into)
	if target == nil || target.Kind() != reflect.Pointer || target.Elem().Kind() != reflect.Struct {
		panic(fmt.Sprintf("strict: Decode into %T, not a pointer to a struct", into))
	}
	doc, problems := Read(name, data, target.Elem(), opts)
	if problems.Err() != nil {
		return doc, problems
	}
	return doc, append(problems, doc.Fill(into)...)
}
