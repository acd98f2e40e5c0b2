// Command sightline-classify is a classify stage in a box of its own: frames in and results out over
// its wire. It opens ONNX Runtime from its closure.
package main

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"os"
	"runtime"
	"slices"

	"sightline/cmd/program"
	"sightline/models"
	"sightline/models/classify"
	"sightline/models/gate"
	"sightline/models/onnx"
	"sightline/pipeline"
	"sightline/pipeline/wire"
)

// version is set by the linker.
var version = "unknown"

// threads is how many an inference has by default.
var threads = min(runtime.NumCPU(), 4)

func main() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.NumCPU() + 1) // the model holds one of them in C, for longer than the scheduler takes to notice
	}
	os.Exit(program.Program{Kind: wire.Classify, Version: version, Build: build}.Main(os.Args[1:], os.Stderr))
}

func build(st *wire.Stage, c wire.Configuration, env pipeline.Env) (pipeline.Stage, error) {
	var config models.Config
	if err := program.DecodeSection(c.Section, &config); err != nil {
		return nil, err
	}
	inbox, links := st.Inbox()
	return &classify.Stage{
		Env: env, Batch: config.Batch, Inbox: inbox, Links: links, Outputs: st.ResultOutputs(),
		Open: func(context.Context) (pipeline.Classifier, error) { return open(config, env.Log) },
	}, nil
}

// open loads ONNX Runtime and the model.
func open(c models.Config, log *slog.Logger) (pipeline.Classifier, error) {
	r, err := onnx.Start(program.At(program.LibraryPath))
	if err != nil {
		return nil, pipeline.Permanent(err)
	}
	o := onnx.Options{
		Path: program.At(program.ModelPath), CardPath: program.IfThere(program.CardPath), Provider: onnx.Provider(c.Provider), GPU: c.GPU,
		Threads: cmp.Or(c.Threads, threads), Batch: c.Batch.Max, Half: c.Half, Threshold: c.Threshold, TopK: c.TopK,
		Regions: regions(c.Regions), Log: log,
	}
	if c.Model == program.BuiltInGate {
		card, err := models.ParseCard(c.Model+".yaml", gate.Card())
		if err != nil {
			return nil, pipeline.Permanent(err)
		}
		o.Path, o.CardPath, o.Bytes, o.Card = c.Model, "", gate.Model(), card
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
