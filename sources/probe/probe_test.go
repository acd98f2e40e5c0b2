package probe_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
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

func look(t *testing.T, p *probe.Probe) (*probe.Report, string) {
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
	return r, text.String()
}

func codes(r *probe.Report) []string {
	var list []string
	for _, w := range r.Warnings {
		list = append(list, w.Code)
	}
	return list
}

func has(r *probe.Report, code string) bool { return slices.Contains(codes(r), code) }

func TestACameraIsToldAsItIs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		server *sim.Server
		encode encode.Options
		check  func(*probe.Report) bool
		says   string // in the text
	}{
		{"h264", &sim.Server{}, encode.Options{Codec: pipeline.H264, FPS: 20, GOP: 10},
			func(r *probe.Report) bool {
				g := r.Video.GOP
				return r.Video.Profile == "High" && g != nil && g.Fewest <= 10 && r.Video.BFrames == 0 && r.Clock.Source == "rtcp-sr" && r.Transport == "udp"
			}, "pictures       H.264 High"},
		{"b-frames without reports", &sim.Server{NoUDP: true, Reports: -1}, encode.Options{Codec: pipeline.H264, FPS: 20, GOP: 20, BFrames: 2},
			func(r *probe.Report) bool {
				return r.Video.BFrames == 2 && has(r, probe.WarnBFrames) && has(r, probe.WarnNoReports) && has(r, probe.WarnUDP) && r.Clock.Source == "arrival" && r.Transport == "tcp"
			}, "      transport: tcp\n"},
		{"h265 with a wrong clock", &sim.Server{ClockError: -48 * time.Hour}, encode.Options{Codec: pipeline.H265, FPS: 10, GOP: 10, Preset: "ultrafast"},
			func(r *probe.Report) bool {
				o := r.Clock.Offset
				return r.Video.Profile == "Main" && has(r, probe.WarnH265) && has(r, probe.WarnClock) && r.Clock.Source == "arrival" && o != nil && *o < -47*3600
			}, "behind this machine's, so capture times"},
		{"mjpeg with basic authentication", &sim.Server{Username: "viewer", Password: "p#ss", Basic: true}, encode.Options{Codec: pipeline.MJPEG, FPS: 5},
			func(r *probe.Report) bool {
				return r.Authentication == "basic" && has(r, probe.WarnBasic)
			}, "password: ${CAMERA_PASSWORD}"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.encode.Width, c.encode.Height = 320, 176
			config := film(t, c.server, c.encode, true)
			config.Username, config.Password = c.server.Username, pipeline.NewSecret(c.server.Password)
			r, text := look(t, &probe.Probe{Config: config, Length: 2500 * time.Millisecond})
			v := r.Video
			tracks := []probe.Track{{Media: "audio", Format: "PCMU"}, {Media: "video", Format: map[string]string{"h264": "H264", "h265": "H265", "mjpeg": "JPEG"}[v.Codec], Taken: true}}
			if !c.check(r) || v.Width != 320 || v.Height != 176 || r.Decoder.Pictures == 0 || r.Server != "gortsplib" ||
				v.Codec != string(c.encode.Codec) || v.Depth != 8 || v.BitRate <= 0 || v.FPS <= 0 || r.FirstPicture <= 0 || !slices.Equal(r.Tracks, tracks) {
				t.Errorf("%+v", r)
			}
			if !strings.Contains(text, c.says) || strings.Contains(text, "p#ss") {
				t.Errorf("want %q in the text", c.says)
			}
		})
	}
}

// lossy is a network that loses every ninth packet.
type lossy struct{ pipeline.Network }

type losing struct {
	net.PacketConn
	count int
}

func (n lossy) ListenPacket(ctx context.Context, kind, address string) (net.PacketConn, error) {
	conn, err := n.Network.ListenPacket(ctx, kind, address)
	if err != nil {
		return nil, err
	}
	return &losing{PacketConn: conn}, nil
}

func (l *losing) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		n, from, err := l.PacketConn.ReadFrom(p)
		if l.count++; err != nil || l.count%9 != 0 || l.LocalAddr().(*net.UDPAddr).Port%2 != 0 {
			return n, from, err
		}
	}
}

func TestLossIsTold(t *testing.T) {
	t.Parallel()
	config := film(t, &sim.Server{}, encode.Options{Codec: pipeline.H264, FPS: 25, GOP: 5, Width: 320, Height: 176}, false)
	env := environment(t, config)
	env.Network = lossy{env.Network}
	p := probe.Probe{Config: config, Length: 2500 * time.Millisecond}
	r, err := p.Run(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	if r.Packets.Lost == 0 || !has(r, probe.WarnLoss) || !strings.Contains(r.Configuration, "transport: tcp") {
		t.Errorf("%+v", r)
	}
}

func TestACameraThatLeavesIsStillTold(t *testing.T) {
	t.Parallel()
	server := &sim.Server{}
	config := film(t, server, encode.Options{Codec: pipeline.H264, FPS: 25, GOP: 5, Width: 320, Height: 176}, false)
	var leave sync.Once
	var leaving sync.WaitGroup
	p := probe.Probe{Config: config, Length: time.Hour, Progress: func(at probe.Progress) {
		if at.Pictures >= 20 {
			leave.Do(func() { leaving.Go(server.Stop) })
		}
	}}
	r, _ := look(t, &p)
	leaving.Wait()
	if r.Ended == "" || !has(r, probe.WarnEnded) || r.Decoder.Pictures == 0 || r.Video.Pictures < 20 {
		t.Errorf("%+v", r)
	}
}

func TestWhatDoesNotWorkIsAnError(t *testing.T) {
	t.Parallel()
	server := &sim.Server{Username: "viewer", Password: "p#ss"}
	config := film(t, server, encode.Options{Codec: pipeline.H264, FPS: 10, Width: 320, Height: 176}, false)
	for name, c := range map[string]struct {
		change func(*sources.RTSP)
		says   string
	}{
		"no user":        {func(*sources.RTSP) {}, "set username"},
		"wrong password": {func(c *sources.RTSP) { c.Username, c.Password = "viewer", pipeline.NewSecret("wr0ng") }, "check username"},
		"no such path": {func(c *sources.RTSP) {
			c.Username, c.Password, c.URL = "viewer", pipeline.NewSecret("p#ss"), c.URL+"era"
		}, "check the path"},
	} {
		bad := config
		c.change(&bad)
		p := probe.Probe{Config: bad}
		_, err := p.Run(t.Context(), environment(t, bad))
		if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "wr0ng") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
