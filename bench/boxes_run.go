package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
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
	// Ready and First are from the start of the program to when every stage was ready, asked for every
	// 50 ms, and to its first result. Up to two seconds of First pass until the camera's next keyframe.
	Ready time.Duration `json:"ready_ns"`
	First time.Duration `json:"first_ns"`
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
	boxPatience     = 4 * time.Minute // until the first result: a guest without KVM starts slowly
	boxStopPatience = 90 * time.Second
	askAgain        = 50 * time.Millisecond
)

// errLeft is that a supervisor was killed, so that its boxes go on.
var errLeft = errors.New("sightline did not end when asked to, and was killed")

// startSupervisor starts an ordinary `sightline run`. It is asked to stop, and stops its boxes, also
// when this process is killed.
func startSupervisor(cmd *exec.Cmd) (*child, error) {
	c := &child{name: "sightline run", cmd: cmd, done: make(chan struct{})}
	cmd.Stderr = &c.errors
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start sightline: %w", err)
	}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // the signal comes when the thread that started it ends
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		defer close(c.done)
		_, _ = io.Copy(io.Discard, stdout)
		if err := cmd.Wait(); err != nil {
			c.err = fmt.Errorf("%s: %w\n%s", c.name, err, c.errors.String())
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start sightline: %w", err)
	}
	return c, nil
}

// stopSupervisor asks sightline to stop all stages and itself.
func stopSupervisor(c *child, state string) error {
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	timer := time.NewTimer(boxStopPatience)
	defer timer.Stop()
	select {
	case <-c.done:
		return c.err
	case <-timer.C:
	}
	_ = c.cmd.Process.Kill() // it may have ended just now
	<-c.done
	return fmt.Errorf("%w after %s; boxes may be left (sightline run --state %s adopts them, and Ctrl-C ends them)\n%s",
		errLeft, boxStopPatience, state, c.errors.String())
}

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
	program, err := startSupervisor(r.circuit.boxes.Program("run", r.circuit.file, "--runtime-default", r.kind, "--state", r.state))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stopSupervisor(program, r.state)) }()
	w := &window{harness: r.circuit.harness, site: r.circuit.site, pipeline: program, subscriber: sub, where: r.circuit.where,
		status: "http://" + r.circuit.listen + "/status"}
	ready, err := r.awaitReady(ctx, w)
	if err != nil {
		return nil, err
	}
	if err := w.await(ctx, sub.first, boxPatience); err != nil {
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
	return out, nil
}

// awaitReady asks until every stage is ready, and returns when that was.
func (r *boxRun) awaitReady(ctx context.Context, w *window) (time.Duration, error) {
	for end := now() + boxPatience; ; {
		states, err := r.circuit.boxes.Ask(ctx, r.state)
		if err == nil && allReady(states) {
			return now(), nil
		}
		if now() > end {
			return 0, fmt.Errorf("not every stage was ready after %s (%v)\n%s", boxPatience, errors.Join(err, notReady(states)), w.pipeline.errors.String())
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
			return fmt.Errorf("stage %q is not", s.Stage)
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
	if err := w.await(ctx, nil, w.harness.Options.Staleness+straggling); !errors.Is(err, errElapsed) {
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
