// Package program is what the programs of stages in boxes share, and what who starts them must know of
// them.
package program

import (
	"os"
	"path/filepath"
)

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

// Library returns where ONNX Runtime is in the closure, under LibraryPath or with a version after it,
// and nothing where it isn't: then it is looked for as everywhere. The path is absolute, and leads
// there also where the user of the box may not come from the root to its working directory.
func Library() string {
	root := "/proc/self/cwd"
	if at, err := os.Getwd(); err == nil && at == "/" {
		root = ""
	}
	found, err := filepath.Glob(root + LibraryPath + "*")
	if err != nil || len(found) == 0 {
		return ""
	}
	return found[0]
}
