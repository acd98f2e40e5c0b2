// Package onnxtest builds small ONNX files (onnx.proto), for models that no test data have.
package onnxtest

import (
	"encoding/binary"
	"maps"
	"slices"
)

// Proto is one protobuf message.
type Proto []byte

// Number adds a field of wire type 0.
func (p Proto) Number(field int, v uint64) Proto {
	return binary.AppendUvarint(binary.AppendUvarint(p, uint64(field)<<3), v)
}

// Bytes adds a field of wire type 2.
func (p Proto) Bytes(field int, v []byte) Proto {
	p = binary.AppendUvarint(p, uint64(field)<<3|2)
	return append(binary.AppendUvarint(p, uint64(len(v))), v...)
}

// Text is Bytes of a string.
func (p Proto) Text(field int, v string) Proto { return p.Bytes(field, []byte(v)) }

// element is the number of a type in TensorProto.DataType.
func element(name string) uint64 {
	return map[string]uint64{"float32": 1, "uint8": 2, "int8": 3, "int64": 7, "float16": 10}[name]
}

// Tensor describes an input or output (ValueInfoProto). Dimensions below 0 are open; without any the
// tensor has no shape.
func Tensor[T ~string](name string, t T, shape ...int64) Proto {
	var dims Proto
	for _, d := range shape {
		var dim Proto
		if d >= 0 {
			dim = dim.Number(1, uint64(d))
		}
		dims = dims.Bytes(1, dim)
	}
	tensor := Proto{}.Number(1, element(string(t)))
	if shape != nil {
		tensor = tensor.Bytes(2, dims)
	}
	return Proto{}.Text(1, name).Bytes(2, Proto{}.Bytes(1, tensor))
}

// Node is an operator (NodeProto) with one input and one output.
func Node(operator, input, output string, attributes ...Proto) Proto {
	p := Proto{}.Text(1, input).Text(2, output).Text(4, operator)
	for _, a := range attributes {
		p = p.Bytes(5, a)
	}
	return p
}

// Integer is an attribute (AttributeProto).
func Integer(name string, v int64) Proto {
	return Proto{}.Text(1, name).Number(3, uint64(v)).Number(20, 2)
}

// Integers is an attribute with a list.
func Integers(name string, list ...int64) Proto {
	p := Proto{}.Text(1, name)
	for _, v := range list {
		p = p.Number(8, uint64(v))
	}
	return p.Number(20, 7)
}

// Graph is a model of one graph, in operator set 11.
type Graph struct {
	Nodes, Inputs, Outputs []Proto
	Initializers           []Proto           // TensorProto
	Properties             map[string]string // metadata_props
}

// File is the .onnx file.
func (g Graph) File() []byte {
	var body Proto
	for _, n := range g.Nodes {
		body = body.Bytes(1, n)
	}
	body = body.Text(2, "test")
	for _, v := range g.Initializers {
		body = body.Bytes(5, v)
	}
	for _, v := range g.Inputs {
		body = body.Bytes(11, v)
	}
	for _, v := range g.Outputs {
		body = body.Bytes(12, v)
	}
	model := Proto{}.Number(1, 6).Text(2, "onnxtest").Bytes(7, body).Bytes(8, Proto{}.Number(2, 11))
	for _, key := range slices.Sorted(maps.Keys(g.Properties)) {
		model = model.Bytes(14, Proto{}.Text(1, key).Text(2, g.Properties[key]))
	}
	return model
}

// Averages is a classifier whose scores are the means of the channels of its input "image", times 1
// or, after a conversion, rounded down. extra are the dimensions of 1 in the output "scores": their
// places in its shape.
func Averages[T ~string](in T, inShape []int64, out T, outShape []int64, extra ...int64) Graph {
	g := Graph{Inputs: []Proto{Tensor("image", in, inShape...)}, Outputs: []Proto{Tensor("scores", out, outShape...)}}
	axes := Integers("axes", 2, 3)
	if last := inShape[3]; last == 3 || last == 1 {
		axes = Integers("axes", 1, 2)
	}
	g.Nodes = []Proto{
		Node("Cast", "image", "numbers", Integer("to", 1)),
		Node("ReduceMean", "numbers", "means", axes, Integer("keepdims", 0)),
	}
	last := "means"
	if len(extra) > 0 {
		g.Nodes = append(g.Nodes, Node("Unsqueeze", last, "shaped", Integers("axes", extra...)))
		last = "shaped"
	}
	g.Nodes = append(g.Nodes, Node("Cast", last, "scores", Integer("to", int64(element(string(out))))))
	return g
}

// Relu is y = max(x, 0) of one number.
func Relu() Graph {
	return Graph{
		Nodes:   []Proto{Node("Relu", "x", "y")},
		Inputs:  []Proto{Tensor("x", "float32", 1, 1)},
		Outputs: []Proto{Tensor("y", "float32", 1, 1)},
	}
}
