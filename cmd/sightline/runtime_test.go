package main

import (
	"testing"

	"sightline/models/onnx/library"
)

// requireRuntime skips a test where ONNX Runtime is not to be found, with the reason.
func requireRuntime(t *testing.T) {
	t.Helper()
	if _, _, err := library.Find(""); err != nil {
		t.Skip(err)
	}
}
