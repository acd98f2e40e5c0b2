package wire

import (
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sightline/pipeline"
)

// patience is how long a test waits for what must come.
const patience = 2 * time.Minute

var nonce = pipeline.NewSecret("0123456789abcdef0123456789abcdef")

// ways are the streams that the tests run over.
var ways = map[string]func(t testing.TB) (supervisor, stage net.Conn){
	"pipe": func(testing.TB) (net.Conn, net.Conn) { return net.Pipe() },
	"unix": unixPair,
	"tcp":  tcpPair,
}

func unixPair(t testing.TB) (net.Conn, net.Conn) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var conns [2]net.Conn
	for i, fd := range fds {
		file := os.NewFile(uintptr(fd), "socketpair")
		if conns[i], err = net.FileConn(file); err != nil {
			t.Fatal(err)
		}
		file.Close()
	}
	return conns[0], conns[1]
}

func tcpPair(t testing.TB) (net.Conn, net.Conn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	a, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return a, b
}

// rig is a wire with both its ends running.
type rig struct {
	t     testing.TB
	box   *Box
	stage *Stage
	env   pipeline.Env
	ended chan error // what Run and Serve returned, in any order
	ctx   context.Context
	end   context.CancelFunc
}

func ticket(kind Kind) Ticket { return Ticket{Kind: kind, Name: "it", Nonce: nonce} }

// start connects a stage to a box, and waits until it is configured.
func start(t testing.TB, way string, o BoxOptions, so StageOptions) *rig {
	t.Helper()
	r := &rig{t: t}
	if so.Greeting == (Greeting{}) {
		so.Greeting = Greeting{Kind: o.Ticket.Kind, Name: "it", Program: "test 1", Nonce: nonce}
	}
	r.stage = NewStage(so)
	r.connect(way, o)
	t.Cleanup(r.close)
	if _, err := r.stage.Configured(r.ctx); err != nil {
		t.Fatal(err)
	}
	r.env = r.stage.Env()
	return r
}

// connect gives the rig a new wire.
func (r *rig) connect(way string, o BoxOptions) {
	r.t.Helper()
	a, b := ways[way](r.t)
	r.ctx, r.end = context.WithTimeout(context.Background(), patience)
	r.ended = make(chan error, 2)
	stageEnded := r.ended
	ctx := r.ctx
	go func() { stageEnded <- r.stage.Serve(ctx, b) }()
	var err error
	if r.box, err = Accept(r.ctx, a, o); err != nil {
		r.t.Fatal(err)
	}
	box := r.box
	go func() { stageEnded <- box.Run(ctx) }()
}

// cut breaks the wire and waits for both ends.
func (r *rig) cut() {
	r.end()
	for range 2 {
		<-r.ended
	}
}

func (r *rig) close() {
	if r.ctx.Err() == nil {
		r.cut()
	}
	r.stage.end()
}

// receive waits for a value.
func receive[T any](t testing.TB, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

// until waits for a condition that no event tells of.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not so after %s", what, patience)
		}
	}
}

// leftovers are the goroutines of this package and the multiplexer, apart from tests themselves.
func leftovers() string {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	var left []string
	for g := range strings.SplitSeq(string(buf), "\n\n") {
		if strings.Contains(g, "testing.tRunner") || strings.Contains(g, "testing.Main") || strings.Contains(g, "leftovers") || strings.Contains(g, "wire.serveTCP") {
			continue
		}
		if strings.Contains(g, "pipeline/wire") || strings.Contains(g, "yamux") {
			left = append(left, g)
		}
	}
	return strings.Join(left, "\n\n")
}

func noLeftovers(t testing.TB) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		left := leftovers()
		if left == "" {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("goroutines left:\n%s", left)
		}
	}
}

var wish = pipeline.Wish{Width: 8, Height: 4, Color: pipeline.RGB, Resize: pipeline.ResizeStandard}

var pool pipeline.FramePool

func newFrame(w pipeline.Wish, sequence uint64) *pipeline.Frame {
	f := pool.New(w.Width, w.Height)
	f.Source, f.Sequence, f.Color = "gate", sequence, w.Color
	f.Times = pipeline.Times{Captured: time.Now(), Origin: pipeline.OriginArrival, Received: time.Now(), Decoded: time.Now()}
	for i := range f.Data[:min(len(f.Data), 1000)] {
		f.Data[i] = byte(sequence) + byte(i)
	}
	return f
}

func newResult(n int) *pipeline.Result {
	at := time.Date(2026, 11, 22, 1, 2, 3, 0, time.UTC).Add(time.Duration(n) * time.Millisecond)
	r := &pipeline.Result{
		Schema: pipeline.SchemaVersion, ID: "r-" + time.Duration(n).String(), Device: "porch", Source: "gate", Stage: "it",
		Sequence: uint64(n), Captured: at, CaptureOrigin: pipeline.OriginArrival, Received: at, Decoded: at, Inferred: at,
		Model: pipeline.ModelInfo{Name: "scene", Digest: "sha256:00", Provider: "cpu"}, Provider: "cpu",
		Predictions: []pipeline.Prediction{{Class: "car", ClassID: 1, Confidence: 0.5}, {Class: "bird", ClassID: 2, Confidence: 0.25}},
	}
	r.Top = &r.Predictions[0]
	return r
}

// records is a slog.Handler that keeps what it is given.
type records struct {
	mu  sync.Mutex
	all []slog.Record
}

func (h *records) Enabled(context.Context, slog.Level) bool { return true }
func (h *records) WithAttrs([]slog.Attr) slog.Handler       { return h }
func (h *records) WithGroup(string) slog.Handler            { return h }
func (h *records) Handle(_ context.Context, r slog.Record) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, r)
	return nil
}

func (h *records) text() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var b strings.Builder
	text := slog.NewTextHandler(&b, nil)
	for _, r := range h.all {
		text.Handle(context.Background(), r)
	}
	return b.String()
}

// oneWay is a connection that reads prepared bytes and forgets what is written.
type oneWay struct{ io.Reader }

func (oneWay) Write(p []byte) (int, error) { return len(p), nil }
func (oneWay) Close() error                { return nil }

// rawControl sends a record on a stage's control stream behind its back.
func (r *rig) rawControl(s *session, t recordType, body []byte) io.Closer {
	r.t.Helper()
	// The stage's control stream is the second one that it opened: number 3. Its number is all that
	// the multiplexer needs, so the record goes out as a frame of that stream.
	head := []byte{0, muxData, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0}
	record := appendRecord(nil, t, body)
	for len(record) > 0 {
		part := record[:min(len(record), muxWindow/2)]
		record = record[len(part):]
		head[8], head[9], head[10], head[11] = byte(len(part)>>24), byte(len(part)>>16), byte(len(part)>>8), byte(len(part))
		if _, err := s.guard.conn.Write(append(append([]byte(nil), head...), part...)); err != nil {
			r.t.Fatal(err)
		}
	}
	return s.guard.conn
}
