// Package program is what the programs of stages in boxes share, and what who starts them must know of
// them.
package program

import "os"

// The places in the closure of a stage.
const (
	Path        = "/stage"                 // the program
	LibraryPath = "/lib/libonnxruntime.so" // of classify stages
	ModelPath   = "/model/model.onnx"      // unless it is built in
	CardPath    = "/model/model.yaml"      // may be absent
)

// BuiltInGate is the name of the model that classify stages carry.
const BuiltInGate = "gate"

// At returns where a file of the closure is for the program: a box whose root is not the closure has
// it as its working directory.
func At(path string) string {
	if _, err := os.Stat("." + path); err == nil {
		return "." + path
	}
	return path
}

// IfThere is At for a file that may be absent; then it returns nothing.
func IfThere(path string) string {
	path = At(path)
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}
