// Package web shows a running pipeline on HTTP: health, readiness, metrics, status and a page.
package web

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"sightline/pipeline"
)

// The kinds of stages.
const (
	Capture  = "capture"
	Classify = "classify"
	Publish  = "publish"
)

// Stage is one stage as the board knows it.
type Stage struct {
	Name    string
	Kind    string                   // Capture, Classify or Publish
	Samples func() []pipeline.Sample // its statistics as they are now
	// Box says how the stage runs; nil: nobody knows.
	Box func() Box
}

// Box is how a stage runs.
type Box struct {
	In       string        `json:"in"` // inline, process, container, vm, unikernel
	ID       string        `json:"id,omitempty"`
	Restarts int           `json:"restarts"`
	Reason   string        `json:"reason,omitempty"` // of the last restart
	CPU      time.Duration `json:"-"`
	Memory   int64         `json:"memory_bytes,omitempty"`
	Received uint64        `json:"wire_received_bytes,omitempty"` // from the box
	Sent     uint64        `json:"wire_sent_bytes,omitempty"`     // to the box
}

// Board holds what is known of a running pipeline: its stages, their statuses and metrics, and the
// newest result of each source. Its methods may be called from any goroutine.
type Board struct {
	Device  string
	Name    string // of the pipeline
	Version string
	Began   time.Time
	File    func() File // how the pipeline file stands; nil: there is none

	mu       sync.Mutex
	stages   []Stage
	statuses map[string]pipeline.Status
	latest   map[resultKey]Latest
}

// File is how the pipeline file on the disk stands to what runs.
type File struct {
	Name    string    `json:"name"`
	Runs    bool      `json:"runs"`              // what it says is what runs
	Problem string    `json:"problem,omitempty"` // why not
	Since   time.Time `json:"since"`
}

var _ pipeline.Sink = (*Board)(nil)

type resultKey struct{ source, stage, region string }

// Latest is the newest result of one source, stage and region.
type Latest struct {
	Source     string    `json:"source"`
	Stage      string    `json:"stage"`
	Region     string    `json:"region,omitempty"`
	Class      string    `json:"class"` // empty when no class reaches the threshold
	Confidence float32   `json:"confidence"`
	Captured   time.Time `json:"captured"`
	Since      time.Time `json:"since"` // capture time of the first result in a row with this class
	Age        float64   `json:"age"`   // seconds from capture to the board
}

// Describe names the device and the pipeline.
func (b *Board) Describe(device, pipeline string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.Device, b.Name = device, pipeline
}

func (b *Board) device() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Device
}

// Show says which stages there are, in the order of starting. What was seen by and of others is forgotten.
func (b *Board) Show(stages []Stage) {
	there := map[string]bool{}
	for _, s := range stages {
		there[s.Name] = true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stages = stages
	maps.DeleteFunc(b.latest, func(k resultKey, _ Latest) bool { return !there[k.stage] || !there[k.source] })
}

// Stages returns the stages that are shown.
func (b *Board) Stages() []Stage {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.stages
}

// Report takes a stage's status.
func (b *Board) Report(s pipeline.Status) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.statuses == nil {
		b.statuses = map[string]pipeline.Status{}
	}
	b.statuses[s.Stage] = s
}

// Online tells whether a stage has said that it works.
func (b *Board) Online(stage string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.statuses[stage].State == pipeline.StateOnline
}

// Status returns what a stage said of itself last.
func (b *Board) Status(stage string) pipeline.Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.statuses[stage]
}

// Open makes the board a sink.
func (b *Board) Open(context.Context, pipeline.Env) error { return nil }

// Deliver notes results; it never waits and never fails.
func (b *Board) Deliver(_ context.Context, messages []pipeline.Message) error {
	for _, m := range messages {
		if m.Result != nil {
			b.note(m.Result)
		}
	}
	return nil
}

// Close does nothing.
func (b *Board) Close(context.Context) error { return nil }

func (b *Board) note(r *pipeline.Result) {
	now := Latest{
		Source: r.Source, Stage: r.Stage, Region: r.Region, Captured: r.Captured, Since: r.Captured,
		Age: time.Since(r.Captured).Seconds(),
	}
	if r.Top != nil {
		now.Class, now.Confidence = r.Top.Class, r.Top.Confidence
	}
	key := resultKey{r.Source, r.Stage, r.Region}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.latest == nil {
		b.latest = map[resultKey]Latest{}
	}
	if before, ok := b.latest[key]; ok && before.Class == now.Class {
		now.Since = before.Since
	}
	b.latest[key] = now
}

// Ready tells whether every model is warm and has answered a frame; if not, what is missing.
func (b *Board) Ready() (bool, string) {
	stages := b.Stages()
	if len(stages) == 0 {
		return false, "nothing runs yet"
	}
	for _, s := range stages {
		if s.Kind != Classify {
			continue
		}
		b.mu.Lock()
		status, ok := b.statuses[s.Name]
		b.mu.Unlock()
		if !ok || status.State != pipeline.StateOnline {
			return false, s.Name + ": the model is not ready"
		}
		if total(s.Samples(), pipeline.FramesAnalysed) == 0 {
			return false, s.Name + ": no frame has gone through yet"
		}
	}
	return true, ""
}

// Report, as /status gives it.
type report struct {
	Device  string        `json:"device"`
	Name    string        `json:"pipeline"`
	Version string        `json:"version"`
	Began   time.Time     `json:"began"`
	Ready   bool          `json:"ready"`
	Missing string        `json:"missing,omitempty"`
	File    *File         `json:"file,omitempty"` // absent: there is none
	Stages  []stageReport `json:"stages"`
	Latest  []Latest      `json:"latest"`
}

type stageReport struct {
	Name   string             `json:"name"`
	Kind   string             `json:"kind"`
	State  pipeline.State     `json:"state"`
	Reason string             `json:"reason,omitempty"`
	Detail string             `json:"detail,omitempty"`
	Since  time.Time          `json:"since"`
	Counts map[string]float64 `json:"counts"`          // totals by metric name, without prefix and _total
	Drops  map[string]float64 `json:"drops,omitempty"` // dropped frames and results by reason
	// Waiting is what a publish stage has not delivered yet.
	Waiting *waitingReport `json:"waiting,omitempty"`
	Box     *boxReport     `json:"box,omitempty"`
}

type waitingReport struct {
	Results uint64 `json:"results"`
	Bytes   uint64 `json:"bytes"`
	Trouble bool   `json:"trouble,omitempty"` // the disk does not take them: they are in memory
}

type boxReport struct {
	Box
	CPU float64 `json:"cpu_seconds,omitempty"`
}

func (b *Board) report() report {
	out := report{Version: b.Version, Began: b.Began, Stages: []stageReport{}}
	out.Ready, out.Missing = b.Ready()
	if b.File != nil {
		if f := b.File(); f.Name != "" {
			out.File = &f
		}
	}
	b.mu.Lock()
	out.Device, out.Name = b.Device, b.Name
	statuses := maps.Clone(b.statuses)
	out.Latest = slices.SortedFunc(maps.Values(b.latest), func(x, y Latest) int {
		return cmp.Or(cmp.Compare(x.Source, y.Source), cmp.Compare(x.Stage, y.Stage), cmp.Compare(x.Region, y.Region))
	})
	b.mu.Unlock()
	for _, s := range b.Stages() {
		status, ok := statuses[s.Name]
		if !ok {
			status = pipeline.Status{State: pipeline.StateStarting, Since: b.Began}
		}
		samples := s.Samples()
		counts, drops := summarise(samples)
		out.Stages = append(out.Stages, stageReport{
			Name: s.Name, Kind: s.Kind, State: status.State, Reason: status.Reason, Detail: status.Detail,
			Since: status.Since, Counts: counts, Drops: drops, Waiting: waiting(samples), Box: s.box(),
		})
	}
	return out
}

func (s *Stage) box() *boxReport {
	if s.Box == nil {
		return nil
	}
	b := s.Box()
	return &boxReport{Box: b, CPU: b.CPU.Seconds()}
}
