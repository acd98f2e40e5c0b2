package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"sightline/sinks/broker"
	"sightline/sources/sim"
)

// Site is where the cameras and the broker are: what its process prints, in one line, once they can
// be connected to.
type Site struct {
	Broker  string   `json:"broker"` // URL
	Cameras []Camera `json:"cameras"`
}

// Camera is one simulated camera.
type Camera struct {
	Name     string   `json:"name"`
	URL      string   `json:"url"`
	Schedule Schedule `json:"schedule"`
}

// RunSite runs simulated cameras that show a recording, and an MQTT broker, until ctx ends. It writes
// a Site to out.
func RunSite(ctx context.Context, recording string, cameras int, log *slog.Logger, out io.Writer) (err error) {
	r, err := Load(recording)
	if err != nil {
		return err
	}
	b, err := broker.Start(broker.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	server := &sim.Server{Log: log}
	if err := server.Start(); err != nil {
		return err
	}
	defer server.Stop()
	loop := &sim.Loop{Server: server, Pictures: r.Pictures, FPS: float64(r.FPS)}
	for i := range cameras {
		loop.Paths = append(loop.Paths, cameraName(i))
	}
	if err := loop.Open(); err != nil {
		return err
	}
	if err := json.NewEncoder(out).Encode(describe(b, server, loop, r)); err != nil {
		return fmt.Errorf("say where the cameras are: %w", err)
	}
	if err := loop.Run(ctx); ctx.Err() == nil {
		return err
	}
	return nil
}

func cameraName(i int) string { return fmt.Sprintf("camera%02d", i+1) }

func describe(b *broker.Broker, server *sim.Server, loop *sim.Loop, r *Recording) Site {
	site := Site{Broker: b.URL()}
	for i, path := range loop.Paths {
		site.Cameras = append(site.Cameras, Camera{
			Name: path, URL: server.URL(path),
			Schedule: Schedule{Begin: now() - time.Since(loop.Taken(i, 0)), FPS: r.FPS, Lap: int64(len(r.Pictures))},
		})
	}
	return site
}
