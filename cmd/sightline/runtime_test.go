package main

import (
	"testing"

	"sightline/models/onnx"
)

// requireRuntime skips a test where ONNX Runtime is not to be found, with the reason.
func requireRuntime(t *testing.T) {
	t.Helper()
	if _, _, err := onnx.Find(""); err != nil {
		t.Skip(err)
	}
}
