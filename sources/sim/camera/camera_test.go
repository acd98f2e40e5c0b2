package camera_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"testing"
	"time"

	"sightline/pipeline"
	"sightline/sources"
	"sightline/sources/decode"
	"sightline/sources/encode"
	"sightline/sources/picture"
	"sightline/sources/rtsp"
	"sightline/sources/scale"
	"sightline/sources/sim"
	"sightline/sources/sim/camera"
	"sightline/sources/sim/clock"
	"sightline/sources/sim/scene"
)

type network struct{}

func (network) Dial(ctx context.Context, kind, address string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, kind, address)
}

func (network) ListenPacket(ctx context.Context, kind, address string) (net.PacketConn, error) {
	return new(net.ListenConfig).ListenPacket(ctx, kind, address)
}

// seen is one picture that came all the way.
type seen struct {
	number   uint32
	captured time.Time
	origin   pipeline.Origin
	age      time.Duration // when it was decoded
}

// eye decodes what a source receives and reads the clock in it.
type eye struct {
	t       *testing.T
	decoder *decode.Decoder
	scaler  scale.Scaler
	wish    pipeline.Wish
	data    []byte
	units   uint64
	seen    []seen
	waiting bool
}

func newEye(t *testing.T, codec pipeline.Codec) *eye {
	decoder, err := decode.Open(decode.Options{Codec: codec, Decoder: decode.Software})
	if err != nil {
		t.Fatal(err)
	}
	e := &eye{t: t, decoder: decoder, waiting: true}
	e.wish = pipeline.Wish{Width: 320, Height: 180, Color: pipeline.RGB, Resize: pipeline.ResizeStandard}
	e.data = make([]byte, 320*180*3)
	t.Cleanup(func() {
		e.scaler.Close()
		if err := decoder.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func (e *eye) take(u *pipeline.Unit) {
	if e.waiting = e.waiting && !u.Keyframe; e.waiting {
		return
	}
	e.units++
	if err := e.decoder.Decode(u, e.units, e.look); err != nil {
		e.t.Errorf("decode unit %d: %v", e.units, err)
	}
}

func (e *eye) look(p *picture.Picture) {
	if err := e.scaler.Scale(p, &e.wish, pipeline.Whole, e.data); err != nil {
		e.t.Errorf("scale: %v", err)
		return
	}
	number, ok := clock.Read(e.data, e.wish.Width, e.wish.Height)
	if !ok {
		e.t.Errorf("picture %d shows no clock", p.Sequence)
		return
	}
	e.seen = append(e.seen, seen{number, p.Captured, p.Origin, time.Since(p.Captured)})
}

// TestCaptureTimeIsWhatTheClockInThePictureShows follows pictures from rendering over RTSP to the
// decoded picture: the time that the source tells of each is that at which the picture itself says it
// was taken.
func TestCaptureTimeIsWhatTheClockInThePictureShows(t *testing.T) {
	for _, test := range []struct {
		name, transport string
		encode          encode.Options
		audio           bool
	}{
		{"h264 over tcp", rtsp.TransportTCP, encode.Options{Codec: pipeline.H264, FPS: 25, GOP: 10}, false},
		{"h264 over udp", rtsp.TransportUDP, encode.Options{Codec: pipeline.H264, FPS: 25, GOP: 10}, true},
		{"h264 with B-pictures", rtsp.TransportTCP, encode.Options{Codec: pipeline.H264, FPS: 25, GOP: 10, BFrames: 2}, false},
		{"h265", rtsp.TransportUDP, encode.Options{Codec: pipeline.H265, FPS: 15, GOP: 10, Preset: "ultrafast"}, false},
		{"mjpeg", rtsp.TransportUDP, encode.Options{Codec: pipeline.MJPEG, FPS: 10}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, source := film(t, test.encode, test.audio, test.transport)
			e := newEye(t, test.encode.Codec)
			watch(t, source, e, 30)
			if last := e.seen[len(e.seen)-1]; last.origin != pipeline.OriginSenderReport {
				t.Errorf("after %d pictures their time is still by %s", len(e.seen), last.origin)
			}
			for i, s := range e.seen {
				if off := s.captured.Sub(c.Taken(s.number)).Abs(); s.origin == pipeline.OriginSenderReport && off > time.Millisecond {
					t.Errorf("picture %d was taken at %v, captured says %v", s.number, c.Taken(s.number), s.captured)
				}
				if i > 0 && s.number <= e.seen[i-1].number {
					t.Errorf("picture %d after %d", s.number, e.seen[i-1].number)
				}
				if class := c.Truth(s.captured).Class; !slices.Contains(scene.Classes(), class) {
					t.Errorf("truth of picture %d is %q", s.number, class)
				}
			}
		})
	}
}

// film starts a camera and returns it with a source that watches it.
func film(t *testing.T, options encode.Options, audio bool, transport string) (*camera.Camera, *rtsp.Source) {
	t.Helper()
	server := &sim.Server{}
	c := &camera.Camera{Server: server, Path: "gate", Scene: scene.Options{Seed: 7, Width: 640, Height: 360}, Encode: options, Audio: audio}
	if err := c.Open(); err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("camera: %v", err)
		}
		server.Stop()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c, &rtsp.Source{Config: sources.RTSP{URL: server.URL("gate"), Transport: transport, Stall: 5 * time.Second}}
}

// watch receives until the eye has seen enough pictures with a time by sender reports.
func watch(t *testing.T, source *rtsp.Source, e *eye, enough int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	env := pipeline.Env{Network: network{}, Log: slog.New(slog.DiscardHandler), Stats: pipeline.NewStats(), Report: func(pipeline.Status) {}}
	err := source.Receive(ctx, env, func(u *pipeline.Unit) {
		if e.take(u); len(e.seen) >= enough && e.seen[len(e.seen)-1].origin == pipeline.OriginSenderReport {
			cancel()
		}
	})
	if len(e.seen) < enough {
		t.Fatalf("saw %d pictures: %v", len(e.seen), err)
	}
}
