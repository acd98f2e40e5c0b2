package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sightline/models"
	"sightline/models/prepare"
	"sightline/pipeline"
	"sightline/pipeline/grant"
	"sightline/sinks"
	"sightline/sinks/mqtt"
)

// Stage is one stage alone: what one call takes.
type Stage struct {
	Name string        `json:"name"`
	Time Quantiles     `json:"time"`
	CPU  time.Duration `json:"cpu_ns"` // processor time a call, of all threads
}

// Limit is what decoding, scaling and inferring take when nothing else is there: the same pictures,
// model and threads in one process, one picture after another.
type Limit struct {
	Decode Stage     `json:"decode"`
	Scale  Stage     `json:"scale"`
	Infer  Stage     `json:"infer"`
	Chain  Quantiles `json:"chain"` // all three of one picture
	// Paced is Chain when the pictures come as the cameras send them. Between them processors fall
	// asleep and caches go cold; no pipeline can avoid that.
	Paced Quantiles `json:"paced"`
}

// CPU is the processor time of one picture.
func (l *Limit) CPU() time.Duration { return l.Decode.CPU + l.Scale.CPU + l.Infer.CPU }

// watch measures calls of one stage. Its zero value has measured none.
type watch struct {
	times    []time.Duration
	cpu      time.Duration
	began    time.Time
	beganCPU time.Duration
}

func (w *watch) start() { w.beganCPU, w.began = ownCPU(), time.Now() }

func (w *watch) stop() time.Duration {
	took := time.Since(w.began)
	w.cpu += ownCPU() - w.beganCPU
	w.times = append(w.times, took)
	return took
}

// add takes over what another has measured.
func (w *watch) add(other *watch) {
	w.times, w.cpu = append(w.times, other.times...), w.cpu+other.cpu
}

func (w *watch) stage(name string) Stage {
	s := Stage{Name: name}
	if n := len(w.times); n > 0 {
		s.CPU = w.cpu / time.Duration(n)
	}
	s.Time = quantiles(w.times)
	return s
}

// ownCPU is the processor time that this process has used, all threads together.
func ownCPU() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(fmt.Sprintf("bench: read the processor time: %v", err)) // Linux always has it
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// Stages measures every stage alone: decode, scale, prepare, infer and publish. Infer has prepare in
// it; publish hands one result after another to the broker of a site and waits for it to acknowledge.
func (h *Harness) Stages(ctx context.Context) (*Report, error) {
	folder, recording, err := h.record(ctx)
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	out, m := newReport(h, recording), &limits{}
	if err := h.limit(ctx, recording, m); err != nil {
		return nil, err
	}
	out.Limit = m.limit()
	preparing, err := h.prepare(ctx)
	if err != nil {
		return nil, err
	}
	publishing, err := h.publish(ctx, folder)
	if err != nil {
		return nil, err
	}
	out.Stages = []Stage{out.Limit.Decode, out.Limit.Scale, preparing, out.Limit.Infer, publishing}
	return out, nil
}

// repeat calls do for the time of one share.
func (h *Harness) repeat(ctx context.Context, name string, do func() error) (Stage, error) {
	h.Say("measuring %s alone", name)
	var w watch
	err := cycle(ctx, h.share(), 1, func() { w = watch{} }, func(int) error {
		w.start()
		defer w.stop()
		return do()
	})
	if err != nil {
		return Stage{}, fmt.Errorf("measure %s: %w", name, err)
	}
	return w.stage(name), nil
}

func (h *Harness) prepare(ctx context.Context) (Stage, error) {
	fit, err := h.Fit()
	if err != nil {
		return Stage{}, err
	}
	fill, frame, err := preparer(fit)
	if err != nil {
		return Stage{}, err
	}
	return h.repeat(ctx, "prepare", func() error { fill(frame); return nil })
}

// preparer returns what turns a frame into the model's input, and a frame for it.
func preparer(fit *models.Fit) (fill func([]byte), frame []byte, err error) {
	p, err := prepare.New(fit)
	if err != nil {
		return nil, nil, err
	}
	frame = make([]byte, fit.Width*fit.Height*3)
	for i := range frame {
		frame[i] = byte(i * 31)
	}
	switch fit.Input.Type {
	case models.Float32:
		input := make([]float32, p.Elements())
		return func(frame []byte) { p.Float32(input, frame) }, frame, nil
	case models.Float16:
		input := make([]uint16, p.Elements())
		return func(frame []byte) { p.Float16(input, frame) }, frame, nil
	}
	input := make([]byte, p.Elements())
	return func(frame []byte) { p.Bytes(input, frame) }, frame, nil
}

func (h *Harness) publish(ctx context.Context, folder string) (stage Stage, err error) {
	site, where, err := h.startSite(folder)
	if err != nil {
		return Stage{}, err
	}
	defer func() { err = errors.Join(err, site.stop(stopPatience)) }()
	sink, err := openSink(ctx, where.Broker)
	if err != nil {
		return Stage{}, err
	}
	defer func() { err = errors.Join(err, sink.Close(ctx)) }()
	messages := []pipeline.Message{{Result: sampleResult()}}
	return h.repeat(ctx, "publish", func() error { return sink.Deliver(ctx, messages) })
}

// openSink makes an MQTT sink with QoS 1, as a pipeline file that says nothing else has.
func openSink(ctx context.Context, broker string) (*mqtt.Sink, error) {
	endpoint, err := grant.FromURL("broker", broker, nil)
	if err != nil {
		return nil, err
	}
	sink := &mqtt.Sink{Config: sinks.MQTT{URL: broker, Prefix: topicPrefix, QoS: 1}}
	return sink, sink.Open(ctx, pipeline.Env{
		Device: "bench", Stage: "upstream", Log: slog.New(slog.DiscardHandler), Stats: pipeline.NewStats(),
		Network: &grant.Network{Endpoints: []grant.Endpoint{endpoint}}, Report: func(pipeline.Status) {},
	})
}

// sampleResult is a result of usual size.
func sampleResult() *pipeline.Result {
	at := time.Now()
	predictions := make([]pipeline.Prediction, 5)
	for i := range predictions {
		predictions[i] = pipeline.Prediction{Class: "class 0042", ClassID: i, Confidence: 0.5 / float32(i+1)}
	}
	return &pipeline.Result{
		Schema: pipeline.SchemaVersion, ID: "0011223344556677-scene-1", Device: "bench", Source: "camera01", Stage: "scene", Sequence: 1,
		Captured: at, CaptureOrigin: pipeline.OriginSenderReport, Received: at, Decoded: at, Inferred: at, Published: at,
		Model:    pipeline.ModelInfo{Name: "sample", Digest: "sha256:" + strings.Repeat("0", 64)},
		Provider: "cpu", Top: &predictions[0], Predictions: predictions,
		Latency: pipeline.Latency{Receive: 0.001, Decode: 0.004, Queue: 0.0001, Infer: 0.005},
	}
}
