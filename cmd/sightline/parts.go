package main

import (
	"context"
	"io"
	"log/slog"
	"maps"
	"slices"

	"sightline/cmd/sightline/join"
	"sightline/models"
	"sightline/models/gate"
	"sightline/pipeline"
	"sightline/pipeline/grant"
	"sightline/sinks"
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
	source     func(c sources.Config) (pipeline.Source, []grant.Endpoint, error)
	classifier func(c models.Config, log *slog.Logger) func(context.Context) (pipeline.Classifier, error)
	sink       func(c sinks.Config) (pipeline.Sink, []grant.Endpoint, error)
}

func newSource(c sources.Config) (pipeline.Source, []grant.Endpoint, error) {
	camera, err := join.SourceEndpoints(c)
	if err != nil {
		return nil, nil, err
	}
	return &rtsp.Source{Config: *c.RTSP}, camera, nil
}

func newSink(c sinks.Config, stdout io.Writer) (pipeline.Sink, []grant.Endpoint, error) {
	upstream, err := join.SinkEndpoints(c)
	switch {
	case err != nil:
		return nil, nil, err
	case c.MQTT != nil:
		return &mqtt.Sink{Config: *c.MQTT}, upstream, nil
	}
	return &jsonl.Sink{Config: *c.JSONL, Stdout: stdout}, upstream, nil
}

// regions turns the map of a pipeline file into a list in the order of names.
func regions(named map[string][4]float64) []pipeline.Region {
	var list []pipeline.Region
	for _, name := range slices.Sorted(maps.Keys(named)) {
		r := named[name]
		list = append(list, pipeline.Region{Name: name, Left: r[0], Top: r[1], Right: r[2], Bottom: r[3]})
	}
	return list
}
