//go:build !cgo

package main

import (
	"context"
	"errors"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"sightline/models"
	"sightline/pipeline"
	"sightline/sinks"
	"sightline/sources"
)

// inPlace says that this program has the stages that need C. This one is the supervisor alone, which
// is small and starts quickly.
const inPlace = false

var errApart = errors.New("this program is the supervisor alone; cameras and models in place need sightline itself")

// commands are those that need C.
func commands() []*cobra.Command { return nil }

func newLocal(sources.Config) (pipeline.Source, error) { return nil, errApart }

func newCapture(pipeline.Env, pipeline.Source, sources.Config, []*pipeline.FrameLink) (pipeline.Stage, error) {
	return nil, errApart
}

// newParts returns a table without classifiers.
func newParts(_ string, stdout io.Writer) (parts, func() error) {
	table := parts{
		source: newSource,
		classifier: func(models.Config, *slog.Logger) func(context.Context) (pipeline.Classifier, error) {
			return func(context.Context) (pipeline.Classifier, error) { return nil, pipeline.Permanent(errApart) }
		},
		sink: func(c sinks.Config) (pipeline.Sink, error) { return newSink(c, stdout) },
	}
	return table, func() error { return nil }
}
