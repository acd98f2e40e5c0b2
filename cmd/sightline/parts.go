package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"slices"

	"sightline/models"
	"sightline/models/gate"
	"sightline/pipeline"
	"sightline/sinks"
	"sightline/sinks/http"
	"sightline/sinks/jsonl"
	"sightline/sinks/mqtt"
	"sightline/sources"
	"sightline/sources/rtsp"
)

// builtIn is a model that the program carries.
type builtIn struct{ model, card []byte }

// builtInTable are the models that need no file, by name.
func builtInTable() map[string]builtIn {
	return map[string]builtIn{"gate": {gate.Model(), gate.Card()}}
}

func builtInModels() []string { return slices.Sorted(maps.Keys(builtInTable())) }

// parts is the table of what this program builds from a pipeline file.
type parts struct {
	source     func(c sources.Config) (pipeline.Source, error)
	classifier func(c models.Config, log *slog.Logger) func(context.Context) (pipeline.Classifier, error)
	sink       func(c sinks.Config) (pipeline.Sink, error)
}

func newSource(c sources.Config) (pipeline.Source, error) {
	if c.RTSP != nil {
		return &rtsp.Source{Config: *c.RTSP}, nil
	}
	return newLocal(c)
}

func newSink(c sinks.Config, stdout io.Writer) (pipeline.Sink, error) {
	switch {
	case c.MQTT != nil:
		return &mqtt.Sink{Config: *c.MQTT}, nil
	case c.HTTP != nil:
		return &http.Sink{Config: *c.HTTP}, nil
	case c.JSONL != nil:
		return &jsonl.Sink{Config: *c.JSONL, Stdout: stdout}, nil
	}
	return nil, errors.New("no kind of sink")
}
