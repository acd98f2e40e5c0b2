package rtsp_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sightline/pipeline"
	"sightline/sources"
	"sightline/sources/rtsp"
	"sightline/sources/sim"
)

// patience bounds what a test waits for; nothing is asserted about speed.
const patience = 20 * time.Second

// network lets everything through.
type network struct{ dialed atomic.Int64 }

func (n *network) Dial(ctx context.Context, kind, address string) (net.Conn, error) {
	n.dialed.Add(1)
	return new(net.Dialer).DialContext(ctx, kind, address)
}

func (n *network) ListenPacket(ctx context.Context, kind, address string) (net.PacketConn, error) {
	return new(net.ListenConfig).ListenPacket(ctx, kind, address)
}

// noUDP is a network without a grant for UDP.
type noUDP struct{ network }

func (n *noUDP) ListenPacket(context.Context, string, string) (net.PacketConn, error) {
	return nil, fmt.Errorf("listen: %w", pipeline.ErrNotGranted)
}

// firewall is a network that swallows all packets from outside.
type firewall struct{ network }

type swallowing struct{ net.PacketConn }

func (n *firewall) ListenPacket(ctx context.Context, kind, address string) (net.PacketConn, error) {
	conn, err := n.network.ListenPacket(ctx, kind, address)
	return swallowing{conn}, err
}

func (s swallowing) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		if n, from, err := s.PacketConn.ReadFrom(p); err != nil {
			return n, from, err
		}
	}
}

// lossy is a network that loses every nth packet of UDP and turns others around.
type lossy struct {
	network
	every int
	lost  atomic.Uint64
}

type losing struct {
	net.PacketConn
	n     *lossy
	count int
	media bool
}

func (n *lossy) ListenPacket(ctx context.Context, kind, address string) (net.PacketConn, error) {
	conn, err := n.network.ListenPacket(ctx, kind, address)
	if err != nil {
		return nil, err
	}
	return &losing{PacketConn: conn, n: n, media: conn.LocalAddr().(*net.UDPAddr).Port%2 == 0}, nil
}

func (l *losing) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		n, from, err := l.PacketConn.ReadFrom(p)
		if l.count++; err == nil && l.media && l.count%l.n.every == 0 {
			l.n.lost.Add(1)
			continue
		}
		return n, from, err
	}
}

// logs keeps what is logged, for tests that look for what must not be there.
type logs struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func environment(n pipeline.Network) (pipeline.Env, *logs) {
	l := &logs{}
	return pipeline.Env{
		Device: "test", Stage: "gate", Network: n, Stats: pipeline.NewStats(), Report: func(pipeline.Status) {},
		Log: slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}, l
}

// unit is a copy of a pipeline.Unit.
type unit struct {
	pipeline.Unit
	number uint32 // read from the picture
}

func copied(u *pipeline.Unit) unit {
	c := unit{Unit: *u}
	c.NALs = nil
	for _, n := range u.NALs {
		c.NALs = append(c.NALs, bytes.Clone(n))
	}
	c.number = numberIn(c.NALs)
	return c
}

// errEnough ends a reception that has what it wants.
var errEnough = errors.New("enough")

// receive receives until until says so, and returns what came. It fails the test when that takes too
// long or the source gives up.
func receive(t *testing.T, s *rtsp.Source, env pipeline.Env, until func([]unit) bool) []unit {
	t.Helper()
	units, err := tryReceive(t, s, env, until)
	if !errors.Is(err, errEnough) {
		t.Fatalf("receive after %d pictures: %v", len(units), err)
	}
	return units
}

func tryReceive(t *testing.T, s *rtsp.Source, env pipeline.Env, until func([]unit) bool) ([]unit, error) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	timer := time.AfterFunc(patience, func() { cancel(errors.New("nothing for too long")) })
	defer timer.Stop()
	var units []unit
	enough := false
	err := s.Receive(ctx, env, func(u *pipeline.Unit) {
		if enough {
			return
		}
		if units = append(units, copied(u)); until(units) {
			enough = true
			cancel(errEnough)
		}
	})
	if ctx.Err() != nil {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Receive ended with %v when its context did, want the context's error", err)
		}
		return units, context.Cause(ctx)
	}
	return units, err
}

func atLeast(n int) func([]unit) bool { return func(u []unit) bool { return len(u) >= n } }

func bySenderReport(u []unit) bool {
	return u[len(u)-1].Origin == pipeline.OriginSenderReport && len(u) >= 3
}

// The pictures of these tests are not meant to be decoded: real headers, then a number and noise. That
// pictures survive decoding is proved with a real encoder and a server of others below.

const gop = 5

var (
	h264SPS = []byte{0x67, 0x64, 0x00, 0x0c, 0xac, 0x3b, 0x50, 0xb0, 0x4b, 0x42, 0x00, 0x00, 0x03, 0x00, 0x02, 0x00, 0x00, 0x03, 0x00, 0x3d, 0x08}
	h264PPS = []byte{0x68, 0xee, 0x3c, 0x80}
	h265VPS = []byte{0x40, 0x01, 0x0c, 0x01, 0xff, 0xff, 0x02, 0x20, 0x00, 0x00, 0x03, 0x00, 0xb0, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03, 0x00, 0x7b, 0x18, 0xb0, 0x24}
	h265SPS = []byte{
		0x42, 0x01, 0x01, 0x02, 0x20, 0x00, 0x00, 0x03, 0x00, 0xb0, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03, 0x00, 0x7b, 0xa0, 0x07,
		0x82, 0x00, 0x88, 0x7d, 0xb6, 0x71, 0x8b, 0x92, 0x44, 0x80, 0x53, 0x88, 0x88, 0x92, 0xcf, 0x24, 0xa6, 0x92, 0x72, 0xc9,
		0x12, 0x49, 0x22, 0xdc, 0x91, 0xaa, 0x48, 0xfc, 0xa2, 0x23, 0xff, 0x00, 0x01, 0x00, 0x01, 0x6a, 0x02, 0x02, 0x02, 0x01,
	}
	h265PPS = []byte{0x44, 0x01, 0xc0, 0x25, 0x2f, 0x05, 0x32, 0x40}
	marking = []byte("SIGHTLINE")
)

// makePicture makes picture n of a stream with a keyframe every gop pictures.
func makePicture(codec pipeline.Codec, n uint32, size int) [][]byte {
	noise := make([]byte, size)
	_, _ = rand.Read(noise)
	body := append(fmt.Appendf(bytes.Clone(marking), "%08d", n), bytes.ReplaceAll(noise, []byte{0}, []byte{1})...)
	key := n%gop == 0
	switch {
	case codec == pipeline.H264 && key:
		return [][]byte{h264SPS, h264PPS, append([]byte{0x65, 0x88, 0x80}, body...)}
	case codec == pipeline.H264:
		return [][]byte{append([]byte{0x41, 0x9a, 0x80}, body...)}
	case codec == pipeline.H265 && key:
		return [][]byte{h265VPS, h265SPS, h265PPS, append([]byte{0x26, 0x01, 0xaf, 0x80}, body...)}
	case codec == pipeline.H265:
		return [][]byte{append([]byte{0x02, 0x01, 0xd0, 0x80}, body...)}
	}
	panic("no such codec")
}

func numberIn(nals [][]byte) uint32 {
	for _, n := range nals {
		if i := bytes.Index(n, marking) + len(marking); i >= len(marking) && len(n) >= i+8 {
			number, _ := strconv.ParseUint(string(n[i:i+8]), 10, 32)
			return uint32(number)
		}
	}
	return 1 << 31
}

// camera is a simulated camera that publishes made pictures until the test ends.
type camera struct {
	*sim.Server
	stream *sim.Stream
	taken  sync.Map // number → time.Time
	paused atomic.Bool
}

func startCamera(t *testing.T, server *sim.Server, options sim.StreamOptions, size int) *camera {
	t.Helper()
	c := &camera{Server: server}
	var err error
	if c.stream, err = server.Add("stream", options); err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	codec := options.Codec
	if codec == "" {
		codec = pipeline.H264
	}
	begin := time.Now()
	taken := func(n uint32) time.Time { return begin.Add(time.Duration(n) * time.Second / 30) }
	publish := func(n uint32) {
		at := taken(n)
		c.taken.Store(n, at)
		if err := c.stream.Publish(makePicture(codec, n, size), int64(n)*3000, at); err != nil {
			t.Errorf("publish: %v", err)
		}
	}
	publish(0)
	go func() {
		defer close(done)
		timer := time.NewTimer(0)
		defer timer.Stop()
		for n := uint32(1); ; n++ {
			timer.Reset(time.Until(taken(n)))
			select {
			case <-ctx.Done():
				return
			case <-timer.C:
			}
			if !c.paused.Load() {
				publish(n)
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-done; server.Stop() })
	return c
}

func (c *camera) config(transport string) sources.RTSP {
	return sources.RTSP{URL: c.URL("stream"), Transport: transport, Stall: 5 * time.Second}
}

func mustContain(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("error %q does not say %q", err, p)
		}
	}
}
