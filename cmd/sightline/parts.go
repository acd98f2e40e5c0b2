package main

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"

	"sightline/models"
	"sightline/models/gate"
	"sightline/models/onnx"
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

// defaultPorts are the ports of addresses that name none.
func defaultPorts() map[string]string {
	return map[string]string{"rtsp": "554", "rtsps": "322", "mqtt": "1883", "mqtts": "8883"}
}

// parts is the table of what this program builds from a pipeline file.
type parts struct {
	source     func(c sources.Config) (pipeline.Source, []grant.Endpoint, error)
	classifier func(c models.Config, log *slog.Logger) func(context.Context) (pipeline.Classifier, error)
	sink       func(c sinks.Config) (pipeline.Sink, []grant.Endpoint, error)
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
		sink: func(c sinks.Config) (pipeline.Sink, []grant.Endpoint, error) { return newSink(c, stdout) },
	}
	return table, shared.close
}

func newSource(c sources.Config) (pipeline.Source, []grant.Endpoint, error) {
	if c.RTSP == nil {
		return nil, nil, errors.New("no kind of source")
	}
	camera, err := grant.FromURL("camera", c.RTSP.URL, defaultPorts())
	if err != nil {
		return nil, nil, err
	}
	camera.UDP = c.RTSP.Transport == "auto" || c.RTSP.Transport == "udp"
	return &rtsp.Source{Config: *c.RTSP}, []grant.Endpoint{camera}, nil
}

func newSink(c sinks.Config, stdout io.Writer) (pipeline.Sink, []grant.Endpoint, error) {
	switch {
	case c.MQTT != nil:
		broker, err := grant.FromURL("broker", c.MQTT.URL, defaultPorts())
		return &mqtt.Sink{Config: *c.MQTT}, []grant.Endpoint{broker}, err
	case c.JSONL != nil:
		return &jsonl.Sink{Config: *c.JSONL, Stdout: stdout}, nil, nil
	}
	return nil, nil, errors.New("no kind of sink")
}

// newClassifier opens the model of a classify stage; threads is how many an inference has by default.
func newClassifier(r *onnx.Runtime, c models.Config, threads int, log *slog.Logger) (pipeline.Classifier, error) {
	o := onnx.Options{
		Path: c.Model, CardPath: c.Card, Provider: onnx.Provider(c.Provider), GPU: c.GPU, Threads: cmp.Or(c.Threads, threads),
		Batch: c.Batch.Max, Half: c.Half, Threshold: c.Threshold, TopK: c.TopK, Regions: regions(c.Regions),
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

// regions turns the map of a pipeline file into a list in the order of names.
func regions(named map[string][4]float64) []pipeline.Region {
	var list []pipeline.Region
	for _, name := range slices.Sorted(maps.Keys(named)) {
		r := named[name]
		list = append(list, pipeline.Region{Name: name, Left: r[0], Top: r[1], Right: r[2], Bottom: r[3]})
	}
	return list
}

// cacheFolder is where optimised graphs and engines are kept, empty when there is no place.
func cacheFolder() string {
	user, err := os.UserCacheDir()
	if err == nil {
		user = filepath.Join(user, "sightline")
	}
	return cmp.Or(os.Getenv("SIGHTLINE_CACHE"), user)
}
