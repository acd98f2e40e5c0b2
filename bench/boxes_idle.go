package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Idle is what the supervisor costs while nothing flows: its stages run in process boxes, and the
// camera is not there.
type Idle struct {
	Program  string        `json:"program"` // that ran: sightline-supervisor, unless it was not built
	Boxes    int           `json:"boxes"`
	Seconds  float64       `json:"seconds"`
	CPU      time.Duration `json:"cpu_ns"`
	Resident int64         `json:"resident"` // the most that was seen
	Skipped  string        `json:"skipped,omitempty"`
}

// Share is the share of one core.
func (i *Idle) Share() float64 { return i.CPU.Seconds() / i.Seconds }

// calming is how long the supervisor may settle after its boxes run.
const calming = 5 * time.Second

// idle measures the supervisor without a camera.
func (b *Boxes) idle(ctx context.Context, out *BoxReport) (err error) {
	if b.Compare.Idle == 0 {
		return nil
	}
	for _, k := range b.Kinds {
		if k.Name == "process" && k.Skipped != "" {
			out.Idle = &Idle{Skipped: k.Skipped}
			return nil
		}
	}
	b.Say("watching the idle supervisor for %s", b.Compare.Idle)
	folder := filepath.Join(b.folder, "idle")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return fmt.Errorf("folder for the bench: %w", err)
	}
	file, listen, err := b.idleFile(folder)
	if err != nil {
		return err
	}
	state := filepath.Join(folder, "p")
	program, err := startSupervisor(b.Program("run", file, "--runtime-default", "process", "--state", state))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stopSupervisor(program, state)) }()
	w := &window{harness: b.Harness, site: &child{}, pipeline: program, status: "http://" + listen + "/status"}
	if out.Idle, err = b.watchIdle(ctx, w, state); err != nil {
		return fmt.Errorf("watch the idle supervisor: %w", err)
	}
	return nil
}

// idleFile is the pipeline file with a camera and a broker where nobody answers.
func (b *Boxes) idleFile(folder string) (file, listen string, err error) {
	var free [3]string
	for i := range free {
		if free[i], err = freeAddress(); err != nil {
			return "", "", err
		}
	}
	nobody := &Site{Broker: "mqtt://" + free[0], Cameras: []Camera{{Name: cameraName(0), URL: "rtsp://" + free[1] + "/" + cameraName(0)}}}
	file, err = b.writeFile(b.Harness, folder, nobody, free[2])
	return file, free[2], err
}

func (b *Boxes) watchIdle(ctx context.Context, w *window, state string) (*Idle, error) {
	boxes, err := b.awaitRunning(ctx, w, state)
	if err != nil {
		return nil, err
	}
	if err := w.await(ctx, nil, calming); !errors.Is(err, errElapsed) {
		return nil, err
	}
	pid := w.pipeline.cmd.Process.Pid
	out := &Idle{Boxes: boxes, Program: programOf(pid)}
	began := now()
	before, err := cpuOf(pid)
	if err != nil {
		return nil, err
	}
	if err := w.sample(ctx, began+b.Compare.Idle); err != nil {
		return nil, err
	}
	after, err := cpuOf(pid)
	if err != nil {
		return nil, err
	}
	out.Seconds, out.CPU, out.Resident = (now() - began).Seconds(), after-before, memory(w.memory).Max
	return out, nil
}

// awaitRunning asks until every stage has a box that runs, and returns how many there are.
func (b *Boxes) awaitRunning(ctx context.Context, w *window, state string) (int, error) {
	for end := now() + boxPatience; ; {
		states, err := b.Ask(ctx, state)
		running := 0
		for _, s := range states {
			if s.Running {
				running++
			}
		}
		if err == nil && running > 0 && running == len(states) {
			return running, nil
		}
		if now() > end {
			return 0, errors.Join(fmt.Errorf("%d of %d stages ran after %s\n%s", running, len(states), boxPatience, w.pipeline.errors.String()), err)
		}
		if err := w.await(ctx, nil, askAgain); !errors.Is(err, errElapsed) {
			return 0, err
		}
	}
}

// programOf is the name of the program that a process runs.
func programOf(pid int) string {
	path, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil {
		return "unknown"
	}
	return strings.TrimSuffix(filepath.Base(path), " (deleted)")
}
