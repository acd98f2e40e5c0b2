//go:build cgo

package main

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/spf13/cobra"

	"sightline/models"
	"sightline/models/onnx"
	"sightline/pipeline"
	"sightline/sinks"
	"sightline/sources"
	"sightline/sources/capture"
)

// inPlace says that this program has the stages that need C.
const inPlace = true

// errApart is not met here.
var errApart = errors.New("this program has all stages")

// commands are those that need C.
func commands() []*cobra.Command {
	return []*cobra.Command{newDemo(), newBench(), newDoctor(), newProbe()}
}

// newCapture makes a capture stage in place.
func newCapture(env pipeline.Env, source pipeline.Source, c sources.Config, links []*pipeline.FrameLink) (pipeline.Stage, error) {
	return &capture.Stage{Env: env, Source: source, Config: c, Links: links}, nil
}

// inference is the program's ONNX Runtime, loaded when the first model needs it. When that does not
// work the next model tries again: the library may have been installed meanwhile.
type inference struct {
	library string // where it is; empty: where it is found

	mu      sync.Mutex
	started *onnx.Runtime
}

func (i *inference) start() (*onnx.Runtime, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.started != nil {
		return i.started, nil
	}
	r, err := onnx.Start(i.library)
	if err != nil {
		return nil, err
	}
	i.started = r
	return r, nil
}

// close unloads the library, unless a stage that was stopped meanwhile still loads a model: that ends
// with the process.
func (i *inference) close() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.started == nil {
		return nil
	}
	err := i.started.Close()
	if errors.Is(err, onnx.ErrInUse) {
		return nil
	}
	i.started = nil
	return err
}

// newParts returns the table. ONNX Runtime is loaded from library (empty: where it is found) when
// the first model needs it; the returned function unloads it again.
func newParts(library string, stdout io.Writer) (parts, func() error) {
	shared := &inference{library: library}
	threads := min(runtime.GOMAXPROCS(0), 4) // before makeRoom raises it
	table := parts{
		source: newSource,
		classifier: func(c models.Config, log *slog.Logger) func(context.Context) (pipeline.Classifier, error) {
			return func(context.Context) (pipeline.Classifier, error) {
				r, err := shared.start()
				if err != nil {
					return nil, pipeline.Permanent(err)
				}
				return newClassifier(r, c, threads, log)
			}
		},
		sink: func(c sinks.Config) (pipeline.Sink, error) { return newSink(c, stdout) },
	}
	return table, shared.close
}

// newClassifier opens the model of a classify stage; threads is how many an inference has by default.
func newClassifier(r *onnx.Runtime, c models.Config, threads int, log *slog.Logger) (pipeline.Classifier, error) {
	o := onnx.Options{
		Path: c.Model, CardPath: c.Card, Provider: onnx.Provider(c.Provider), GPU: c.GPU, Threads: cmp.Or(c.Threads, threads),
		Batch: c.Batch.Max, Half: c.Half, Threshold: c.Threshold, TopK: c.TopK, Regions: c.RegionList(),
		CacheDir: cacheFolder(), Log: log,
	}
	if carried, ok := builtInTable()[c.Model]; ok {
		card, err := models.ParseCard(c.Model+".yaml", carried.card)
		if err != nil {
			return nil, pipeline.Permanent(err)
		}
		o.Bytes, o.Card = carried.model, card
	}
	return onnx.Open(r, o)
}

// cacheFolder is where optimised graphs and engines are kept, empty when there is no place.
func cacheFolder() string {
	user, err := os.UserCacheDir()
	if err == nil {
		user = filepath.Join(user, "sightline")
	}
	return cmp.Or(os.Getenv("SIGHTLINE_CACHE"), user)
}
