package program_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"sightline/cmd/program"
	"sightline/models"
	"sightline/pipeline"
	"sightline/pipeline/wire"
	"sightline/sinks"
	"sightline/sinks/broker"
	"sightline/sources"
	"sightline/sources/encode"
	"sightline/sources/sim"
	"sightline/sources/sim/camera"
	"sightline/sources/sim/scene"
)

// patience is how long a test waits for what must come.
const patience = 5 * time.Minute

const (
	cameraPassword = `p#ss@w/rd:%`
	brokerPassword = `br#k@r:w/rd`
)

// startCamera films a scene until the test ends.
func startCamera(t *testing.T) string {
	t.Helper()
	server := &sim.Server{Address: "127.0.0.1:0", Username: "viewer", Password: cameraPassword}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	c := &camera.Camera{
		Server: server, Path: "gate", Scene: scene.Options{Seed: 7, Width: 320, Height: 180},
		Encode: encode.Options{Codec: pipeline.H264, FPS: 10, BitRate: 300_000, GOP: 10},
	}
	if err := c.Open(); err != nil {
		server.Stop()
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var filming sync.WaitGroup
	filming.Go(func() { _ = c.Run(ctx) }) // ends with ctx
	t.Cleanup(func() {
		server.Stop()
		cancel()
		filming.Wait()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return server.URL("gate")
}

// inbox collects the ids of what is published.
type inbox struct {
	mu      sync.Mutex
	results map[string]pipeline.Result
	bad     error
}

func startBroker(t *testing.T) (*broker.Broker, *inbox) {
	t.Helper()
	b, err := broker.Start(broker.Options{Username: "device", Password: pipeline.NewSecret(brokerPassword)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	in := &inbox{results: map[string]pipeline.Result{}}
	options := paho.NewClientOptions().AddBroker(strings.Replace(b.URL(), "mqtt:", "tcp:", 1)).SetClientID("test").
		SetUsername("device").SetPassword(brokerPassword).
		SetOnConnectHandler(func(c paho.Client) { c.Subscribe("sightline/+/+/+/result", 1, in.receive) })
	client := paho.NewClient(options)
	if token := client.Connect(); !token.WaitTimeout(patience) || token.Error() != nil {
		t.Fatalf("subscriber does not connect: %v", token.Error())
	}
	t.Cleanup(func() { client.Disconnect(0) })
	return b, in
}

func (in *inbox) receive(_ paho.Client, m paho.Message) {
	var r pipeline.Result
	err := json.Unmarshal(m.Payload(), &r)
	in.mu.Lock()
	defer in.mu.Unlock()
	if err != nil {
		in.bad = err
	}
	in.results[r.ID] = r
}

func (in *inbox) count() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return len(in.results)
}

// until waits for something that comes about in other processes.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still not so after %s: %s", patience, what)
		}
	}
}

// child is the program of a stage as a child process: its working directory is its closure.
type child struct {
	kind   wire.Kind
	nonce  pipeline.Secret
	socket string
	log    *log
	ended  chan error
	pid    int
}

// log takes what a child prints, and what stages log.
type log struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func startChild(t *testing.T, kind wire.Kind, dir string) (*child, *exec.Cmd) {
	t.Helper()
	nonce := make([]byte, 32)
	rand.Read(nonce)
	c := &child{kind: kind, nonce: pipeline.NewSecret(string(nonce)), socket: filepath.Join(dir, string(kind)+".sock"), log: &log{}, ended: make(chan error, 1)}
	command := exec.Command(build(t, string(kind)), c.socket)
	command.Env, command.Stderr, command.Dir = []string{}, c.log, closure(t, kind)
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = command.Process.Kill() })
	c.pid = command.Process.Pid
	go func() { c.ended <- command.Wait() }()
	return c, command
}

// closure is a folder with what a program opens.
func closure(t *testing.T, kind wire.Kind) string {
	t.Helper()
	dir := t.TempDir()
	if kind != wire.Classify {
		return dir
	}
	library := os.Getenv("SIGHTLINE_ONNXRUNTIME")
	if library == "" {
		t.Skip("SIGHTLINE_ONNXRUNTIME does not say where ONNX Runtime is: `make setup` gets it, scripts/env finds it")
	}
	if err := os.Mkdir(filepath.Join(dir, "lib"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(library, filepath.Join(dir, program.LibraryPath)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// resident is the memory that the program has.
func (c *child) resident() string {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.pid))
	if err != nil {
		return err.Error()
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	line, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(line)
}

// supervisor is the other end of the three wires, and what a supervisor remembers.
type supervisor struct {
	t    *testing.T
	kids map[wire.Kind]*child
	opts map[wire.Kind]wire.BoxOptions
	ctx  context.Context
	kill context.CancelFunc
	work sync.WaitGroup

	mu    sync.Mutex
	boxes map[wire.Kind]*wire.Box
}

// supervise begins a supervisor with nothing remembered from the one before.
func (w *whole) supervise(t *testing.T) *supervisor {
	t.Helper()
	s := &supervisor{t: t, kids: w.kids, opts: w.options(), boxes: map[wire.Kind]*wire.Box{}}
	s.ctx, s.kill = context.WithCancel(context.Background())
	t.Cleanup(func() { s.kill(); s.work.Wait() })
	for kind, kid := range s.kids {
		l, err := net.Listen("unix", kid.socket)
		if err != nil {
			t.Fatal(err)
		}
		context.AfterFunc(s.ctx, func() { l.Close() })
		s.work.Go(func() { s.accept(kind, l) })
	}
	return s
}

func (s *supervisor) accept(kind wire.Kind, l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		box, err := wire.Accept(s.ctx, conn, s.opts[kind])
		if err != nil {
			if s.ctx.Err() == nil {
				s.t.Errorf("hello of %s: %v", kind, err)
			}
			continue
		}
		s.mu.Lock()
		s.boxes[kind] = box
		s.mu.Unlock()
		_ = box.Run(s.ctx) // ends with the stage, or the supervisor
	}
}

// stop asks a stage to end, and waits until its program has.
func (s *supervisor) stop(kind wire.Kind) {
	s.t.Helper()
	s.mu.Lock()
	box := s.boxes[kind]
	s.mu.Unlock()
	if err := box.Stop(s.t.Context(), patience); err != nil {
		s.t.Fatal(err)
	}
	select {
	case err := <-s.kids[kind].ended:
		if err != nil {
			s.t.Errorf("%s: %v after printing\n%s", kind, err, s.kids[kind].log)
		}
	case <-time.After(patience):
		s.t.Fatalf("%s does not end; it printed\n%s", kind, s.kids[kind].log)
	}
}

// whole is a pipeline whose stages are programs of their own.
type whole struct {
	t        *testing.T
	kids     map[wire.Kind]*child
	sections map[wire.Kind]wire.Configuration
	grants   map[wire.Kind][]wire.Grant
	stageLog *log

	mu       sync.Mutex
	through  *pipeline.FrameLink // for frames that go through the supervisor
	states   map[wire.Kind]pipeline.State
	analysed uint64
	exits    []wire.Exit
}

func newWhole(t *testing.T, cameraURL, brokerURL string) *whole {
	t.Helper()
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(brokerPassword+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w := &whole{t: t, stageLog: &log{}, kids: map[wire.Kind]*child{}, states: map[wire.Kind]pipeline.State{}}
	configuration := func(section json.RawMessage, secrets map[string]pipeline.Secret, err error) wire.Configuration {
		if err != nil {
			t.Fatal(err)
		}
		return wire.Configuration{Device: "dev", Section: section, Secrets: secrets}
	}
	w.sections = map[wire.Kind]wire.Configuration{
		wire.Capture: configuration(program.Encoder{}.Source(sources.Config{
			RTSP:      &sources.RTSP{URL: cameraURL, Username: "viewer", Password: pipeline.NewSecret(cameraPassword), Transport: "auto", Stall: time.Second},
			Decoder:   "auto",
			Staleness: time.Minute,
		})),
		wire.Classify: configuration(program.Encoder{}.Model(models.Config{Inputs: []string{"capture"}, Model: program.BuiltInGate, Provider: "cpu", Batch: models.Batch{Max: 1}})),
		wire.Publish: configuration(program.Encoder{}.Sink(sinks.Config{
			Inputs: []string{"classify"},
			MQTT:   &sinks.MQTT{URL: brokerURL, Prefix: "sightline", Username: "device", PasswordFile: file, QoS: 1, KeepAlive: time.Minute, Timeout: 5 * time.Second},
			Spool:  sinks.Spool{MaxBytes: 1 << 20, MaxAge: time.Hour, Full: sinks.DropOldest},
		})),
	}
	w.grants = map[wire.Kind][]wire.Grant{
		wire.Capture: {{Name: "camera", Address: host(cameraURL)}}, wire.Publish: {{Name: "broker", Address: host(brokerURL)}},
	}
	if err := os.Remove(file); err != nil { // the program has no such file
		t.Fatal(err)
	}
	return w
}

func host(url string) string {
	_, rest, _ := strings.Cut(url, "://")
	address, _, _ := strings.Cut(rest, "/")
	return address
}

// options join the three stages anew.
func (w *whole) options() map[wire.Kind]wire.BoxOptions {
	stats := pipeline.NewStats()
	frames := wire.NewFrameOutput("capture", "classify", stats)
	results, direct := wire.NewOutbox(nil), &wire.Direct{}
	w.note(func() { w.through = frames.Link() })
	ends := map[wire.Kind]wire.Ends{
		wire.Capture: {FramesIn: map[string]*pipeline.FrameLink{"classify": frames.Link()}, Direct: map[string]*wire.Direct{"classify": direct}},
		wire.Classify: {
			FramesOut: map[string]*wire.FrameOutput{"capture": frames}, Direct: map[string]*wire.Direct{"capture": direct},
			ResultsIn: map[string]*wire.Inlet{"results": {Deliver: results.Put}},
		},
		wire.Publish: {ResultsOut: map[string]*wire.Outbox{"results": results}},
	}
	all := map[wire.Kind]wire.BoxOptions{}
	for kind, kid := range w.kids {
		all[kind] = wire.BoxOptions{
			Ticket:        wire.Ticket{Kind: kind, Name: string(kind), Nonce: kid.nonce, Enroll: true},
			Configuration: w.sections[kind], Ends: ends[kind], Grants: w.grants[kind],
			Status: func(s pipeline.Status) { w.note(func() { w.states[kind] = s.State }) },
			Stats:  func(samples []pipeline.Sample) { w.count(kind, samples) },
			Exit:   func(e wire.Exit) { w.note(func() { w.exits = append(w.exits, e) }) },
			Stage:  slog.New(slog.NewTextHandler(w.stageLog, nil)),
		}
	}
	return all
}

func (w *whole) note(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

func (w *whole) count(kind wire.Kind, samples []pipeline.Sample) {
	for _, s := range samples {
		if kind == wire.Classify && s.Name == pipeline.FramesAnalysed.Name {
			w.note(func() { w.analysed = uint64(s.Value) })
		}
	}
}

func (w *whole) start(t *testing.T, kinds ...wire.Kind) {
	t.Helper()
	dir, err := os.MkdirTemp("", "whole") // short: paths of sockets have at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for _, kind := range kinds {
		w.kids[kind], _ = startChild(t, kind, dir)
	}
	t.Cleanup(func() {
		if t.Failed() {
			for kind, kid := range w.kids {
				t.Logf("%s printed:\n%s", kind, kid.log)
			}
			t.Logf("the stages logged:\n%s", w.stageLog)
		}
	})
}

func TestThreeProgramsAreAPipelineAndOutliveTheirSupervisor(t *testing.T) {
	cameraURL := startCamera(t)
	upstream, seen := startBroker(t)
	w := newWhole(t, cameraURL, upstream.URL())
	w.start(t, wire.Publish, wire.Classify, wire.Capture)
	s := w.supervise(t)
	until(t, "results flow", func() bool { return seen.count() >= 5 })
	until(t, "frames go past the supervisor", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.through.Wish() == nil
	})
	for round := range 3 {
		s.kill()
		s.work.Wait()
		before := seen.count()
		began := time.Now()
		s = w.supervise(t)
		until(t, "results flow with the next supervisor", func() bool { return seen.count() > before+1 })
		t.Logf("supervisor %d: results flow after %v", round+2, time.Since(began).Round(time.Millisecond))
	}
	for _, kind := range []wire.Kind{wire.Capture, wire.Classify, wire.Publish} {
		t.Logf("%s has %s resident", kind, w.kids[kind].resident())
		s.stop(kind)
	}
	w.check(t, seen)
}

// check holds what arrived against what was made.
func (w *whole) check(t *testing.T, seen *inbox) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	until(t, fmt.Sprintf("all %d results arrive", w.analysed), func() bool { return seen.count() >= int(w.analysed) })
	if n := seen.count(); n != int(w.analysed) || n == 0 {
		t.Errorf("%d results arrived of %d", n, w.analysed)
	}
	for _, e := range w.exits {
		if err := e.Err(); err != nil {
			t.Errorf("a stage ended with %v", err)
		}
	}
	seen.mu.Lock()
	defer seen.mu.Unlock()
	if seen.bad != nil {
		t.Error(seen.bad)
	}
	for _, r := range seen.results {
		if r.Device != "dev" || r.Source != "capture" || r.Model.Name != "gate" || r.Model.Digest == "" || r.Top == nil || r.Published.IsZero() {
			t.Errorf("result %+v", r)
			break
		}
	}
	text := w.stageLog.String()
	for _, kid := range w.kids {
		text += kid.log.String()
	}
	if strings.Contains(text, "p#ss") || strings.Contains(text, "br#k") {
		t.Errorf("a password is in a log:\n%s", text)
	}
}

func TestASignalEndsAProgramWithoutASupervisor(t *testing.T) {
	dir := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, string(wire.Publish)+".sock"))
	if err != nil {
		t.Fatal(err)
	}
	c, command := startChild(t, wire.Publish, dir)
	conn, err := l.Accept() // it waits for signals from before it connects
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	l.Close()
	if err := command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-c.ended; err != nil {
		t.Errorf("it ended with %v, printing\n%s", err, c.log)
	}
}
