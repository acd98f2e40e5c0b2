package sim_test

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"sightline/pipeline"
	"sightline/sources"
	"sightline/sources/rtsp"
	"sightline/sources/sim"
)

type network struct{}

func (network) Dial(ctx context.Context, kind, address string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, kind, address)
}

func (network) ListenPacket(ctx context.Context, kind, address string) (net.PacketConn, error) {
	return new(net.ListenConfig).ListenPacket(ctx, kind, address)
}

var errEnough = errors.New("enough")

// watch receives units until take says that it has enough.
func watch(t *testing.T, url, transport string, take func(*pipeline.Unit) bool) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	timer := time.AfterFunc(20*time.Second, func() { cancel(errors.New("nothing for too long")) })
	defer timer.Stop()
	env := pipeline.Env{Network: network{}, Log: slog.New(slog.DiscardHandler), Stats: pipeline.NewStats(), Report: func(pipeline.Status) {}}
	source := &rtsp.Source{Config: sources.RTSP{URL: url, Transport: transport, Stall: 5 * time.Second}}
	err := source.Receive(ctx, env, func(u *pipeline.Unit) {
		if ctx.Err() == nil && take(u) {
			cancel(errEnough)
		}
	})
	if !errors.Is(context.Cause(ctx), errEnough) {
		t.Errorf("watch %s over %s: %v, %v", url, transport, err, context.Cause(ctx))
	}
}

const length = 10 // pictures of the loop

// pictures makes units of H.264 whose headers are real and whose content is their number.
func pictures() []sim.Picture {
	out := make([]sim.Picture, length)
	for i := range out {
		if i%5 == 0 {
			idr := binary.BigEndian.AppendUint16([]byte{0x65, 0x88, 0x80}, uint16(i)|0x4000)
			out[i].NALs = [][]byte{{0x67, 0x42, 0x00, 0x1e, 0x95, 0xa8}, {0x68, 0xce, 0x3c, 0x80}, idr}
			continue
		}
		out[i].NALs = [][]byte{binary.BigEndian.AppendUint16([]byte{0x41, 0x9a, 0x80}, uint16(i)|0x4000)}
	}
	return out
}

func numberOf(u *pipeline.Unit) int64 {
	last := u.NALs[len(u.NALs)-1]
	return int64(binary.BigEndian.Uint16(last[3:]) & 0x3fff)
}

func startLoop(t *testing.T, paths ...string) (*sim.Server, *sim.Loop) {
	t.Helper()
	server := &sim.Server{Reports: 100 * time.Millisecond}
	loop := &sim.Loop{Server: server, Paths: paths, Pictures: pictures(), FPS: 30}
	if err := loop.Open(); err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- loop.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("loop: %v", err)
		}
		server.Stop()
	})
	return server, loop
}

// TestLoopIsOnSchedule watches three paths at once: every picture follows the one before, none leaves
// before its time, and its capture time is that of the schedule, to the rounding of RTP time.
func TestLoopIsOnSchedule(t *testing.T) {
	paths := []string{"a", "b", "c"}
	server, loop := startLoop(t, paths...)
	var viewers sync.WaitGroup
	for i, path := range paths {
		viewers.Add(1)
		go func() {
			defer viewers.Done()
			n, units := int64(-1), 0
			watch(t, server.URL(path), []string{rtsp.TransportTCP, rtsp.TransportUDP}[i%2], func(u *pipeline.Unit) bool {
				units++
				if n >= 0 {
					n++
				} else {
					first := int64(u.Received.Sub(loop.Begin()) * 30 / time.Second)
					n = first - (first-numberOf(u)+length)%length
				}
				if numberOf(u) != n%length || u.Keyframe != (n%5 == 0) {
					t.Errorf("%s: picture %d shows %d, keyframe %t", path, n, numberOf(u), u.Keyframe)
				}
				taken := loop.Taken(i, n)
				if u.Received.Before(taken) {
					t.Errorf("%s: picture %d came %v before it was taken", path, n, taken.Sub(u.Received))
				}
				if off := u.Captured.Sub(taken).Abs(); u.Origin == pipeline.OriginSenderReport && off > time.Millisecond {
					t.Errorf("%s: picture %d was captured %v off its time", path, n, off)
				}
				return units >= 60 && u.Origin == pipeline.OriginSenderReport
			})
		}()
	}
	viewers.Wait()
}

func TestLoopsPathsAreSpreadOverAPicture(t *testing.T) {
	_, loop := startLoop(t, "a", "b", "c")
	if got, want := loop.Taken(1, 0).Sub(loop.Taken(0, 0)), time.Second/90; (got - want).Abs() > time.Microsecond {
		t.Errorf("the second path is %v later, want %v", got, want)
	}
	if got, want := loop.Taken(0, 3600*30).Sub(loop.Begin()), time.Hour; (got - want).Abs() > time.Microsecond {
		t.Errorf("after an hour's pictures it is %v, want %v", got, want)
	}
}

func TestServerComesBackAtTheSamePort(t *testing.T) {
	server, _ := startLoop(t, "a")
	before := server.URL("a")
	watch(t, before, rtsp.TransportTCP, func(*pipeline.Unit) bool { return true })
	for range 3 {
		server.Stop()
		server.Stop()
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		if got := server.URL("/a"); got != before {
			t.Fatalf("it was at %s, now at %s", before, got)
		}
		watch(t, before, rtsp.TransportUDP, func(u *pipeline.Unit) bool { return u.Origin == pipeline.OriginSenderReport })
	}
	if server.Start() == nil {
		t.Error("it starts twice")
	}
	if _, err := server.Add("a", sim.StreamOptions{}); err == nil {
		t.Error("a path is added twice")
	}
	if _, err := server.Add("b", sim.StreamOptions{Codec: "av1"}); err == nil {
		t.Error("a stream of AV1 is added")
	}
	if err := (&sim.Loop{Server: server}).Open(); err == nil {
		t.Error("a loop without pictures is opened")
	}
}
