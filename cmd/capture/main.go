// Command sightline-capture is a capture stage in a box of its own: a camera in through its grant,
// frames out over its wire.
package main

import (
	"errors"
	"os"
	"runtime"

	"sightline/cmd/program"
	"sightline/pipeline"
	"sightline/pipeline/wire"
	"sightline/sources"
	"sightline/sources/capture"
	"sightline/sources/rtsp"
)

// version is set by the linker.
var version = "unknown"

func main() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1) // the decoder holds one of them in C, for longer than the scheduler takes to notice
	}
	os.Exit(program.Program{Kind: wire.Capture, Version: version, Build: build}.Main(os.Args[1:], os.Stderr))
}

// build is the table of the sources that can be in a box.
func build(st *wire.Stage, c wire.Configuration, env pipeline.Env) (pipeline.Stage, error) {
	var config sources.Config
	if err := program.DecodeSection(c.Section, &config); err != nil {
		return nil, err
	}
	if config.RTSP == nil {
		return nil, errors.New("the section names no kind of source")
	}
	return &capture.Stage{Env: env, Source: &rtsp.Source{Config: *config.RTSP}, Config: config, Links: st.FrameOutputs()}, nil
}
