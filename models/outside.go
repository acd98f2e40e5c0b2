package models

import (
	"errors"
	"fmt"
)

// part is a kind of message of onnx.proto in which tensors may be.
type part int

const (
	modelPart part = iota
	graphPart
	nodePart
	attributePart
	tensorPart
	sparsePart
	functionPart
	trainingPart
)

// partsOf says which fields of a message lead to tensors, by their numbers in onnx.proto.
func partsOf(p part) map[int]part {
	switch p {
	case modelPart:
		return map[int]part{7: graphPart, 20: trainingPart, 25: functionPart}
	case graphPart:
		return map[int]part{1: nodePart, 5: tensorPart, 15: sparsePart}
	case nodePart:
		return map[int]part{5: attributePart}
	case attributePart:
		return map[int]part{5: tensorPart, 6: graphPart, 10: tensorPart, 11: graphPart, 22: sparsePart, 23: sparsePart}
	case sparsePart:
		return map[int]part{1: tensorPart, 2: tensorPart}
	case functionPart:
		return map[int]part{7: nodePart}
	case trainingPart:
		return map[int]part{1: graphPart, 2: graphPart}
	}
	return nil
}

// deepest is how many messages may be inside one another; a loop in a branch in a loop takes ten.
const deepest = 100

var (
	errOutside = errors.New("its weights are in a file of their own: save it as one file, so that one digest covers it")
	errDeep    = errors.New("its graphs are nested too deeply")
)

// inside checks that all of a model is in its file: no tensor, wherever it is, names another one, which
// could lie anywhere on this machine.
func inside(data []byte, p part, depth int) error {
	if depth > deepest {
		return errDeep
	}
	into := partsOf(p)
	return each(data, func(m *message) error {
		if p == tensorPart && (m.number == tensorExternalData || m.number == tensorLocation && m.varint == 1) {
			return errOutside
		}
		if next, ok := into[m.number]; ok && m.bytes != nil {
			return inside(m.bytes, next, depth+1)
		}
		return nil
	})
}

// oneGraph refuses what protobuf would merge: a graph hidden behind another.
func oneGraph(file []byte) error {
	graphs := 0
	err := each(file, func(m *message) error {
		if m.number == modelGraph {
			graphs++
		}
		return nil
	})
	if graphs > 1 {
		return fmt.Errorf("it has %d graphs, of which one could hide the others", graphs)
	}
	return err
}
