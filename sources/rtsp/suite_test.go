package rtsp_test

import (
	"testing"

	"sightline/pipeline/pipelinetest"
	"sightline/sources/rtsp"
	"sightline/sources/sim"
)

func TestContract(t *testing.T) {
	for _, transport := range []string{rtsp.TransportTCP, rtsp.TransportUDP, rtsp.TransportAuto} {
		t.Run("simulated camera over "+transport, func(t *testing.T) {
			pipelinetest.SourceSuite(t, func(t *testing.T) pipelinetest.Camera {
				c := startCamera(t, &sim.Server{}, sim.StreamOptions{}, 5000)
				return pipelinetest.Camera{
					Source: &rtsp.Source{Config: c.config(transport)}, Network: &network{},
					Break: func(t *testing.T) func() {
						done := make(chan struct{})
						go func() { defer close(done); c.Stop() }()
						return func() {
							<-done
							if err := c.Start(); err != nil {
								t.Error(err)
							}
						}
					},
				}
			})
		})
	}
	t.Run("GStreamer's server", func(t *testing.T) {
		pipelinetest.SourceSuite(t, func(t *testing.T) pipelinetest.Camera {
			p := startPeer(t)
			return pipelinetest.Camera{
				Source: &rtsp.Source{Config: p.config("/h264", rtsp.TransportTCP)}, Network: &network{},
				Break: func(t *testing.T) func() {
					p.kill()
					return func() { p.start(t) }
				},
			}
		})
	})
}
