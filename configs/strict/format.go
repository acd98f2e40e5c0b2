package strict

import (
	"bytes"
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"sightline/pipeline"
)

// Format writes a struct, whose type is the definition, as YAML in the order of its fields: durations and
// sizes with their units, secrets as <redacted>, what is not set left out.
func Format(value any) (string, error) {
	node, err := formatted(reflect.Indirect(reflect.ValueOf(value)))
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	encoder := yaml.NewEncoder(&b)
	encoder.SetIndent(2)
	if err := encoder.Encode(node); err != nil {
		return "", fmt.Errorf("format %T: %w", value, err)
	}
	return b.String(), encoder.Close()
}

func formatted(v reflect.Value) (*yaml.Node, error) {
	switch x := v.Interface().(type) {
	case time.Duration:
		return text(x.String()), nil
	case pipeline.Secret:
		return text(x.String()), nil
	case encoding.TextMarshaler:
		b, err := x.MarshalText()
		return text(string(b)), err
	}
	switch v.Kind() {
	case reflect.Struct:
		return formattedStruct(v)
	case reflect.Map:
		return formattedMap(v)
	case reflect.Slice, reflect.Array:
		out := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		for i := range v.Len() {
			item, err := formatted(v.Index(i))
			if err != nil {
				return nil, err
			}
			out.Content = append(out.Content, item)
		}
		return out, nil
	case reflect.Pointer:
		return formatted(v.Elem())
	}
	out := &yaml.Node{}
	return out, out.Encode(v.Interface())
}

func text(s string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(s)
	return n
}

func formattedStruct(v reflect.Value) (*yaml.Node, error) {
	out := &yaml.Node{Kind: yaml.MappingNode}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		key, zero := f.Tag.Get("mapstructure"), v.Field(i).IsZero()
		if key == "-" || !f.IsExported() || zero && f.Tag.Get("default") == "" {
			continue
		}
		item, err := formatted(v.Field(i))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		out.Content = append(out.Content, text(key), item)
	}
	return out, nil
}

func formattedMap(v reflect.Value) (*yaml.Node, error) {
	out := &yaml.Node{Kind: yaml.MappingNode}
	names := v.MapKeys()
	slices.SortFunc(names, func(a, b reflect.Value) int { return bytes.Compare([]byte(a.String()), []byte(b.String())) })
	for _, name := range names {
		item, err := formatted(v.MapIndex(name))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out.Content = append(out.Content, text(name.String()), item)
	}
	return out, nil
}
