package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"sightline/pipeline"
)

// Whole is what came out of a whole pipeline.
type Whole struct {
	Seconds  float64 `json:"seconds"`  // that were measured
	Pictures int     `json:"pictures"` // that the cameras took in that time
	Results  int     `json:"results"`  // of those pictures, as received by the subscriber
	NoClock  int     `json:"no_clock"` // results whose picture cannot be told; not in any figure
	// Latency is from the moment that a picture was taken to when its result was received.
	Latency Quantiles `json:"latency"`
	// Parts are where that time went, by what the results say.
	Parts  []Part             `json:"parts"`
	CPU    CPU                `json:"cpu"`
	Counts map[string]float64 `json:"counts"` // of the pipeline's metrics
	Drops  map[string]float64 `json:"drops"`  // by reason
	Memory Memory             `json:"memory"` // of the pipeline's process
	Stages []StageDetail      `json:"stages"`
}

// Part is one part of the way of a picture.
type Part struct {
	Name string    `json:"name"`
	Time Quantiles `json:"time"`
}

// CPU is processor time in the measured window.
type CPU struct {
	Pipeline  time.Duration `json:"pipeline_ns"`
	Site      time.Duration `json:"site_ns"`    // cameras and broker
	Harness   time.Duration `json:"harness_ns"` // the subscriber
	PerResult time.Duration `json:"per_result_ns"`
}

// StageDetail is what a stage of the pipeline works with.
type StageDetail struct {
	Name   string `json:"name"`
	Detail string `json:"detail"`
}

// window measures a running pipeline for a while.
type window struct {
	harness        *Harness
	site, pipeline *child
	subscriber     *subscriber
	where          *Site
	status         string // URL
	memory         []int64
}

const (
	startPatience = 90 * time.Second // until the first result
	settling      = 2 * time.Second  // after it, until times are taken
	straggling    = time.Second      // for results of the last pictures, beyond the staleness budget
)

func (w *window) measure(ctx context.Context) (*Whole, error) {
	if err := w.await(ctx, w.subscriber.first, startPatience); err != nil {
		return nil, fmt.Errorf("wait for the first result: %w", err)
	}
	if err := w.await(ctx, nil, settling); !errors.Is(err, errElapsed) {
		return nil, err
	}
	begin, err := w.look(ctx)
	if err != nil {
		return nil, err
	}
	if err := w.sample(ctx, begin.at+w.harness.Options.For); err != nil {
		return nil, err
	}
	end, err := w.look(ctx)
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
	return w.sum(begin, end, arrivals)
}

var errElapsed = errors.New("the time is up")

// await waits until done closes. Before that a child may end, ctx or the time, which are errors.
func (w *window) await(ctx context.Context, done <-chan struct{}, most time.Duration) error {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-done:
		return nil
	case <-timer.C:
		return fmt.Errorf("%w after %s\n%s", errElapsed, most, w.pipeline.errors.String())
	case <-w.pipeline.done:
		return errors.New("the pipeline ended")
	case <-w.site.done:
		return errors.New("the cameras ended")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// sample notes the pipeline's memory every second until a time.
func (w *window) sample(ctx context.Context, until time.Duration) error {
	for begin := now(); ; {
		size, err := residentOf(w.pipeline.cmd.Process.Pid)
		if err != nil {
			return err
		}
		w.memory = append(w.memory, size)
		if n := len(w.memory); n%60 == 0 {
			w.harness.Say("%3d min: the pipeline has %.1f MiB resident", n/60, mebi(size))
		}
		next := min(begin+time.Duration(len(w.memory))*time.Second, until)
		if err := w.await(ctx, nil, next-now()); !errors.Is(err, errElapsed) {
			return err
		}
		if next == until {
			return nil
		}
	}
}

// look is the state of all processes at a moment.
type look struct {
	at                      time.Duration
	pipeline, site, harness time.Duration // processor time
	status                  *statusReport
}

// statusReport is what is needed of /status.
type statusReport struct {
	Stages []struct {
		Name   string             `json:"name"`
		Kind   string             `json:"kind"`
		Detail string             `json:"detail"`
		Counts map[string]float64 `json:"counts"`
		Drops  map[string]float64 `json:"drops"`
	} `json:"stages"`
}

func (w *window) look(ctx context.Context) (l look, err error) {
	if l.status, err = fetch(ctx, w.status); err != nil {
		return l, err
	}
	var errs [3]error
	l.at = now()
	l.pipeline, errs[0] = cpuOf(w.pipeline.cmd.Process.Pid)
	l.site, errs[1] = cpuOf(w.site.cmd.Process.Pid)
	l.harness, errs[2] = cpuOf(os.Getpid())
	return l, errors.Join(errs[:]...)
}

func fetch(ctx context.Context, url string) (*statusReport, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fmt.Errorf("ask the pipeline: %w", err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("ask the pipeline: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ask the pipeline: %s: %s", url, response.Status)
	}
	out := &statusReport{}
	if err := json.NewDecoder(response.Body).Decode(out); err != nil {
		return nil, fmt.Errorf("ask the pipeline: %s: %w", url, err)
	}
	return out, nil
}

// errNoResult is that a machine is so overloaded that it gets nothing done in time, or that the model
// does not see the clock.
var errNoResult = errors.New("no result")

// sum puts together what happened between two looks, also with errNoResult.
func (w *window) sum(begin, end look, arrivals []arrival) (*Whole, error) {
	out := &Whole{
		Seconds: (end.at - begin.at).Seconds(), Memory: memory(w.memory),
		CPU: CPU{Pipeline: end.pipeline - begin.pipeline, Site: end.site - begin.site, Harness: end.harness - begin.harness},
	}
	out.Counts, out.Drops = difference(begin.status, end.status)
	for _, s := range end.status.Stages {
		out.Stages = append(out.Stages, StageDetail{s.Name, s.Detail})
	}
	t := newTally(w.where.Cameras, begin.at, end.at)
	for _, a := range arrivals {
		t.add(a)
	}
	t.into(out)
	if out.Results == 0 {
		return out, fmt.Errorf("%w of a picture of the measured %.0f s was received; %d came without a clock, dropped were: %s\n%s",
			errNoResult, out.Seconds, out.NoClock, drops(out.Drops), w.pipeline.errors.String())
	}
	out.CPU.PerResult = out.CPU.Pipeline / time.Duration(out.Results)
	return out, nil
}

// difference subtracts counters, added up over all stages.
func difference(begin, end *statusReport) (counts, drops map[string]float64) {
	counts, drops = map[string]float64{}, map[string]float64{}
	add := func(r *statusReport, sign float64) {
		for _, s := range r.Stages {
			for name, n := range s.Counts {
				counts[name] += sign * n
			}
			for name, n := range s.Drops {
				drops[name] += sign * n
			}
		}
	}
	add(end, 1)
	add(begin, -1)
	for name, n := range drops {
		if n == 0 {
			delete(drops, name)
		}
	}
	return counts, drops
}

// tally sorts the results of a time.
type tally struct {
	begin, end time.Duration
	cameras    map[string]*tracker
	results    int
	noClock    int
	latencies  []time.Duration
	parts      [len(partNames)][]time.Duration
}

// partNames are the parts of the way; see parts.
var partNames = [...]string{"receive", "decode, scale", "queue", "infer", "publish", "deliver"}

// inferPart is where the inference is among them.
const inferPart = 3

func newTally(cameras []Camera, begin, end time.Duration) *tally {
	t := &tally{begin: begin, end: end, cameras: map[string]*tracker{}}
	for _, c := range cameras {
		t.cameras[c.Name] = &tracker{schedule: c.Schedule}
	}
	return t
}

// add counts a result if its picture was taken in the time.
func (t *tally) add(a arrival) {
	camera := t.cameras[a.result.Source]
	counter, err := counterOf(a.result.Predictions)
	if camera == nil || err != nil {
		if a.at >= t.begin && a.at < t.end {
			t.noClock++
		}
		return
	}
	n, ok := camera.number(counter, int64(a.result.Sequence), a.at)
	taken := camera.schedule.Taken(n)
	if !ok || taken < t.begin || taken >= t.end {
		return
	}
	t.results++
	t.latencies = append(t.latencies, a.at-taken)
	for i, d := range parts(&a.result, a.wall, a.at-taken) {
		t.parts[i] = append(t.parts[i], d)
	}
}

// parts splits the latency of a result by the host's times in it: sent by the camera and received,
// decoded and scaled, waited for the model, inferred, handed to the upstream, and delivered by it.
func parts(r *pipeline.Result, received time.Time, latency time.Duration) [len(partNames)]time.Duration {
	infer := time.Duration(r.Latency.Infer * float64(time.Second))
	return [...]time.Duration{
		latency - received.Sub(r.Received), r.Decoded.Sub(r.Received), r.Inferred.Sub(r.Decoded) - infer,
		infer, r.Published.Sub(r.Inferred), received.Sub(r.Published),
	}
}

func (t *tally) into(out *Whole) {
	out.Results, out.NoClock, out.Latency = t.results, t.noClock, quantiles(t.latencies)
	for i, name := range partNames {
		out.Parts = append(out.Parts, Part{name, quantiles(t.parts[i])})
	}
	for _, c := range t.cameras {
		out.Pictures += c.schedule.between(t.begin, t.end)
	}
}
