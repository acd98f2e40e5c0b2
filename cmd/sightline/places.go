package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"sightline/cmd/sightline/closures"
	"sightline/models"
	"sightline/models/classify"
	"sightline/pipeline"
	"sightline/runtime/driver"
	"sightline/sinks"
	"sightline/sinks/publish"
	"sightline/sources"

	"sightline/cmd/sightline/join"
)

// places makes the stages that run in this program, from its table of parts.
type places struct {
	table parts
	files func(digest string) driver.Files // closures by digest
}

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
	open := func(ctx context.Context) (pipeline.Classifier, error) {
		c, err := p.laidOut(ctx, c)
		if err != nil {
			return nil, err
		}
		return p.table.classifier(c, env.Log)(ctx)
	}
	return &classify.Stage{Env: env, Open: open, Batch: c.Batch, Inbox: in, Links: links, Outputs: []*pipeline.ResultLink{out}}, nil
}

// keptModel names a model that is in a closure, by the closure's digest and the name of its file.
func keptModel(digest, path string) string { return digest + "/" + filepath.Base(path) }

// laidOut returns the section with the paths of what is in the closure that it names, verified now.
func (p places) laidOut(ctx context.Context, c models.Config) (models.Config, error) {
	digest, name, kept := strings.Cut(c.Model, "/")
	if !kept {
		return c, nil // built in
	}
	folder, err := p.files(digest).Folder(ctx)
	if err != nil {
		return c, fmt.Errorf("model %q: %w", name, err)
	}
	c.Model = filepath.Join(folder, closures.InPlacePath(name))
	return c, nil
}

// Publish implements join.Places.
func (p places) Publish(env pipeline.Env, c sinks.Config) (func(pipeline.Intake) pipeline.Stage, error) {
	sink, err := p.table.sink(c)
	return func(in pipeline.Intake) pipeline.Stage {
		return &publish.Stage{Env: env, Sink: sink, Input: in}
	}, err
}
