package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"sightline/configs"
	"sightline/pipeline"
	"sightline/sources/encode"
	"sightline/sources/sim"
	"sightline/sources/sim/camera"
	"sightline/sources/sim/scene"
)

// patience is how long a test waits for what must come.
const patience = 5 * time.Minute

const cameraPassword = `p#ss@w/rd:%`

// lines is a log that goroutines write and a test reads.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// startCamera films a scene on an address until the returned function is called.
func startCamera(t *testing.T, address string) (stop func()) {
	t.Helper()
	server := &sim.Server{Address: address, Username: "viewer", Password: cameraPassword}
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
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = c.Run(ctx) // ends with ctx, or when the server has gone
	}()
	return sync.OnceFunc(func() {
		server.Stop()
		cancel()
		<-done
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}

// startMosquitto runs the broker on an address until the returned function kills it.
func startMosquitto(t *testing.T, address string) (kill func()) {
	t.Helper()
	binary, err := exec.LookPath("mosquitto")
	if err != nil {
		t.Skipf("mosquitto is not installed: %v", err)
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "mosquitto.conf")
	text := fmt.Sprintf("listener %s 127.0.0.1\nuser root\nallow_anonymous true\npersistence false\n", port)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	command := exec.Command(binary, "-c", file)
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	until(t, "mosquitto listens", func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return sync.OnceFunc(func() {
		_ = command.Process.Kill()
		_ = command.Wait() // killed
	})
}

// until waits for something that comes about outside this process.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if is() {
			return
		}
	}
	t.Fatalf("still not so after %s: %s", patience, what)
}

// inbox collects what is published.
type inbox struct {
	mu       sync.Mutex
	results  []pipeline.Result
	statuses []pipeline.Status
	bad      []error
}

func (b *inbox) subscribe(t *testing.T, address string) {
	t.Helper()
	options := paho.NewClientOptions().AddBroker("tcp://" + address).SetClientID("whole-test").SetAutoReconnect(true).
		SetMaxReconnectInterval(100 * time.Millisecond).SetCleanSession(true).
		SetOnConnectHandler(func(c paho.Client) { c.Subscribe("sightline/#", 1, b.receive) })
	client := paho.NewClient(options)
	if token := client.Connect(); !token.WaitTimeout(patience) || token.Error() != nil {
		t.Fatalf("subscriber does not connect: %v", token.Error())
	}
	t.Cleanup(func() { client.Disconnect(0) })
}

func (b *inbox) receive(_ paho.Client, m paho.Message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case strings.HasSuffix(m.Topic(), "/result"):
		var r pipeline.Result
		if err := json.Unmarshal(m.Payload(), &r); err != nil {
			b.bad = append(b.bad, err)
			return
		}
		b.results = append(b.results, r)
	case strings.HasSuffix(m.Topic(), "/status"):
		var s pipeline.Status
		if err := json.Unmarshal(m.Payload(), &s); err != nil {
			b.bad = append(b.bad, err)
			return
		}
		b.statuses = append(b.statuses, s)
	}
}

// count returns how many results with different ids came.
func (b *inbox) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	ids := map[string]bool{}
	for _, r := range b.results {
		ids[r.ID] = true
	}
	return len(ids)
}

func (b *inbox) state() pipeline.State {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.statuses) == 0 {
		return ""
	}
	return b.statuses[len(b.statuses)-1].State
}

const wholeFile = `version: 1
name: whole
device: dev
sources:
  gate:
    rtsp: {url: "rtsp://%s/gate", username: viewer, password: "${CAMERA_PASSWORD}", transport: tcp, stall: 1s}
models:
  scene: {inputs: [gate], model: gate}
sinks:
  cloud: {inputs: [scene], mqtt: {url: "mqtt://%s", timeout: 2s}}
  lines: {inputs: [scene], jsonl: {path: %q}}
http: {listen: "127.0.0.1:0"}
`

func TestThePipelineOutlivesItsCameraAndItsBrokerAndLosesNoResult(t *testing.T) {
	requireRuntime(t)
	cameraAt, brokerAt := freeAddress(t), freeAddress(t)
	killBroker := startMosquitto(t, brokerAt)
	defer func() { killBroker() }()
	stopCamera := startCamera(t, cameraAt)
	defer func() { stopCamera() }()
	file := filepath.Join(t.TempDir(), "results.jsonl")
	d := &document{
		File: "whole.yaml", Folder: ".", Text: fmt.Sprintf(wholeFile, cameraAt, brokerAt, file),
		Variables: map[string]string{"CAMERA_PASSWORD": cameraPassword, "SIGHTLINE_RUNTIME_DEFAULT": configs.Inline},
	}
	var log lines
	table, closeParts := newParts("", os.Stdout)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	var seen inbox
	seen.subscribe(t, brokerAt)
	go func() { ended <- runPipeline(ctx, d, table, newLogger(&log, slog.LevelDebug, "text")) }()

	until(t, "results flow", func() bool { return seen.count() >= 10 })
	stopCamera()
	until(t, "the camera is said to be offline", func() bool { return seen.state() == pipeline.StateOffline })
	before := seen.count()
	stopCamera = startCamera(t, cameraAt)
	until(t, "results flow after the camera is back", func() bool { return seen.count() >= before+10 })
	until(t, "the camera is said to be online", func() bool { return seen.state() == pipeline.StateOnline })

	killBroker()
	written := linesOf(t, file)
	until(t, "results are made while the broker is gone", func() bool { return linesOf(t, file) >= written+10 })
	killBroker = startMosquitto(t, brokerAt)
	until(t, "results flow after the broker is back", func() bool { return seen.count() > written+10 })
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("stop: %v", err)
	}
	if err := closeParts(); err != nil {
		t.Error(err)
	}
	seen.check(t, file)
	if text := log.String(); strings.Contains(text, "p#ss") {
		t.Errorf("the password is in the log:\n%s", text)
	}
}

func linesOf(t *testing.T, file string) int {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return bytes.Count(data, []byte("\n"))
}

// check holds what the broker passed on against what the other sink wrote: the same results. What
// the broker had acknowledged but not passed on when it was killed is its own loss, at most what was
// on its way in that moment.
func (b *inbox) check(t *testing.T, file string) {
	t.Helper()
	until(t, "the last result arrives", func() bool { return b.count() >= linesOf(t, file)-2 })
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, err := range b.bad {
		t.Errorf("unreadable message: %v", err)
	}
	got := map[string]bool{}
	var last uint64
	for _, r := range b.results {
		if !got[r.ID] && r.Sequence <= last && r.Sequence != 1 {
			t.Errorf("picture %d came after picture %d", r.Sequence, last)
		}
		got[r.ID], last = true, max(last, r.Sequence)
		if r.CaptureOrigin != pipeline.OriginSenderReport && r.Sequence > 20 {
			t.Errorf("picture %d: capture time from %s, though the camera sends reports", r.Sequence, r.CaptureOrigin)
		}
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	missing := 0
	for line := range strings.Lines(string(data)) {
		var r pipeline.Result
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		if !got[r.ID] {
			missing++
		}
	}
	if missing > 2 {
		t.Errorf("%d of %d results did not arrive", missing, bytes.Count(data, []byte("\n")))
	}
}
