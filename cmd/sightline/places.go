package main

import (
	"sightline/models"
	"sightline/models/classify"
	"sightline/pipeline"
	"sightline/sinks"
	"sightline/sinks/publish"
	"sightline/sources"

	"sightline/cmd/sightline/join"
)

// places makes the stages that run in this program, from its table of parts.
type places struct{ table parts }

var _ join.Places = places{}

// Capture implements join.Places.
func (p places) Capture(env pipeline.Env, c sources.Config, links []*pipeline.FrameLink) (pipeline.Stage, error) {
	source, err := p.table.source(c)
	if err != nil {
		return nil, err
	}
	return newCapture(env, source, c, links)
}

// Classify implements join.Places.
func (p places) Classify(env pipeline.Env, c models.Config, in *pipeline.Inbox, links []*pipeline.FrameLink, out *pipeline.ResultLink) (pipeline.Stage, error) {
	return &classify.Stage{Env: env, Open: p.table.classifier(c, env.Log), Batch: c.Batch, Inbox: in, Links: links, Outputs: []*pipeline.ResultLink{out}}, nil
}

// Publish implements join.Places.
func (p places) Publish(env pipeline.Env, c sinks.Config) (func(pipeline.Intake) pipeline.Stage, error) {
	sink, err := p.table.sink(c)
	return func(in pipeline.Intake) pipeline.Stage {
		return &publish.Stage{Env: env, Sink: sink, Input: in}
	}, err
}
