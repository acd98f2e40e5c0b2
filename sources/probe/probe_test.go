package probe_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"sightline/pipeline"
	"sightline/pipeline/grant"
	"sightline/sources"
	"sightline/sources/encode"
	"sightline/sources/probe"
	"sightline/sources/rtsp"
	"sightline/sources/sim"
	"sightline/sources/sim/camera"
)

// film starts a simulated camera that films until the test ends.
func film(t *testing.T, server *sim.Server, options encode.Options, audio bool) sources.RTSP {
	t.Helper()
	c := &camera.Camera{Server: server, Path: "cam", Encode: options, Audio: audio}
	if options.Width > 0 {
		c.Scene.Width, c.Scene.Height = options.Width, options.Height
	}
	if err := c.Open(); err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	filmed := make(chan error, 1)
	go func() { filmed <- c.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-filmed; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		server.Stop()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return sources.RTSP{URL: server.URL("cam"), Transport: rtsp.TransportAuto, Stall: 20 * time.Second}
}

func environment(t *testing.T, config sources.RTSP) pipeline.Env {
	t.Helper()
	endpoint, err := grant.FromURL("camera", config.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	endpoint.UDP = true
	return pipeline.Env{
		Device: "test", Stage: "camera", Log: slog.New(slog.DiscardHandler), Stats: pipeline.NewStats(),
		Network: &grant.Network{Endpoints: []grant.Endpoint{endpoint}}, Report: func(pipeline.Status) {},
	}
}

func look(t *testing.T, p *probe.Probe) *probe.Report {
	t.Helper()
	r, err := p.Run(t.Context(), environment(t, p.Config))
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", &text)
	return r
}

func codes(r *probe.Report) []string {
	var list []string
	for _, w := range r.Warnings {
		list = append(list, w.Code)
	}
	return list
}

var _ = net.ErrClosed
var _ = slices.Contains[[]string]
var _ = strings.Contains

func TestTry(t *testing.T) {
	for _, o := range []encode.Options{
		{Codec: pipeline.H264, FPS: 25, GOP: 25, Width: 640, Height: 360},
		{Codec: pipeline.H264, FPS: 10, GOP: 100, BFrames: 2},
		{Codec: pipeline.H265, FPS: 15, GOP: 10, Preset: "ultrafast"},
		{Codec: pipeline.MJPEG, FPS: 5},
	} {
		config := film(t, &sim.Server{Username: "viewer", Password: "p#ss", Basic: o.FPS == 5, ClockError: time.Duration(o.FPS-10) * time.Second}, o, true)
		config.Username, config.Password = "viewer", pipeline.NewSecret("p#ss")
		look(t, &probe.Probe{Config: config, Length: 3 * time.Second})
	}
}
