package onnx

import (
	"testing"

	"sightline/models"
	"sightline/models/gate"
	"sightline/pipeline"
	"sightline/pipeline/pipelinetest"
)

func TestContract(t *testing.T) {
	runtime := started(t)
	for name, batch := range map[string]int{"one frame at a time": 1, "batches of three": 3} {
		t.Run(name, func(t *testing.T) {
			pipelinetest.ClassifierSuite(t, func(t *testing.T) pipeline.Classifier {
				card, err := models.ParseCard("gate.yaml", gate.Card())
				if err != nil {
					t.Fatal(err)
				}
				c, err := Open(runtime, Options{Path: "gate", Bytes: gate.Model(), Card: card, Threads: 1, Batch: batch})
				if err != nil {
					t.Fatal(err)
				}
				return c
			})
		})
	}
}
