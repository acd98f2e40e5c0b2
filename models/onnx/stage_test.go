package onnx

import (
	"context"
	"log/slog"
	"testing"

	"sightline/models"
	"sightline/models/classify"
	"sightline/models/gate"
	"sightline/pipeline"
)

// The whole stage with the project's own model: two cameras, one model, one inference for both.
func TestTheStageWithARealModel(t *testing.T) {
	runtime := started(t)
	card, err := models.ParseCard("gate.yaml", gate.Card())
	if err != nil {
		t.Fatal(err)
	}
	stats, online := pipeline.NewStats(), make(chan pipeline.Status, 8)
	inbox := pipeline.NewInbox("scene", stats)
	stage := &classify.Stage{
		Env: pipeline.Env{Device: "dev", Stage: "scene", Log: slog.New(slog.DiscardHandler), Stats: stats, Report: func(s pipeline.Status) { online <- s }},
		Open: func(context.Context) (pipeline.Classifier, error) {
			return Open(runtime, Options{Path: "gate", Bytes: gate.Model(), Card: card, Threads: 1, Batch: 2})
		},
		Inbox: inbox, Links: []*pipeline.FrameLink{inbox.Link("gate"), inbox.Link("yard")},
		Outputs: []*pipeline.ResultLink{pipeline.NewResultLink(4)}, Batch: models.Batch{Max: 2},
	}
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- stage.Run(t.Context(), stop) }()
	for status := range online {
		if status.State == pipeline.StateOnline {
			t.Log(status.Detail)
			break
		}
		if status.State != pipeline.StateStarting {
			t.Fatalf("the stage is %s: %s", status.State, status.Reason)
		}
	}
	var pool pipeline.FramePool
	for i, name := range []string{"gate", "yard"} {
		wish := stage.Links[i].Wish()
		frame := pool.New(wish.Width, wish.Height)
		frame.Source, frame.Sequence, frame.Color = name, 1, wish.Color
		clear(frame.Data)
		stage.Links[i].Put(frame)
	}
	seen := map[string]bool{}
	for len(seen) < 2 {
		results, err := stage.Outputs[0].Receive(t.Context(), nil, 4, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range results {
			seen[r.Source] = true
			if r.Model.Name != "gate" || r.Provider != "cpu" || len(r.Predictions) != card.TopK {
				t.Errorf("result %+v", r)
			}
		}
	}
	close(stop)
	if err := <-done; err != nil {
		t.Error(err)
	}
}
