package models

import (
	"fmt"
	"math"
)

// Anatomy is what a .onnx file consists of, beyond what goes in and out.
type Anatomy struct {
	IR         uint64         // version of the file format
	Opsets     []Opset        // in the order of the file
	Program    string         // that wrote it, with its version
	Document   string         // what its maker wrote about it
	Operators  map[string]int // how often each is there; those of another domain as domain.Name
	Parameters int64          // numbers in its weights
	// Maker names the operator that makes each output, seen through operators that only move or
	// convert numbers.
	Maker map[string]string
}

// Opset is the version of one set of operators. The domain of ONNX's own is empty.
type Opset struct {
	Domain  string
	Version uint64
}

// Numbers of fields in onnx.proto.
const (
	modelIR, modelProducerVersion, modelDocument, modelOpset = 1, 3, 6, 8
	opsetDomain, opsetVersion                                = 1, 2
	nodeInput, nodeOutput, nodeOperator, nodeDomain          = 1, 2, 4, 7
	graphNode, tensorDims                                    = 1, 1
)

// maxNodes bounds the memory for a hostile file: known classifiers have some thousand.
const maxNodes = 1 << 20

// Dissect reads what a .onnx file consists of, without loading it.
func Dissect(file []byte) (*Anatomy, error) {
	a := &Anatomy{Operators: map[string]int{}, Maker: map[string]string{}}
	g := &graphReader{Anatomy: a, made: map[string]node{}}
	var producer, version string
	err := each(file, func(m *message) error {
		switch m.number {
		case modelIR:
			a.IR = m.varint
		case modelProducer:
			producer = string(m.bytes)
		case modelProducerVersion:
			version = string(m.bytes)
		case modelDocument:
			a.Document = string(m.bytes)
		case modelOpset:
			return a.opset(m.bytes)
		case modelGraph:
			return g.read(m.bytes)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("not an ONNX file: %w", err)
	}
	if a.Program = producer; version != "" {
		a.Program += " " + version
	}
	for _, out := range g.outputs {
		a.Maker[out] = g.maker(out)
	}
	return a, nil
}

func (a *Anatomy) opset(data []byte) error {
	var o Opset
	err := each(data, func(m *message) error {
		switch m.number {
		case opsetDomain:
			o.Domain = string(m.bytes)
		case opsetVersion:
			o.Version = m.varint
		}
		return nil
	})
	a.Opsets = append(a.Opsets, o)
	return err
}

// node is an operator, and the first of its inputs.
type node struct{ operator, input string }

type graphReader struct {
	*Anatomy
	made    map[string]node // by output
	outputs []string
}

func (g *graphReader) read(graph []byte) error {
	return each(graph, func(m *message) error {
		switch m.number {
		case graphNode:
			return g.node(m.bytes)
		case graphInitializer:
			return g.weights(m.bytes)
		case graphOutput:
			t, err := value(m.bytes)
			g.outputs = append(g.outputs, t.Name)
			return err
		}
		return nil
	})
}

func (g *graphReader) node(data []byte) error {
	var n node
	var domain string
	var inputs int
	var outputs []string
	err := each(data, func(m *message) error {
		switch m.number {
		case nodeInput:
			if inputs++; inputs == 1 {
				n.input = string(m.bytes)
			}
		case nodeOutput:
			outputs = append(outputs, string(m.bytes))
		case nodeOperator:
			n.operator = string(m.bytes)
		case nodeDomain:
			domain = string(m.bytes)
		}
		return nil
	})
	if domain != "" && domain != "ai.onnx" {
		n.operator = domain + "." + n.operator
	}
	g.Operators[n.operator]++
	for _, out := range outputs {
		g.made[out] = n
	}
	if len(g.made) > maxNodes {
		return fmt.Errorf("it has more than %d operators", maxNodes)
	}
	return err
}

// weights adds the numbers of one tensor.
func (g *graphReader) weights(data []byte) error {
	count := int64(1)
	grow := func(dim uint64) {
		if dim > math.MaxInt32 || count > math.MaxInt64/math.MaxInt32 {
			dim, count = 0, 0
		}
		count *= int64(dim)
	}
	err := each(data, func(m *message) error {
		if m.number != tensorDims {
			return nil
		}
		if m.bytes == nil {
			grow(m.varint)
			return nil
		}
		packed := message{rest: m.bytes}
		for len(packed.rest) > 0 {
			grow(packed.uvarint())
		}
		return packed.err
	})
	if g.Parameters < math.MaxInt64-count {
		g.Parameters += count
	}
	return err
}

// maker walks back from an output over what only moves or converts numbers.
func (g *graphReader) maker(output string) string {
	passing := map[string]bool{
		"Identity": true, "Cast": true, "Reshape": true, "Flatten": true, "Squeeze": true, "Unsqueeze": true, "Transpose": true,
		"Dropout": true, "QuantizeLinear": true, "DequantizeLinear": true,
	}
	for range 16 {
		n, ok := g.made[output]
		if !ok {
			return ""
		}
		if !passing[n.operator] {
			return n.operator
		}
		output = n.input
	}
	return ""
}
