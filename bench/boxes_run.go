package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.yaml.in/yaml/v3"
)

// BoxRun is one run of the pipeline in one kind of box.
type BoxRun struct {
	In       string    `json:"in"`
	Round    int       `json:"round"`
	Seconds  float64   `json:"seconds"`
	Pictures int       `json:"pictures"` // that the cameras took in that time
	Results  int       `json:"results"`  // of those pictures
	NoTime   int       `json:"no_time"`  // results received in that time without the camera's own time; in no other figure
	Latency  Quantiles `json:"latency"`  // from captured to received
	// Ready and First are from the start of the program to when every stage was ready, as seen by asking
	// again and again, and to its first result. Up to two seconds of First pass until the camera's next
	// keyframe. An engine of containers takes up to a second to answer for each stage, so Ready is late
	// by so much there.
	Ready time.Duration `json:"ready_ns"`
	First time.Duration `json:"first_ns"`
	// Back is from when the supervisor, killed while its boxes ran on, was started again to the first result
	// of a picture that was taken since then; 0 in place.
	Back time.Duration `json:"back_ns,omitempty"`
	// CPU is the processor time of the program and all boxes in the measured time, Supervisor of the
	// program alone. Engines of containers are in neither.
	CPU        time.Duration      `json:"cpu_ns"`
	Supervisor time.Duration      `json:"supervisor_ns"`
	Resident   int64              `json:"resident"` // of the program at the end; in place with all stages
	Stages     []BoxStage         `json:"stages"`
	Drops      map[string]float64 `json:"drops"` // by reason
}

// BoxStage is a stage of a run.
type BoxStage struct {
	Name   string        `json:"name"`
	Kind   string        `json:"kind"`
	Memory int64         `json:"memory"` // resident at the end; 0: not known
	CPU    time.Duration `json:"cpu_ns"`
	Sizes
}

// Rate is results a second.
func (r BoxRun) Rate() float64 { return float64(r.Results) / r.Seconds }

// PerResult is the processor time that a result cost.
func (r BoxRun) PerResult() time.Duration {
	if r.Results == 0 {
		return 0
	}
	return r.CPU / time.Duration(r.Results)
}

// writeFile writes the pipeline file, an ordinary one.
func (b *Boxes) writeFile(h *Harness, folder string, where *Site, listen string) (string, error) {
	file, err := h.file(where, listen)
	if err != nil {
		return "", fmt.Errorf("write pipeline file: %w", err)
	}
	if len(b.Runtime) > 0 {
		file["runtime"] = b.Runtime
	}
	text, err := yaml.Marshal(file)
	if err != nil {
		return "", fmt.Errorf("write pipeline file: %w", err)
	}
	path := filepath.Join(folder, "pipeline.yaml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return "", fmt.Errorf("write pipeline file: %w", err)
	}
	return path, nil
}

const (
	boxPatience     = 4 * time.Minute  // until the first result
	guestPatience   = 10 * time.Minute // of a guest without KVM
	guestStraggling = 15 * time.Second
	askAgain        = 50 * time.Millisecond
)

// boxRun is one run while it is measured.
type boxRun struct {
	circuit *circuit
	kind    string
	state   string
}

func (r *boxRun) measure(ctx context.Context) (out *BoxRun, err error) {
	sub, err := subscribe(ctx, r.circuit.where.Broker, topicPrefix)
	if err != nil {
		return nil, err
	}
	defer sub.close()
	began := now()
	program, err := r.start()
	if err != nil {
		return nil, err
	}
	w := &window{harness: r.circuit.harness, site: r.circuit.site, pipeline: program, subscriber: sub, where: r.circuit.where,
		status: "http://" + r.circuit.listen + "/status"}
	defer func() { err = errors.Join(err, stopSupervisor(w.pipeline, r.state)) }()
	ready, err := r.awaitReady(ctx, w)
	if err != nil {
		return nil, err
	}
	if err := w.await(ctx, sub.first, r.circuit.patience); err != nil {
		return nil, fmt.Errorf("wait for the first result: %w", err)
	}
	if err := w.await(ctx, nil, settling); !errors.Is(err, errElapsed) {
		return nil, err
	}
	if out, err = r.window(ctx, w); err != nil {
		return nil, err
	}
	arrivals, err := sub.taken()
	if err != nil {
		return nil, err
	}
	out.Ready, out.First = ready-began, arrivals[0].at-began
	if r.kind != InPlace {
		out.Back, err = r.back(ctx, w)
	}
	return out, err
}

// start starts the supervisor.
func (r *boxRun) start() (*child, error) {
	return startSupervisor(r.circuit.boxes.Program("run", r.circuit.file, "--runtime-default", r.kind, "--state", r.state))
}

// gap is how long there is no supervisor.
const gap = time.Second

// back kills the supervisor, starts another one after a while, and returns how long that took to have the
// first result of a picture taken since its start.
func (r *boxRun) back(ctx context.Context, w *window) (time.Duration, error) {
	killed := w.pipeline
	_ = killed.cmd.Process.Kill() // it runs: else the run failed before
	<-killed.done
	select {
	case <-time.After(gap):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	began := now()
	program, err := r.start()
	if err != nil {
		return 0, err
	}
	w.pipeline = program
	for end := began + r.circuit.patience; now() < end; {
		arrivals, err := w.subscriber.taken()
		if err != nil {
			return 0, err
		}
		for _, a := range arrivals {
			if a.at-a.wall.Sub(a.result.Captured) > began {
				return a.at - began, nil
			}
		}
		if err := w.await(ctx, nil, askAgain); !errors.Is(err, errElapsed) {
			return 0, err
		}
	}
	return 0, fmt.Errorf("no result of a new picture came within %s after the supervisor was killed and started again\n%s", r.circuit.patience, w.pipeline.errors.String())
}

// awaitReady asks until every stage is ready, and returns when that was.
func (r *boxRun) awaitReady(ctx context.Context, w *window) (time.Duration, error) {
	for end := now() + r.circuit.patience; ; {
		states, err := r.circuit.boxes.Ask(ctx, r.state)
		if err == nil && allReady(states) {
			return now(), nil
		}
		if now() > end {
			why := errors.Join(err, notReady(states), errors.New(w.pipeline.errors.String()))
			return 0, fmt.Errorf("not every stage was ready after %s: %w", r.circuit.patience, why)
		}
		if err := w.await(ctx, nil, askAgain); !errors.Is(err, errElapsed) {
			return 0, err
		}
	}
}

func allReady(states []BoxState) bool { return len(states) > 0 && notReady(states) == nil }

func notReady(states []BoxState) error {
	for _, s := range states {
		if !s.Running || !s.Ready {
			return fmt.Errorf("stage %q is not: %s", s.Stage, cmp.Or(s.Problem, "it does not say why"))
		}
	}
	return nil
}

// boxLook is the state of a run at a moment.
type boxLook struct {
	look
	stages []BoxState
}

func (r *boxRun) look(ctx context.Context, w *window) (l boxLook, err error) {
	if l.stages, err = r.circuit.boxes.Ask(ctx, r.state); err != nil {
		return l, err
	}
	l.look, err = w.look(ctx)
	return l, err
}

// window measures for a while.
func (r *boxRun) window(ctx context.Context, w *window) (*BoxRun, error) {
	begin, err := r.look(ctx, w)
	if err != nil {
		return nil, err
	}
	if err := w.await(ctx, nil, begin.at+w.harness.Options.For-now()); !errors.Is(err, errElapsed) {
		return nil, err
	}
	end, err := r.look(ctx, w)
	if err != nil {
		return nil, err
	}
	resident, err := residentOf(w.pipeline.cmd.Process.Pid)
	if err != nil {
		return nil, err
	}
	if err := w.await(ctx, nil, r.circuit.late); !errors.Is(err, errElapsed) {
		return nil, err
	}
	arrivals, err := w.subscriber.taken()
	if err != nil {
		return nil, err
	}
	out := &BoxRun{In: r.kind, Seconds: (end.at - begin.at).Seconds(), Resident: resident, Supervisor: end.pipeline - begin.pipeline}
	_, out.Drops = difference(begin.status, end.status)
	if err := r.stages(ctx, out, begin.stages, end.stages); err != nil {
		return nil, err
	}
	tallyByReports(r.circuit.where.Cameras, begin.at, end.at, arrivals).into(out)
	if out.Results == 0 {
		return nil, fmt.Errorf("no result of a picture of the measured %.0f s was received; %d came without the camera's time, dropped were: %s\n%s",
			out.Seconds, out.NoTime, drops(out.Drops), w.pipeline.errors.String())
	}
	return out, nil
}

// stages notes what the boxes used between two looks.
func (r *boxRun) stages(ctx context.Context, out *BoxRun, begin, end []BoxState) error {
	before := map[string]BoxState{}
	for _, s := range begin {
		before[s.Stage] = s
	}
	out.CPU = out.Supervisor
	for _, s := range end {
		stage := BoxStage{Name: s.Stage, Kind: s.Kind}
		if s.Measured && r.kind != InPlace {
			stage.Memory, stage.CPU = s.Memory, s.CPU-before[s.Stage].CPU
			out.CPU += stage.CPU
		}
		if s.Digest != "" {
			sizes, err := r.circuit.boxes.Sizes(ctx, r.state, s.Digest)
			if err != nil {
				return fmt.Errorf("sizes of stage %q: %w", s.Stage, err)
			}
			stage.Sizes = sizes
		}
		out.Stages = append(out.Stages, stage)
	}
	return nil
}
