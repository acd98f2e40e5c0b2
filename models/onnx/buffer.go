package onnx

import (
	"runtime"
	"unsafe"

	ort "github.com/yalue/onnxruntime_go"

	"sightline/models"
)

// alignment suits every vector instruction that may touch a tensor.
const alignment = 64

// buffer is memory that tensors look at. It is pinned, because ONNX Runtime keeps its address for as
// long as the tensors live.
type buffer struct {
	bytes []byte
	pin   runtime.Pinner
}

func newBuffer(size int) *buffer {
	whole := make([]byte, size+alignment)
	skip := -int(uintptr(unsafe.Pointer(&whole[0]))) & (alignment - 1)
	b := &buffer{bytes: whole[skip : skip+size : skip+size]}
	b.pin.Pin(&whole[0])
	return b
}

// close lets go of the memory; the tensors on it are destroyed before.
func (b *buffer) close() {
	b.pin.Unpin()
	b.bytes = nil
}

// view looks at bytes as numbers; their number is a multiple of the numbers' size.
func view[T float32 | uint16](bytes []byte) []T {
	if len(bytes) == 0 {
		return nil
	}
	var number T
	return unsafe.Slice((*T)(unsafe.Pointer(&bytes[0])), len(bytes)/int(unsafe.Sizeof(number)))
}

// element says how an element type looks in memory and in ONNX Runtime.
func element(t models.DType) (size int, kind ort.TensorElementDataType) {
	switch t {
	case models.Float32:
		return 4, ort.TensorElementDataTypeFloat
	case models.Float16:
		return 2, ort.TensorElementDataTypeFloat16
	case models.Int8:
		return 1, ort.TensorElementDataTypeInt8
	}
	return 1, ort.TensorElementDataTypeUint8
}

// tensor makes a tensor on the first bytes of the buffer.
func (b *buffer) tensor(shape []int64, t models.DType) (ort.Value, error) {
	size, kind := element(t)
	for _, d := range shape {
		size *= int(d)
	}
	return ort.NewCustomDataTensor(ort.NewShape(shape...), b.bytes[:size], kind)
}
