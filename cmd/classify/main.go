// Command sightline-classify is a classify stage in a box of its own: frames in and results out over
// its wire. It opens ONNX Runtime from its closure.
package main

import (
	"cmp"
	"context"
	"log/slog"
	"os"
	"runtime"

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

func main() {
	threads := min(runtime.GOMAXPROCS(0), 4) // of an inference, by default
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1) // the model holds one of them in C, for longer than the scheduler takes to notice
	}
	build := func(st *wire.Stage, c wire.Configuration, env pipeline.Env) (pipeline.Stage, error) {
		return newStage(st, c, env, threads)
	}
	os.Exit(program.Program{Kind: wire.Classify, Version: version, Build: build}.Main(os.Args[1:], os.Stderr))
}

func newStage(st *wire.Stage, c wire.Configuration, env pipeline.Env, threads int) (pipeline.Stage, error) {
	var config models.Config
	if err := program.DecodeSection(c.Section, &config); err != nil {
		return nil, err
	}
	config.Threads = cmp.Or(config.Threads, threads)
	inbox, links := st.Inbox()
	return &classify.Stage{
		Env: env, Batch: config.Batch, Inbox: inbox, Links: links, Outputs: st.ResultOutputs(),
		Open: func(context.Context) (pipeline.Classifier, error) { return open(config, env.Log) },
	}, nil
}

// open loads ONNX Runtime and the model.
func open(c models.Config, log *slog.Logger) (pipeline.Classifier, error) {
	r, err := onnx.Start(program.Library())
	if err != nil {
		return nil, pipeline.Permanent(err)
	}
	o := onnx.Options{
		Path: program.At(program.ModelPath), Name: models.File{Path: c.Model}.Name(), CardPath: program.IfThere(program.CardPath), Provider: onnx.Provider(c.Provider), GPU: c.GPU,
		Threads: c.Threads, Batch: c.Batch.Max, Half: c.Half, Threshold: c.Threshold, TopK: c.TopK,
		Regions: c.RegionList(), Log: log,
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
