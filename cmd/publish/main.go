// Command sightline-publish is a publish stage in a box of its own: results in over its wire, an
// upstream out through its grant. It is pure Go.
package main

import (
	"errors"
	"os"
	"runtime"

	"sightline/cmd/program"
	"sightline/pipeline"
	"sightline/pipeline/wire"
	"sightline/sinks"
	"sightline/sinks/http"
	"sightline/sinks/mqtt"
	"sightline/sinks/publish"
)

// version is set by the linker.
var version = "unknown"

func main() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(1) // it carries a little at a time: more cost more in looking for work than they do
	}
	os.Exit(program.Program{Kind: wire.Publish, Version: version, Build: build}.Main(os.Args[1:], os.Stderr))
}

// build is the table of the sinks that can be in a box.
func build(st *wire.Stage, c wire.Configuration, env pipeline.Env) (pipeline.Stage, error) {
	var config sinks.Config
	if err := program.DecodeSection(c.Section, &config); err != nil {
		return nil, err
	}
	var sink pipeline.Sink
	switch {
	case config.MQTT != nil:
		sink = &mqtt.Sink{Config: *config.MQTT}
	case config.HTTP != nil:
		sink = &http.Sink{Config: *config.HTTP}
	case config.JSONL != nil:
		return nil, errors.New("a jsonl sink writes files, and a box has none: use in: inline")
	default:
		return nil, errors.New("the section names no kind of sink")
	}
	return &publish.Stage{Env: env, Sink: sink, Input: st.Intake()}, nil
}
