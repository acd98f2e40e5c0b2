package onnx

import (
	"encoding/binary"

	"sightline/models"
)

// A builder of small ONNX files (onnx.proto), for models that the test data do not have.

type proto []byte

func (p proto) number(field int, v uint64) proto {
	return binary.AppendUvarint(binary.AppendUvarint(p, uint64(field)<<3), v)
}

func (p proto) bytes(field int, v []byte) proto {
	p = binary.AppendUvarint(p, uint64(field)<<3|2)
	return append(binary.AppendUvarint(p, uint64(len(v))), v...)
}

func (p proto) text(field int, v string) proto { return p.bytes(field, []byte(v)) }

// tensorValue is a ValueInfoProto; dimensions below 0 are open.
func tensorValue(name string, t models.DType, shape ...int64) proto {
	kinds := map[models.DType]uint64{models.Float32: 1, models.Uint8: 2, models.Int8: 3, models.Float16: 10, "int64": 7}
	var dims proto
	for _, d := range shape {
		var dim proto
		if d >= 0 {
			dim = dim.number(1, uint64(d))
		}
		dims = dims.bytes(1, dim)
	}
	tensor := proto{}.number(1, kinds[t])
	if shape != nil {
		tensor = tensor.bytes(2, dims)
	}
	return proto{}.text(1, name).bytes(2, proto{}.bytes(1, tensor))
}

func node(operator string, inputs, outputs []string, attributes ...proto) proto {
	var p proto
	for _, name := range inputs {
		p = p.text(1, name)
	}
	for _, name := range outputs {
		p = p.text(2, name)
	}
	p = p.text(4, operator)
	for _, a := range attributes {
		p = p.bytes(5, a)
	}
	return p
}

// integer is an AttributeProto.
func integer(name string, v int64) proto {
	return proto{}.text(1, name).number(3, uint64(v)).number(20, 2)
}

func integers(name string, list ...int64) proto {
	p := proto{}.text(1, name)
	for _, v := range list {
		p = p.number(8, uint64(v))
	}
	return p.number(20, 7)
}

type graph struct {
	nodes, inputs, outputs []proto
	properties             map[string]string
}

func (g graph) file() []byte {
	var body proto
	for _, n := range g.nodes {
		body = body.bytes(1, n)
	}
	body = body.text(2, "test")
	for _, v := range g.inputs {
		body = body.bytes(11, v)
	}
	for _, v := range g.outputs {
		body = body.bytes(12, v)
	}
	model := proto{}.number(1, 8).text(2, "test").bytes(7, body).bytes(8, proto{}.number(2, 13))
	for key, value := range g.properties {
		model = model.bytes(14, proto{}.text(1, key).text(2, value))
	}
	return model
}

// averages is a model whose scores are the means of the channels, in the rank that output has.
func averages(input, output proto, layout models.Layout, operators ...proto) graph {
	g := graph{inputs: []proto{input}, outputs: []proto{output}}
	axes := integers("axes", 2, 3)
	if layout == models.NHWC {
		axes = integers("axes", 1, 2)
	}
	g.nodes = append([]proto{node("ReduceMean", []string{"image"}, []string{"means"}, axes, integer("keepdims", 0))}, operators...)
	return g
}

// relu is the model in probe.onnx.
func relu() graph {
	return graph{
		nodes:   []proto{node("Relu", []string{"x"}, []string{"y"})},
		inputs:  []proto{tensorValue("x", models.Float32, 1, 1)},
		outputs: []proto{tensorValue("y", models.Float32, 1, 1)},
	}
}
