package strict

import (
	"encoding"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"sightline/pipeline"
)

// fault is a problem that has no place yet.
type fault struct{ problem, suggestion string }

// literal is the text of a scalar, and the type that YAML sees in it.
type literal struct {
	text   string
	tag    string // !!str, !!int, !!float, !!bool …
	quoted bool
	loose  bool // from a variable, an override or a tag: only the text counts
}

// show returns the text as a message may show it.
func (l literal) show() string {
	text := pipeline.RedactText(l.text)
	if l.loose {
		return "the value"
	}
	if len(text) > 60 {
		text = strings.ToValidUTF8(text[:60], "") + "…"
	}
	return strconv.Quote(text)
}

// scalar reads a value and checks it against everything its definition says.
func (f field) scalar(l literal) (any, *fault) {
	value, fault := f.read(l)
	if fault != nil {
		return nil, fault
	}
	if fault := f.bounded(value); fault != nil {
		return nil, fault
	}
	return value, f.listed(l)
}

// read turns the text into a value of the kind of the field's type.
func (f field) read(l literal) (any, *fault) {
	switch {
	case f.typ == durationType:
		return readDuration(l)
	case f.typ == sizeType:
		return readSize(l)
	case f.typ == secretType:
		return readSecret(l)
	case readsText(f.typ):
		return f.readText(l)
	}
	switch f.typ.Kind() {
	case reflect.String:
		return f.readString(l)
	case reflect.Bool:
		return readBool(l)
	case reflect.Float32, reflect.Float64:
		return readFloat(l)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return f.readInt(l)
	}
	return f.readUint(l)
}

func readSecret(l literal) (any, *fault) {
	if l.text == "" {
		return nil, &fault{"is empty: its variable holds nothing", ""}
	}
	return pipeline.NewSecret(l.text), nil
}

func (f field) readString(l literal) (any, *fault) {
	if !l.loose && l.tag != "!!str" {
		return nil, &fault{"must be text, " + l.show() + " is not", `write it in quotes: "` + l.text + `"`}
	}
	if strings.ContainsRune(l.text, 0) {
		return nil, &fault{"has a NUL character", ""}
	}
	if f.required && l.text == "" {
		return nil, &fault{"is empty", f.exampleHint()}
	}
	return l.text, nil
}

func (f field) readText(l literal) (any, *fault) {
	value := reflect.New(f.typ)
	if err := value.Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(l.text)); err != nil {
		return nil, &fault{pipeline.RedactText(err.Error()), f.exampleHint()}
	}
	return value.Elem().Interface(), nil
}

func readBool(l literal) (any, *fault) {
	if quoted := l.quoted && !l.loose; !quoted && (l.text == "true" || l.text == "false") {
		return l.text == "true", nil
	}
	return nil, &fault{"must be true or false, is " + l.show(), ""}
}

func (f field) readInt(l literal) (any, *fault) {
	v, err := strconv.ParseInt(l.text, 10, f.typ.Bits())
	if err != nil || l.wrongNumber() {
		return nil, l.numberFault("a whole number")
	}
	return v, nil
}

func (f field) readUint(l literal) (any, *fault) {
	v, err := strconv.ParseUint(l.text, 10, f.typ.Bits())
	if err != nil || l.wrongNumber() {
		return nil, l.numberFault("a whole number, at least 0")
	}
	return v, nil
}

func readFloat(l literal) (any, *fault) {
	v, err := strconv.ParseFloat(l.text, 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) || l.wrongNumber() || strings.ContainsAny(l.text, "_xX") {
		return nil, l.numberFault("a number")
	}
	return v, nil
}

// wrongNumber tells of text in quotes, and of leading zeros, which YAML takes for octal numbers.
func (l literal) wrongNumber() bool {
	digits := strings.TrimLeft(l.text, "+-")
	octal := len(digits) > 1 && digits[0] == '0' && digits[1] >= '0' && digits[1] <= '9'
	return octal || !l.loose && l.tag != "!!int" && l.tag != "!!float"
}

func (l literal) numberFault(kind string) *fault {
	fault := &fault{problem: "must be " + kind + ", is " + l.show()}
	if _, err := strconv.ParseFloat(l.text, 64); err == nil && l.quoted && !l.loose {
		fault.problem, fault.suggestion = "must be "+kind+", is text", "write it without quotes: "+l.text
	}
	return fault
}

// bounded checks min and max.
func (f field) bounded(value any) *fault {
	v, ok := magnitude(value)
	if !ok {
		return nil
	}
	if f.min != "" && v < f.bound(f.min) {
		return &fault{"must be at least " + f.min, ""}
	}
	if f.max != "" && v > f.bound(f.max) {
		return &fault{"must be at most " + f.max, ""}
	}
	return nil
}

func (f field) bound(tag string) float64 {
	value, fault := f.read(literal{text: tag, loose: true})
	if fault != nil {
		panic(fmt.Sprintf("strict: bound %q of key %s: %s", tag, f.key, fault.problem))
	}
	v, _ := magnitude(value)
	return v
}

func magnitude(value any) (float64, bool) {
	v := reflect.ValueOf(value)
	switch {
	case v.CanInt():
		return float64(v.Int()), true
	case v.CanUint():
		return float64(v.Uint()), true
	case v.CanFloat():
		return v.Float(), true
	}
	return 0, false
}

// listed checks enum and later.
func (f field) listed(l literal) *fault {
	if len(f.enum) == 0 || slices.Contains(f.enum, l.text) {
		return nil
	}
	if slices.Contains(f.later, l.text) {
		return &fault{strconv.Quote(l.text) + " is not in this version", "write " + strings.Join(f.enum, " or ")}
	}
	suggestion := ""
	if near := Nearest(l.text, f.enum); near != "" {
		suggestion = "did you mean " + near + "?"
	}
	return &fault{l.show() + " is not one of " + strings.Join(f.enum, ", "), suggestion}
}

func (f field) exampleHint() string {
	if f.example == "" {
		return ""
	}
	return "for example " + f.example
}

// defaultValue returns the value of an absent key.
func (f field) defaultValue() (any, bool) {
	if f.def == "" {
		return nil, false
	}
	value, fault := f.scalar(literal{text: f.def, loose: true})
	if fault != nil {
		panic(fmt.Sprintf("strict: default %q of key %s: %s", f.def, f.key, fault.problem))
	}
	return value, true
}
