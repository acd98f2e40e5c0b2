// Package demo is the world around the pipeline of `sightline demo`: a simulated camera, an MQTT
// broker, and a viewer that holds what arrives against the truth.
package demo

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"time"

	"sightline/pipeline"
	"sightline/sinks/broker"
	"sightline/sources/encode"
	"sightline/sources/sim"
	"sightline/sources/sim/camera"
	"sightline/sources/sim/scene"
)

// The picture of the demo's camera.
const (
	seed   = 2026 // of the scene; the embedded model was trained on others
	width  = 640
	height = 360
	fps    = 15
	rate   = 800_000 // bits a second
)

// Site is a camera and a broker on loopback.
type Site struct {
	server   *sim.Server
	camera   *camera.Camera
	broker   *broker.Broker
	password string
	stop     context.CancelFunc
	filmed   chan error
}

// Start starts both.
func Start() (*Site, error) {
	s := &Site{password: rand.Text(), filmed: make(chan error, 1)}
	s.server = &sim.Server{Address: "127.0.0.1:0", Username: "viewer", Password: s.password}
	if err := s.server.Start(); err != nil {
		return nil, fmt.Errorf("start the simulated camera: %w", err)
	}
	s.camera = &camera.Camera{
		Server: s.server, Path: "gate",
		Scene:  scene.Options{Seed: seed, Width: width, Height: height},
		Encode: encode.Options{Codec: pipeline.H264, FPS: fps, BitRate: rate, GOP: fps},
	}
	if err := s.camera.Open(); err != nil {
		s.server.Stop()
		return nil, err
	}
	var err error
	if s.broker, err = broker.Start(broker.Options{}); err != nil {
		s.server.Stop()
		return nil, errors.Join(err, s.camera.Close())
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	go func() { s.filmed <- s.camera.Run(ctx) }()
	return s, nil
}

// Close stops both.
func (s *Site) Close() error {
	s.stop()
	err := <-s.filmed
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	s.server.Stop()
	return errors.Join(err, s.camera.Close(), s.broker.Close())
}

// Variables are what configs/demo.yaml takes from the environment.
func (s *Site) Variables() map[string]string {
	return map[string]string{
		"SIGHTLINE_DEMO_RTSP_URL":      s.server.URL("gate"),
		"SIGHTLINE_DEMO_RTSP_PASSWORD": s.password,
		"SIGHTLINE_DEMO_MQTT_URL":      s.broker.URL(),
	}
}

// Broker is the broker's address, mqtt://host:port.
func (s *Site) Broker() (*url.URL, error) { return url.Parse(s.broker.URL()) }

// Truth says what the camera saw at a time, and whether it was clear.
func (s *Site) Truth(at time.Time) (class string, settled bool) {
	t := s.camera.Truth(at)
	return t.Class, t.Settled
}

// Camera describes the camera, for people.
func (s *Site) Camera() string {
	return fmt.Sprintf("%s, H.264 %d×%d, %d frames a second", s.server.URL("gate"), width, height, fps)
}
