package models

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// Description is what a .onnx file says of itself.
type Description struct {
	Signature
	Producer   string            // program that wrote it
	Graph      string            // name of the graph
	Properties map[string]string // metadata_props
}

// Numbers of fields in onnx.proto.
const (
	modelProducer, modelGraph, modelProperties           = 2, 7, 14
	graphName, graphInitializer                          = 2, 5
	graphInput, graphOutput                              = 11, 12
	tensorName, tensorExternalData, tensorLocation       = 8, 13, 14
	valueName, valueType                                 = 1, 2
	typeTensor, typeSequence, typeMap                    = 1, 4, 5
	typeSparse, typeOptional                             = 8, 9
	tensorTypeElement, tensorTypeShape, shapeDim, dimNum = 1, 2, 1, 1
)

const maxDimensions = 64

// Describe reads from a .onnx file what goes in and what comes out, without loading it. Whether it
// can be run is another matter. A model with weights in a file of their own is refused: one digest
// is to cover it all.
func Describe(file []byte) (*Description, error) {
	d := &Description{Properties: map[string]string{}}
	var graph []byte
	err := each(file, func(m *message) error {
		switch m.number {
		case modelProducer:
			d.Producer = string(m.bytes)
		case modelGraph:
			graph = m.bytes
		case modelProperties:
			return property(m.bytes, d.Properties)
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("not an ONNX file: %w", err)
	case graph == nil:
		return nil, errors.New("not an ONNX file: it has no graph")
	}
	if err := errors.Join(oneGraph(file), inside(file, modelPart, 0)); err != nil {
		return nil, err
	}
	return d, d.readGraph(graph)
}

func property(data []byte, into map[string]string) error {
	var entry [3]string
	err := each(data, func(m *message) error {
		if m.number == 1 || m.number == 2 {
			entry[m.number] = string(m.bytes)
		}
		return nil
	})
	into[entry[1]] = entry[2]
	return err
}

func (d *Description) readGraph(graph []byte) error {
	weights := map[string]bool{}
	err := each(graph, func(m *message) error {
		switch m.number {
		case graphName:
			d.Graph = string(m.bytes)
		case graphInitializer:
			return each(m.bytes, func(m *message) error {
				if m.number == tensorName {
					weights[string(m.bytes)] = true
				}
				return nil
			})
		case graphInput, graphOutput:
			t, err := value(m.bytes)
			if err != nil {
				return err
			}
			if m.number == graphInput {
				d.Inputs = append(d.Inputs, t)
			} else {
				d.Outputs = append(d.Outputs, t)
			}
		}
		return nil
	})
	// Up to IR version 3 weights are listed as inputs, too.
	d.Inputs = slices.DeleteFunc(d.Inputs, func(t Tensor) bool { return weights[t.Name] })
	return err
}

func value(data []byte) (Tensor, error) {
	t := Tensor{Type: "of unknown type"}
	err := each(data, func(m *message) error {
		switch m.number {
		case valueName:
			t.Name = string(m.bytes)
		case valueType:
			return t.readType(m.bytes)
		}
		return nil
	})
	return t, err
}

func (t *Tensor) readType(data []byte) error {
	return each(data, func(m *message) error {
		switch m.number {
		case typeTensor:
			return t.readTensor(m.bytes)
		case typeSequence:
			t.Type = "sequence"
		case typeMap:
			t.Type = "map"
		case typeSparse:
			t.Type = "sparse tensor"
		case typeOptional:
			t.Type = "optional"
		}
		return nil
	})
}

// readTensor leaves a tensor without a shape with that of N×classes, both open: only running it tells.
func (t *Tensor) readTensor(data []byte) error {
	t.Shape = []int64{-1, -1}
	return each(data, func(m *message) error {
		switch m.number {
		case tensorTypeElement:
			t.Type = elementType(m.varint)
		case tensorTypeShape:
			t.Shape = []int64{}
			return t.readShape(m.bytes)
		}
		return nil
	})
}

func (t *Tensor) readShape(data []byte) error {
	return each(data, func(m *message) error {
		if m.number != shapeDim {
			return nil
		}
		if len(t.Shape) == maxDimensions {
			return fmt.Errorf("the tensor %q has more than %d dimensions", t.Name, maxDimensions)
		}
		dim := int64(-1)
		err := each(m.bytes, func(d *message) error {
			if d.number == dimNum && d.varint <= math.MaxInt32 {
				dim = int64(d.varint)
			}
			return nil
		})
		t.Shape = append(t.Shape, dim)
		return err
	})
}

// elementType names the values of TensorProto.DataType.
func elementType(n uint64) DType {
	names := [...]DType{1: Float32, 2: Uint8, 3: Int8, 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "string",
		9: "bool", 10: Float16, 11: "double", 12: "uint32", 13: "uint64", 16: "bfloat16"}
	if n < uint64(len(names)) && names[n] != "" {
		return names[n]
	}
	return DType(fmt.Sprintf("element type %d", n))
}
