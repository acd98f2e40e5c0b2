package strict

import (
	"encoding"
	"fmt"
	"reflect"
	"strings"
	"time"

	"sightline/pipeline"
)

// field is the definition of one key.
type field struct {
	key, doc, example, ref string
	typ                    reflect.Type // without the pointer of an optional value
	pointer                bool
	required, optional     bool
	enum, later, foreign   []string
	def, min, max          string
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	sizeType     = reflect.TypeFor[pipeline.Size]()
	secretType   = reflect.TypeFor[pipeline.Secret]()
	textType     = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// fieldsOf returns the keys of a struct in the order of its fields.
func fieldsOf(t reflect.Type) []field {
	fields := make([]field, 0, t.NumField())
	for i := range t.NumField() {
		f := t.Field(i)
		key := f.Tag.Get("mapstructure")
		if key == "-" || !f.IsExported() {
			continue
		}
		if key == "" || strings.ContainsAny(key, ", .") {
			panic(fmt.Sprintf("strict: field %s of %s has no key in its mapstructure tag", f.Name, t))
		}
		fields = append(fields, newField(key, f.Type, f.Tag))
	}
	return fields
}

func newField(key string, t reflect.Type, tag reflect.StructTag) field {
	f := field{
		key: key, typ: t, doc: tag.Get("doc"), example: tag.Get("example"), ref: tag.Get("ref"),
		required: tag.Get("required") == "true", optional: tag.Get("optional") == "true", enum: list(tag.Get("enum")), later: list(tag.Get("later")),
		foreign: list(tag.Get("foreign")), def: tag.Get("default"), min: tag.Get("min"), max: tag.Get("max"),
	}
	if t.Kind() == reflect.Pointer {
		f.typ, f.pointer = t.Elem(), true
	}
	return f
}

// element is the definition of an element of a list, array or map: bounds and values are the
// list's, presence is not.
func (f field) element() field {
	e := newField(f.key, f.typ.Elem(), "")
	e.enum, e.later, e.min, e.max, e.ref = f.enum, f.later, f.min, f.max, f.ref
	return e
}

func list(tag string) []string {
	if tag == "" {
		return nil
	}
	return strings.Split(tag, ",")
}

// shape is how a value is written in YAML.
type shape int

const (
	scalarShape shape = iota
	structShape
	mapShape
	listShape
)

func (f field) shape() shape {
	if isScalar(f.typ) {
		return scalarShape
	}
	switch f.typ.Kind() {
	case reflect.Struct:
		return structShape
	case reflect.Map:
		return mapShape
	case reflect.Slice, reflect.Array:
		return listShape
	}
	panic(fmt.Sprintf("strict: key %s has the type %s, which is not supported", f.key, f.typ))
}

// readsText tells whether values of the type read themselves from text.
func readsText(t reflect.Type) bool { return reflect.PointerTo(t).Implements(textType) }

func isScalar(t reflect.Type) bool {
	if t == durationType || t == secretType || readsText(t) {
		return true
	}
	switch t.Kind() {
	case reflect.String, reflect.Bool, reflect.Float32, reflect.Float64,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return true
	}
	return false
}

// alternative tells whether the key is one of several of which exactly one is written.
func (f field) alternative() bool { return f.pointer && !f.optional && f.shape() == structShape }

// kind says what a value must be, for messages: "a list", "a duration".
func (f field) kind() string {
	switch f.shape() {
	case structShape:
		return "a group of keys"
	case mapShape:
		return "a group of names"
	case listShape:
		return "a list"
	}
	switch f.typ {
	case durationType:
		return "a duration"
	case sizeType:
		return "a size"
	case secretType:
		return "a secret"
	}
	switch f.typ.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.String, reflect.Struct:
		return "text"
	}
	return "a whole number"
}
