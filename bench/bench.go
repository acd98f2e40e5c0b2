// Package bench measures Sightline: its stages alone, whole pipelines from simulated cameras over
// RTSP to results at an MQTT subscriber, and the limit that the parts alone set.
//
// A whole run has three processes, so that the cost of each is known apart: this one, which subscribes
// and takes times; the site with the cameras and the broker; and the pipeline, assembled as by
// `sightline run`. Every picture shows a number. A wrapper around the model reads it and adds it to
// the answer, and so each result says when its picture was taken, by the cameras' schedule and not by
// what the pipeline believes.
package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"sightline/models"
	"sightline/pipeline"
)

// Options say what is measured.
type Options struct {
	Cameras   int           `json:"cameras"`
	Size      Size          `json:"size"`
	FPS       int           `json:"fps"`
	For       time.Duration `json:"for_ns"`    // how long results are counted
	Model     string        `json:"model"`     // a built-in model, or the path of a .onnx file
	Card      string        `json:"card"`      // path of its card; empty: as in a pipeline file
	Provider  string        `json:"provider"`  // as in a pipeline file
	Threads   int           `json:"threads"`   // of one inference; 0: as in a pipeline file
	Transport string        `json:"transport"` // of the cameras, as in a pipeline file
	Staleness time.Duration `json:"staleness_ns"`
	// Overload makes the model take three times as long as the pictures of all cameras leave it, by
	// running it again and again.
	Overload bool `json:"overload"`
}

// Check returns what is wrong with the options.
func (o Options) Check() error {
	switch {
	case o.Cameras < 1 || o.Cameras > 256:
		return fmt.Errorf("%d cameras: want 1 to 256", o.Cameras)
	case o.FPS < 1 || o.FPS > 120:
		return fmt.Errorf("%d fps: want 1 to 120", o.FPS)
	case o.For < time.Second:
		return fmt.Errorf("measuring for %s: want at least 1s", o.For)
	}
	return nil
}

// least is how long the model is to take at least.
func (o Options) least() time.Duration {
	if !o.Overload {
		return 0
	}
	return 3 * time.Second / time.Duration(o.Cameras*o.FPS)
}

// modelConfig is the classify stage of the pipeline file.
func (o Options) modelConfig() models.Config {
	return models.Config{Model: o.Model, Card: o.Card, Provider: o.Provider, Threads: o.Threads, Batch: models.Batch{Max: 1}}
}

// Harness runs measurements.
type Harness struct {
	Options Options
	// Open loads the model in this process, for the stages alone.
	Open func(context.Context, models.Config) (pipeline.Classifier, error)
	// Fit describes the model to run, for prepare alone.
	Fit func() (*models.Fit, error)
	// Command returns the command that runs this program's hidden part `bench NAME ARGS…`.
	Command func(name string, args ...string) *exec.Cmd
	Say     func(format string, args ...any) // what is being done; never nil
	Version string
}

// share is how long the stages alone are measured, before the whole and after it.
func (h *Harness) share() time.Duration { return min(h.Options.For/6, 5*time.Second) }

// Run measures the limit, the whole, and the limit again.
func (h *Harness) Run(ctx context.Context) (*Report, error) {
	folder, recording, err := h.record(ctx)
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	out := newReport(h, recording)
	alone := &limits{}
	if err := h.limit(ctx, recording, alone); err != nil {
		return nil, err
	}
	h.Say("running %d cameras, the broker and the pipeline for %s", h.Options.Cameras, h.Options.For)
	if out.Whole, err = h.whole(ctx, folder); err != nil {
		return nil, err
	}
	if err := h.limit(ctx, recording, alone); err != nil {
		return nil, err
	}
	out.Limit = alone.limit()
	out.check()
	return out, nil
}

// record makes the cameras' pictures and a folder with them.
func (h *Harness) record(ctx context.Context) (folder string, r *Recording, err error) {
	if err := h.Options.Check(); err != nil {
		return "", nil, err
	}
	h.Say("rendering and encoding %d pictures of %s", lap*h.Options.FPS, h.Options.Size)
	if r, err = Record(ctx, h.Options.Size, h.Options.FPS); err != nil {
		return "", nil, err
	}
	if folder, err = os.MkdirTemp("", "sightline-bench-"); err != nil {
		return "", nil, fmt.Errorf("folder for the bench: %w", err)
	}
	if err := r.Save(recordingPath(folder)); err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(folder))
	}
	return folder, r, nil
}

func recordingPath(folder string) string { return filepath.Join(folder, "recording") }

// limit measures decode, scale and infer alone.
func (h *Harness) limit(ctx context.Context, r *Recording, into *limits) error {
	h.Say("measuring decode, scale and infer alone")
	return h.withModel(ctx, func(c pipeline.Classifier) error {
		if err := into.free.run(ctx, r, c, h.share(), 0); err != nil {
			return err
		}
		return into.paced.run(ctx, r, c, h.share(), time.Second/time.Duration(h.Options.Cameras*h.Options.FPS))
	})
}

// withModel loads the model, calls use and frees it.
func (h *Harness) withModel(ctx context.Context, use func(pipeline.Classifier) error) error {
	c, err := h.Open(ctx, h.Options.modelConfig())
	if err != nil {
		return err
	}
	stamp, err := NewStamp(c, 0)
	if err != nil {
		return errors.Join(err, c.Close())
	}
	return errors.Join(use(stamp), c.Close())
}

// whole runs site and pipeline and measures what comes out.
func (h *Harness) whole(ctx context.Context, folder string) (whole *Whole, err error) {
	site, where, err := h.startSite(folder)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, site.stop(stopPatience)) }()
	sub, err := subscribe(ctx, where.Broker, topicPrefix)
	if err != nil {
		return nil, err
	}
	defer sub.close()
	runner, status, err := h.startPipeline(folder, where)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, runner.stop(stopPatience)) }()
	w := &window{harness: h, site: site, pipeline: runner, subscriber: sub, where: where, status: status}
	return w.measure(ctx)
}

const (
	topicPrefix  = "bench"
	stopPatience = 20 * time.Second
)

func (h *Harness) startSite(folder string) (*child, *Site, error) {
	c, err := start("cameras and broker", h.Command("site", recordingPath(folder), strconv.Itoa(h.Options.Cameras)))
	if err != nil {
		return nil, nil, err
	}
	site := &Site{}
	err = json.NewDecoder(c.stdout).Decode(site)
	c.watch()
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("ask where the cameras are: %w", err), c.stop(stopPatience))
	}
	return c, site, nil
}

// startPipeline writes a pipeline file and runs it; status is where its /status is.
func (h *Harness) startPipeline(folder string, where *Site) (c *child, status string, err error) {
	listen, err := freeAddress()
	if err != nil {
		return nil, "", err
	}
	file, err := h.file(where, listen)
	if err != nil {
		return nil, "", fmt.Errorf("write pipeline file: %w", err)
	}
	text, err := yaml.Marshal(file)
	if err != nil {
		return nil, "", fmt.Errorf("write pipeline file: %w", err)
	}
	path := filepath.Join(folder, "pipeline.yaml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return nil, "", fmt.Errorf("write pipeline file: %w", err)
	}
	if c, err = start("pipeline", h.Command("pipeline", path, "--least", h.Options.least().String())); err != nil {
		return nil, "", err
	}
	c.watch()
	return c, "http://" + listen + "/status", nil
}

// file is the pipeline file, an ordinary one.
func (h *Harness) file(where *Site, listen string) (map[string]any, error) {
	o := h.Options
	cameras, names := map[string]any{}, []string{}
	for _, c := range where.Cameras {
		names = append(names, c.Name)
		cameras[c.Name] = map[string]any{
			"rtsp":      map[string]any{"url": c.URL, "transport": o.Transport},
			"sample":    map[string]any{"every": "frame"},
			"staleness": o.Staleness.String(),
		}
	}
	model := map[string]any{"inputs": names, "model": o.Model, "provider": o.Provider, "threads": o.Threads}
	if o.Card != "" {
		model["card"] = o.Card
	}
	for _, key := range []string{"model", "card"} { // paths are relative to the file, which is elsewhere
		if path, ok := model[key].(string); ok && strings.ContainsAny(path, "/.") {
			absolute, err := filepath.Abs(path)
			if err != nil {
				return nil, err
			}
			model[key] = absolute
		}
	}
	return map[string]any{
		"version": 1, "name": "bench", "device": "bench",
		"sources": cameras,
		"models":  map[string]any{"scene": model},
		"sinks": map[string]any{"upstream": map[string]any{
			"inputs": []string{"scene"}, "mqtt": map[string]any{"url": where.Broker, "prefix": topicPrefix},
		}},
		"http": map[string]any{"listen": listen},
		"log":  map[string]any{"level": "warn"},
	}, nil
}

// freeAddress finds a port of loopback that is free now.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	return l.Addr().String(), l.Close()
}
