package join

import (
	"errors"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"sync"

	"sightline/cmd/program"
	"sightline/configs"
	"sightline/pipeline"
	"sightline/pipeline/wire"
	"sightline/runtime/driver"
	"sightline/runtime/supervisor"
	"sightline/sinks"
	"sightline/web"
)

// Site is where pipelines are put together: its hub, and the stages that were made so far. A stage
// that comes again as it was keeps its wire.
type Site struct {
	Board   *web.Board
	Places  Places
	Drivers map[string]driver.Driver             // by the kind of box
	Files   func(digest string) driver.Files     // closures by digest
	Log     *slog.Logger                         // of the program
	Records func(stage string) *slog.Logger      // of a stage in a box
	Refused func(stage, address string, e error) // a dial that was not granted
	State   string                               // folder of what outlives the program; empty: nothing does

	hub  *Hub
	once sync.Once

	mu    sync.Mutex
	made  map[string]joined   // by stage and settings
	known map[string][]string // of made by stage, oldest first
}

// joined is a stage that is joined to the others.
type joined interface {
	supervisor.Wire
	Samples() []pipeline.Sample
}

// resultsLink is the name of the one results link of a stage.
const resultsLink = "results"

func (s *Site) prepare() {
	s.once.Do(func() {
		s.hub = NewHub(s.Board, s.Log)
		s.made, s.known = map[string]joined{}, map[string][]string{}
	})
}

// Report shows what is known of a stage that cannot speak for itself.
func (s *Site) Report(status pipeline.Status) {
	s.prepare()
	s.hub.Report(status)
}

// Closure is what a stage in a box consists of.
type Closure struct {
	Digest string `json:"digest"`        // "sha256:…"
	GPU    bool   `json:"gpu,omitempty"` // the box must be given the GPU
}

// Plan makes the stages of a pipeline, and joins them. closures are those of stages in boxes, by name;
// read reads the files that their sections name.
func (s *Site) Plan(p *configs.Pipeline, closures map[string]Closure, read func(name string) ([]byte, error)) ([]supervisor.Stage, error) {
	s.prepare()
	b := &planner{Site: s, p: p, closures: closures, encoder: program.Encoder{ReadFile: read}}
	for _, name := range slices.Sorted(maps.Keys(p.Sinks)) {
		b.add(wire.Publish, name, b.publish)
	}
	for _, name := range slices.Sorted(maps.Keys(p.Models)) {
		b.add(wire.Classify, name, b.classify)
	}
	for _, name := range slices.Sorted(maps.Keys(p.Sources)) {
		b.add(wire.Capture, name, b.capture)
	}
	return b.stages, errors.Join(b.problems...)
}

// Begin makes a plan that was accepted the one whose results flow and whose stages are shown.
func (s *Site) Begin(p *configs.Pipeline, stages []supervisor.Stage, box func(stage string) web.Box) {
	r := routes{map[string][]taker{}, map[string][]*outlet{}}
	for _, sink := range slices.Sorted(maps.Keys(p.Sinks)) {
		o := s.hub.outlet(sink)
		c := p.Sinks[sink]
		o.open(s.folder("spool"), c, s.Log)
		for _, model := range c.Inputs {
			r.results[model] = append(r.results[model], taker{o, c.Sends(sinks.SendResults), c.Sends(sinks.SendEvents)})
			for _, source := range p.Models[model].Inputs {
				if !slices.Contains(r.reports[source], o) {
					r.reports[source] = append(r.reports[source], o)
				}
			}
		}
	}
	strays(s.folder("spool"), p, s.Log)
	before := s.hub.Route(r)
	s.hub.observed(s.folder("events"), p.Models, func(source string) bool {
		return p.Sources[source].Motion != nil && s.Board.Online(source)
	}, before)
	var shown []web.Stage
	for _, stage := range stages {
		if j, ok := stage.Wire.(joined); ok {
			shown = append(shown, web.Stage{Name: stage.Name, Kind: stage.Kind, Samples: j.Samples, Box: func() web.Box { return box(stage.Name) }})
		}
	}
	s.Board.Show(shown)
}

// folder returns a folder of what outlives the program; empty when nothing does.
func (s *Site) folder(name string) string {
	if s.State == "" {
		return ""
	}
	return filepath.Join(s.State, name)
}

// Close makes what waits for upstreams safe. The stages have ended, or left.
func (s *Site) Close() error {
	s.prepare()
	return s.hub.close()
}
