package onnx

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"testing"

	"sightline/models"
	"sightline/models/onnxtest"
)

// The process's one runtime, and why there is none.
var (
	shared    *Runtime
	sharedErr error
)

var update = flag.Bool("update", false, "write probe.onnx")

func TestMain(m *testing.M) {
	flag.Parse()
	if *update {
		if err := os.WriteFile("probe.onnx", onnxtest.Relu().File(), 0o644); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		probe = onnxtest.Relu().File()
	}
	shared, sharedErr = Start("")
	code := m.Run()
	if shared != nil {
		if err := shared.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// started returns the runtime, or skips with the reason why there is none.
func started(t testing.TB) *Runtime {
	t.Helper()
	if sharedErr != nil {
		t.Skip(sharedErr)
	}
	return shared
}

func TestProbeIsTheBuiltModel(t *testing.T) {
	if !bytes.Equal(probe, onnxtest.Relu().File()) {
		t.Error("probe.onnx is not what onnxtest builds: run with -update")
	}
}

// card makes a card of its text.
func card(t testing.TB, text string) *models.Card {
	t.Helper()
	c, err := models.ParseCard("card.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}
