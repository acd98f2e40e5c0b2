package strict

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// variableInText is how the JSON Schema knows a value that has a variable in it, which only reading
// can check.
const variableInText = `\$\{[A-Za-z_][A-Za-z0-9_]*\}`

type object = map[string]any

// Schema writes the definition as a JSON Schema (draft 2020-12), indented, with a newline at its
// end. It accepts every document that Read accepts, except where YAML has more to it than JSON
// (<<). Variables are allowed where Read replaces them.
func Schema(definition reflect.Type, id, title string) ([]byte, error) {
	s := &schema{definitions: object{}}
	root := s.structure(definition)
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["$id"], root["title"] = id, title
	root["$defs"] = s.definitions
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(root); err != nil {
		return nil, fmt.Errorf("schema of %s: %w", definition, err)
	}
	return b.Bytes(), nil
}

// schema gathers the structs of a definition, each once, by name.
type schema struct{ definitions object }

func (s *schema) structure(t reflect.Type) object {
	properties, required, alternatives := object{}, []string{}, []any{}
	for _, f := range fieldsOf(t) {
		properties[f.key] = s.property(f)
		if f.required {
			required = append(required, f.key)
		}
		if f.alternative() {
			alternatives = append(alternatives, object{"required": []string{f.key}})
		}
	}
	out := object{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		out["required"] = required
	}
	if len(alternatives) > 0 {
		out["oneOf"] = alternatives
	}
	return out
}

// property is the schema of a key: what its value is, and what the tags say about it.
func (s *schema) property(f field) object {
	p := s.value(f)
	if f.doc != "" {
		p["description"] = f.doc
	}
	if value, ok := f.defaultValue(); ok {
		p["default"] = value
		if f.typ == durationType || readsText(f.typ) {
			p["default"] = f.def
		}
	}
	if f.example != "" {
		p["examples"] = []string{f.example}
	}
	return p
}

func (s *schema) value(f field) object {
	switch f.shape() {
	case structShape:
		return s.reference(f.typ)
	case mapShape:
		out := object{"type": "object", "propertyNames": object{"pattern": NamePattern}, "additionalProperties": s.value(f.element())}
		if f.required {
			out["minProperties"] = 1
		}
		return out
	case listShape:
		return s.list(f)
	}
	return scalarSchema(f)
}

func (s *schema) reference(t reflect.Type) object {
	name := t.String()
	if _, ok := s.definitions[name]; !ok {
		s.definitions[name] = object{} // ends recursion
		s.definitions[name] = s.structure(t)
	}
	return object{"$ref": "#/$defs/" + name}
}

func (s *schema) list(f field) object {
	out := object{"type": "array", "items": s.value(f.element())}
	if f.typ.Kind() == reflect.Array {
		out["minItems"], out["maxItems"] = f.typ.Len(), f.typ.Len()
	} else if f.required {
		out["minItems"] = 1
	}
	return out
}

func scalarSchema(f field) object {
	switch f.typ {
	case durationType:
		return orVariable(object{"type": "string", "pattern": durationPattern})
	case sizeType:
		return orVariable(object{"type": "string", "pattern": sizePattern})
	case secretType:
		return object{"type": "string", "pattern": VariablePattern}
	}
	if readsText(f.typ) { // Read hands over any scalar as it is written
		return object{"type": []string{"string", "number", "boolean"}}
	}
	switch f.typ.Kind() {
	case reflect.Bool:
		return orVariable(object{"type": "boolean"})
	case reflect.String:
		return stringSchema(f)
	case reflect.Float32, reflect.Float64:
		return orVariable(numberSchema(f, "number"))
	}
	return orVariable(numberSchema(f, "integer"))
}

func stringSchema(f field) object {
	switch {
	case len(f.enum) > 0:
		return orVariable(object{"enum": f.enum})
	case f.required:
		return object{"type": "string", "minLength": 1}
	}
	return object{"type": "string"}
}

func numberSchema(f field, kind string) object {
	out := object{"type": kind}
	if f.min != "" {
		out["minimum"] = f.bound(f.min)
	}
	if f.max != "" {
		out["maximum"] = f.bound(f.max)
	}
	if strings.HasPrefix(f.typ.Kind().String(), "uint") && f.min == "" {
		out["minimum"] = 0
	}
	return out
}

func orVariable(o object) object {
	return object{"anyOf": []any{o, object{"type": "string", "pattern": variableInText}}}
}
