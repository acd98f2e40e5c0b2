package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"sightline/cmd/sightline/closures"
	"sightline/cmd/sightline/join"
	"sightline/configs"
	"sightline/pipeline"
	"sightline/runtime/closure"
	"sightline/runtime/closure/store"
	"sightline/runtime/driver"
	"sightline/runtime/inline"
	"sightline/runtime/supervisor"
	"sightline/web"
)

// station runs pipelines on this machine: one supervisor with its state folder, what joins its
// stages, and the board.
type station struct {
	dir     string
	site    *join.Site
	super   *supervisor.Supervisor
	store   *store.Store
	board   *web.Board
	log     *slog.Logger
	builder closures.Builder
	engines configs.Runtime // what the drivers stand on

	file     onFile
	level    *slog.LevelVar // of the log; nil: it stays
	applying sync.Mutex
	running  running           // guarded by applying
	last     string            // guarded by applying: the identity of the document that was applied last
	own      *configs.Pipeline // guarded by applying: whose settings of this program count; nil: none yet
	http     *web.Server       // guarded by applying; nil: off

	grantsMu sync.Mutex
	grants   map[string]string // of guests: addresses, by socket

	refusals refusals
	boxes    boxStates
	kinds    sync.Map // stage → kind, of the plan that runs
}

// openStation opens the state folder. What ran in it goes on until a plan is applied.
func openStation(dir string, builder closures.Builder, table parts, log *slog.Logger) (*station, error) {
	kept, err := store.Open(filepath.Join(dir, "closures"))
	if err != nil {
		return nil, fmt.Errorf("open state folder %q (--state names another): %w", dir, err)
	}
	s := &station{
		dir: dir, store: kept, log: log, board: &web.Board{Version: version, Began: time.Now()},
		builder: builder,
	}
	s.board.File = s.file.now
	s.site = &join.Site{
		Board: s.board, Log: log, Records: s.records, Refused: s.refused,
		Files: func(digest string) driver.Files { return kept.Kept(digestOf(digest)) },
		State: dir,
	}
	s.site.Places = places{table, s.site.Files}
	s.super, err = supervisor.Open(dir, supervisor.Options{
		Drivers: anyDrivers(), Files: s.site.Files, Wire: s.wireOf, Pin: s.pin, Unpin: kept.Unpin,
		OnEvent: s.event, Log: log,
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// apply has a pipeline run. It returns when what is new has held, or was put back.
func (s *station) apply(ctx context.Context, d *document, force bool) (supervisor.Report, error) {
	p, err := d.parse()
	if err != nil {
		return supervisor.Report{}, err
	}
	return s.applyPipeline(ctx, p, d, how{force: force})
}

// how a plan is applied.
type how struct {
	force bool // try again what did not hold, and make anew what was changed in the store
	other bool // not if it is the very plan that was applied last
}

// applyPipeline is apply for a document that was read already. One plan is applied at a time; when the
// supervisor refuses one, what was there goes on as it was.
func (s *station) applyPipeline(ctx context.Context, p *configs.Pipeline, d *document, how how) (supervisor.Report, error) {
	s.applying.Lock()
	defer s.applying.Unlock()
	if d.Closures == nil {
		if err := s.enclose(p, d); err != nil {
			return supervisor.Report{}, err
		}
	}
	if how.force {
		for _, c := range d.Closures {
			if err := s.store.Mend(digestOf(c.Digest)); err != nil {
				return supervisor.Report{}, err
			}
		}
	}
	stages, err := s.plan(p, d)
	if err != nil {
		return supervisor.Report{}, err
	}
	text, err := json.Marshal(d)
	if err != nil {
		return supervisor.Report{}, fmt.Errorf("keep the plan: %w", err)
	}
	settle, err := s.settings(p)
	if err != nil {
		return supervisor.Report{}, err
	}
	identity := d.identity()
	if how.other && identity == s.last {
		s.file.asBefore()
		s.statusLine()
		return supervisor.Report{}, settle(false)
	}
	s.last = identity
	before := s.running
	s.begin(running{p, stages})
	report, err := s.super.Apply(ctx, supervisor.Plan{Name: p.Name, Document: text, Stages: stages}, supervisor.ApplyOptions{Force: how.force})
	if err != nil {
		if before.pipeline != nil {
			s.begin(before)
		}
		return report, errors.Join(err, settle(false))
	}
	s.file.runs(d.Text, notAsTheFile(report))
	s.statusLine()
	if err := settle(true); err != nil {
		s.log.Error("change the settings of this program", "err", err)
	}
	s.tellGrants(p)
	s.tidy(ctx, p)
	return report, nil
}

// running is a plan whose results flow.
type running struct {
	pipeline *configs.Pipeline
	stages   []supervisor.Stage
}

// plan makes all stages of a pipeline, whole other systems at the end.
func (s *station) plan(p *configs.Pipeline, d *document) ([]supervisor.Stage, error) {
	s.useDrivers(p.Runtime)
	stages, err := s.join(p, d)
	if err != nil {
		return nil, err
	}
	guests, err := s.guests(p)
	return append(stages, guests...), err
}

// join makes the stages of a document. The models of stages in place are those of the store, so that
// another version has another digest, and the one before is still there to go back to.
func (s *station) join(p *configs.Pipeline, d *document) ([]supervisor.Stage, error) {
	kept := *p
	kept.Models = maps.Clone(p.Models)
	for _, name := range s.builder.InPlace(p) {
		c := p.Models[name]
		c.Model, c.Card = keptModel(d.Closures[name].Digest, c.Model), ""
		kept.Models[name] = c
	}
	stages, err := s.site.Plan(&kept, d.Closures, d.readFile)
	if err != nil {
		return nil, err
	}
	for i := range stages {
		if c, ok := d.Closures[stages[i].Name]; ok && stages[i].Files == nil {
			stages[i].Files = s.site.Files(c.Digest)
		}
	}
	return stages, nil
}

// begin has the results of a plan flow, and shows its stages.
func (s *station) begin(r running) {
	s.running = r
	for _, stage := range r.stages {
		s.kinds.Store(stage.Name, stage.Kind)
	}
	s.board.Describe(r.pipeline.Device, r.pipeline.Name)
	s.site.Begin(r.pipeline, r.stages, s.box)
	s.makeRoom(r.pipeline)
}

// tellGrants puts what each stage may reach into the audit log.
func (s *station) tellGrants(p *configs.Pipeline) {
	tell := func(stage, name, address string) {
		if err := s.super.Audit("grant", map[string]string{"stage": stage, "name": name, "address": address}); err != nil {
			s.log.Error("grant is not in the audit log", "stage", stage, "err", err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.Sinks)) {
		endpoints, _ := join.SinkEndpoints(p.Sinks[name]) // they were made before
		for _, e := range endpoints {
			tell(name, e.Name, e.Address)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.Sources)) {
		endpoints, _ := join.SourceEndpoints(p.Sources[name])
		for _, e := range endpoints {
			tell(name, e.Name, e.Address)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.Runtime.Guests)) {
		grants := p.Runtime.Guests[name].Grants
		for _, grant := range slices.Sorted(maps.Keys(grants)) {
			tell(name, grant, grants[grant])
		}
	}
}

// tidy takes away the closures that no stage needs any more, and what engines keep of them.
func (s *station) tidy(ctx context.Context, p *configs.Pipeline) {
	freed, err := s.store.Collect()
	if err != nil {
		s.log.Warn("closures that nobody needs are not taken away", "err", err)
		return
	}
	if freed.Closures > 0 {
		s.log.Info("closures that nobody needs were taken away", "closures", freed.Closures, "bytes", freed.Bytes)
	}
	pins, err := s.store.Pins()
	if err != nil {
		return // Collect has read them just now
	}
	keep := func(digest string) bool {
		return slices.Contains(slices.Collect(maps.Values(pins)), digestOf(digest))
	}
	for _, box := range slices.Sorted(maps.Keys(s.site.Drivers)) {
		engine, collects := s.site.Drivers[box].(interface {
			Collect(ctx context.Context, keep func(digest string) bool) error
		})
		used := slices.ContainsFunc(closures.Names(p), func(stage string) bool { return p.BoxOf(stage) == box })
		if !collects || !used {
			continue
		}
		if err := engine.Collect(ctx, keep); err != nil {
			s.log.Warn("images that nobody needs are not taken away", "box", box, "err", err)
		}
	}
}

// anyDrivers are for boxes that were started by an earlier supervisor, whatever its plan said.
func anyDrivers() map[string]driver.Driver {
	drivers := boxDrivers(configs.Runtime{})
	drivers[configs.Inline] = &inline.Driver{}
	return drivers
}

// useDrivers makes the drivers of a plan, unless they are those of the plan before.
func (s *station) useDrivers(r configs.Runtime) {
	r.Default, r.Stages = "", nil
	if s.site.Drivers == nil || !reflect.DeepEqual(r, s.engines) {
		s.engines, s.site.Drivers = r, boxDrivers(r)
	}
}

// enclose makes the closures of all stages, and notes them in the document.
func (s *station) enclose(p *configs.Pipeline, d *document) error {
	made, err := s.builder.KeepAll(p, s.store, "next")
	if err != nil {
		return err
	}
	d.Closures = map[string]join.Closure{}
	for name, stage := range made {
		d.Closures[name] = join.Closure{Digest: "sha256:" + string(stage.Digest), GPU: stage.GPU}
	}
	return nil
}

// close lets go of the state folder.
func (s *station) close() error { return errors.Join(s.super.Close(), s.site.Close()) }

// wireOf makes the wire of a stage of an earlier plan.
func (s *station) wireOf(text json.RawMessage, stage string) (supervisor.Wire, error) {
	d, err := readDocument(text)
	if err != nil {
		return nil, err
	}
	p, err := d.parse()
	if err != nil {
		return nil, err
	}
	stages, err := s.join(p, d)
	if err != nil {
		return nil, err
	}
	for _, st := range stages {
		if st.Name == stage {
			return st.Wire, nil
		}
	}
	return nil, fmt.Errorf("the plan of before has no stage %q", stage)
}

func (s *station) pin(name, digest string) error {
	return s.store.Pin(name, digestOf(digest))
}

// digestOf takes the algorithm off a digest.
func digestOf(text string) closure.Digest { return closure.Digest(strings.TrimPrefix(text, "sha256:")) }

// records is where a stage's log records, which name the stage, go: to the program's log and to the
// stage's own, whose lines have times already.
func (s *station) records(stage string) *slog.Logger {
	timeless := func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return redact(groups, a)
	}
	own := slog.NewTextHandler(s.super.Log(stage), &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: timeless})
	return slog.New(slog.NewMultiHandler(s.log.Handler(), own))
}

// event tells the board, and whoever publishes statuses, of a stage that cannot speak for itself.
func (s *station) event(e supervisor.Event) {
	stage := e.Fields["stage"]
	kind, ok := s.kinds.Load(stage)
	if !ok || e.Name != supervisor.EndedBox && e.Name != supervisor.StartFailed {
		return
	}
	status := pipeline.Status{Stage: stage, State: pipeline.StateOffline, Reason: pipeline.RedactText(e.Fields["why"]), Since: e.Time}
	if kind == web.Capture {
		status.Source = stage
	}
	s.site.Report(status)
}

// box says for the board how a stage runs.
func (s *station) box(stage string) web.Box { return s.boxes.of(s.super, stage) }

// boxStates are the supervisor's states, asked at most once a second: engines take their time to measure.
type boxStates struct {
	mu    sync.Mutex
	at    time.Time
	known map[string]supervisor.State
}

func (b *boxStates) of(from *supervisor.Supervisor, stage string) web.Box {
	b.mu.Lock()
	defer b.mu.Unlock()
	if time.Since(b.at) > time.Second {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		b.known, b.at = map[string]supervisor.State{}, time.Now()
		for _, st := range from.List(ctx) {
			b.known[st.Stage] = st
		}
	}
	st := b.known[stage]
	box := web.Box{
		In: st.Driver, ID: st.Box, Restarts: st.Restarts, CPU: time.Duration(st.CPU * float64(time.Second)), Memory: st.Memory,
		Received: st.Received, Sent: st.Sent,
	}
	if st.Last != nil {
		box.Reason = st.Last.Reason
	}
	return box
}

// refusals keeps what a stage tries again and again from filling the audit log: one record a minute
// for each address, with how many there were.
type refusals struct {
	mu   sync.Mutex
	seen map[string]*refusal
}

type refusal struct {
	at time.Time
	n  int
}

const (
	refusalEvery = time.Minute
	mostRefusals = 256
)

func (r *refusals) due(key string, now time.Time) (count int, due bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	one := r.seen[key]
	if one == nil {
		if r.seen == nil || len(r.seen) >= mostRefusals {
			r.seen = map[string]*refusal{}
		}
		one = &refusal{}
		r.seen[key] = one
	}
	one.n++
	if now.Sub(one.at) < refusalEvery {
		return 0, false
	}
	count, one.n, one.at = one.n, 0, now
	return count, true
}

// refused notes a connection that a stage asked for without a grant.
func (s *station) refused(stage, address string, _ error) {
	address = pipeline.RedactText(address)
	count, due := s.refusals.due(stage+" "+address, time.Now())
	if !due {
		return
	}
	s.log.Warn("connection refused: the stage has no grant for it", "stage", stage, "address", address, "times", count)
	err := s.super.Audit("dial_refused", map[string]string{"stage": stage, "address": address, "times": fmt.Sprint(count)})
	if err != nil {
		s.log.Error("refusal is not in the audit log", "err", err)
	}
}

// camerasAProcessor is how many cameras in boxes one processor of this process is for: carrying 1080p30
// takes about 4 % of it.
const camerasAProcessor = 8

// makeRoom sets how many processors Go uses for a plan. GOMAXPROCS in the environment stays as it is.
//
// Receiving and publishing are to go on while stages in place are in C: each decoder and each model
// holds a processor there for milliseconds, longer than the scheduler takes to notice, so it gets as
// many more as there are such stages. Without any, this process only carries bytes, a little at a time,
// and each further processor costs more in looking for work than it does: one for that, one for what
// takes long, as hashing does, and one of the machine's left to the stages.
func (s *station) makeRoom(p *configs.Pipeline) {
	if os.Getenv("GOMAXPROCS") != "" {
		return
	}
	inC := 0
	for name := range p.Sources {
		if p.BoxOf(name) == configs.Inline {
			inC++
		}
	}
	for name := range p.Models {
		if p.BoxOf(name) == configs.Inline {
			inC++
		}
	}
	processors := runtime.NumCPU() + inC
	if inC == 0 {
		processors = max(1, min(runtime.NumCPU()-1, 2+len(p.Sources)/camerasAProcessor))
	}
	runtime.GOMAXPROCS(processors)
}

var errNoPlan = errors.New("no plan was accepted yet: name a pipeline file")
