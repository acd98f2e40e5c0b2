package join

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"sync"

	"sightline/cmd/program"
	"sightline/configs"
	"sightline/models"
	"sightline/pipeline"
	"sightline/pipeline/grant"
	"sightline/pipeline/wire"
	"sightline/runtime/driver"
	"sightline/runtime/inline"
	"sightline/runtime/supervisor"
	"sightline/sinks"
	"sightline/sources"
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

func boxed(p *configs.Pipeline, stage string) bool { return p.BoxOf(stage) != configs.Inline }

// planner makes one plan.
type planner struct {
	*Site
	p        *configs.Pipeline
	closures map[string]Closure
	encoder  program.Encoder
	stages   []supervisor.Stage
	problems []error
}

// part is what one kind of stage is made of.
type part struct {
	section json.RawMessage
	secrets map[string]pipeline.Secret
	grants  []grant.Endpoint
	links   any                            // what tells its links from others
	place   func() (pipeline.Stage, error) // in the supervisor itself
	stats   *pipeline.Stats                // of a stage in place
	ends    wire.Ends                      // of a stage in a box
	outlet  *outlet
	cross   []*crossing
}

func (b *planner) add(kind wire.Kind, name string, make func(name string) (part, error)) {
	made, err := make(name)
	if err == nil {
		err = b.stage(kind, name, made)
	}
	if err != nil {
		b.problems = append(b.problems, fmt.Errorf("%s %s: %w", kind, name, err))
	}
}

func (b *planner) stage(kind wire.Kind, name string, m part) error {
	in := b.p.BoxOf(name)
	box := b.p.Runtime.Stages[name]
	st := supervisor.Stage{
		Name: name, Kind: string(kind), Grace: b.p.Grace, Settings: settings(kind, in != configs.Inline, b.p.Device, m),
		Limits: driver.Limits{Memory: int64(box.Memory), CPUs: box.CPUs, PIDs: box.PIDs},
	}
	if in != configs.Inline {
		if st.Driver = b.Drivers[in]; st.Driver == nil {
			return fmt.Errorf("there are no %s boxes in this program", in)
		}
		st.Program = []string{program.Path}
		c, ok := b.closures[name]
		if !ok {
			return errors.New("has no closure")
		}
		st.Files, st.GPU = b.Files(c.Digest), c.GPU
	}
	j, err := b.join(kind, name, in != configs.Inline, st.Settings, m)
	if err != nil {
		return err
	}
	if p, ok := j.(*placed); ok {
		st.Driver = &p.driver
	}
	st.Wire = j
	b.stages = append(b.stages, st)
	return nil
}

// join returns the stage as it was made before, or makes it.
func (b *planner) join(kind wire.Kind, name string, boxed bool, settings string, m part) (joined, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	at := name + " " + settings
	if j, ok := b.made[at]; ok {
		return j, nil
	}
	if !boxed {
		stage, err := m.place()
		if err != nil {
			return nil, err
		}
		run := func(string) inline.Function { return stage.Run }
		return b.keep(name, at, &placed{kind: kind, name: name, stats: m.stats, outlet: m.outlet, hub: b.hub, driver: inline.Driver{Run: run}}), nil
	}
	t := talk{
		kind: kind, name: name, complain: &complaints{log: b.Log, stage: name}, ends: m.ends, outlet: m.outlet, crossings: m.cross, hub: b.hub, records: b.Records(name),
		configuration: wire.Configuration{Device: b.p.Device, Section: m.section, Secrets: m.secrets},
		refused:       func(_, address string, err error) { b.Refused(name, address, err) },
	}
	for _, e := range m.grants {
		t.grants = append(t.grants, wire.Grant{Name: e.Name, Address: e.Address})
	}
	return b.keep(name, at, &boxWire{talk: t}), nil
}

// versions is how many versions of a stage are remembered: more than can be tried and put back while
// one of them runs.
const versions = 16

// keep remembers a version of a stage, in place of its oldest. s.mu is held.
func (s *Site) keep(name, at string, j joined) joined {
	s.made[at] = j
	s.known[name] = append(s.known[name], at)
	if list := s.known[name]; len(list) > versions {
		delete(s.made, list[0])
		s.known[name] = slices.Delete(list, 0, 1)
	}
	return j
}

// settings is a digest of all that a stage is told.
func settings(kind wire.Kind, boxed bool, device string, m part) string {
	h := sha256.New()
	say := func(v any) {
		if err := json.NewEncoder(h).Encode(v); err != nil {
			fmt.Fprintf(h, "%v", err) // cannot be: all of it is plain data
		}
	}
	say([]any{kind, boxed, device, m.section, m.grants, m.links})
	for _, name := range slices.Sorted(maps.Keys(m.secrets)) {
		io.WriteString(h, name+"\x00"+m.secrets[name].Reveal()+"\x00") //nolint:errcheck // a hash takes all
	}
	return hex.EncodeToString(h.Sum(nil))
}

func (b *planner) env(name string, stats *pipeline.Stats, grants []grant.Endpoint) pipeline.Env {
	env := pipeline.Env{Device: b.p.Device, Stage: name, Log: b.Records(name).With("stage", name), Stats: stats, Report: b.hub.Report}
	if len(grants) > 0 {
		env.Network = &grant.Network{Endpoints: grants}
	}
	return env
}

func (b *planner) publish(name string) (part, error) {
	c := b.p.Sinks[name]
	c.Send, c.Spool = nil, sinks.Spool{} // what stands in front of the stage sees to them
	m, err := encoded(b.encoder.Sink(c))
	if err != nil {
		return m, err
	}
	if m.grants, err = SinkEndpoints(c); err != nil {
		return m, err
	}
	m.outlet, m.stats = b.hub.outlet(name), pipeline.NewStats()
	m.ends.ResultsOut = map[string]*wire.Outbox{resultsLink: wire.NewOutbox(nil)}
	m.place = func() (pipeline.Stage, error) {
		stage, err := b.Places.Publish(b.env(name, m.stats, m.grants), c)
		return &publisher{outlet: m.outlet, stage: stage}, err
	}
	return m, nil
}

func (b *planner) classify(name string) (part, error) {
	c := b.p.Models[name]
	c.Events = nil // they are made of the results, behind the stage
	if cpus := b.p.Runtime.Stages[name].CPUs; c.Threads == 0 && cpus > 0 {
		c.Threads = int(math.Ceil(cpus)) // the stage sees all processors, but may not use them
	}
	m, err := encoded(b.encoder.Model(c))
	if err != nil {
		return m, err
	}
	if boxed(b.p, name) {
		m.links = c.Inputs
		m.ends.FramesOut, m.ends.Direct = map[string]*wire.FrameOutput{}, map[string]*wire.Direct{}
		for _, source := range c.Inputs {
			cross := b.hub.crossing(source, name)
			m.cross = append(m.cross, cross)
			m.ends.FramesOut[source], m.ends.Direct[source] = cross.output, &cross.direct
		}
		m.ends.ResultsIn = map[string]*wire.Inlet{resultsLink: {Deliver: b.deliverer(name, c)}}
		return m, nil
	}
	m.links = c.Inputs
	in := b.hub.inbox(name)
	m.stats = in.stats
	m.place = func() (pipeline.Stage, error) {
		var links []*pipeline.FrameLink
		for _, source := range c.Inputs {
			links = append(links, b.hub.into(source, name))
		}
		return b.Places.Classify(b.env(name, in.stats, nil), c, in.inbox, links, b.hub.collector(name))
	}
	return m, nil
}

// deliverer takes the messages of a classify stage in a box. What the stage may not say is gone.
func (b *planner) deliverer(name string, c models.Config) func(context.Context, pipeline.Message, func()) error {
	hub, may := b.hub, claimOf(b.p.Device, name, c)
	complain := &complaints{log: b.Log, stage: name}
	return func(ctx context.Context, m pipeline.Message, taken func()) error {
		if m.Result != nil {
			if err := may.result(m.Result); err != nil {
				complain.refused("result", err)
				taken()
				return nil
			}
		}
		return hub.deliver(ctx, name, m, taken)
	}
}

func (b *planner) capture(name string) (part, error) {
	c := b.p.Sources[name]
	m, err := encoded(b.encoder.Source(c))
	if err != nil {
		return m, err
	}
	if m.grants, err = SourceEndpoints(c); err != nil {
		return m, err
	}
	var consumers []target
	var links []*pipeline.FrameLink
	m.ends.FramesIn, m.ends.Direct = map[string]*pipeline.FrameLink{}, map[string]*wire.Direct{}
	for _, model := range slices.Sorted(maps.Keys(b.p.Models)) {
		if !slices.Contains(b.p.Models[model].Inputs, name) {
			continue
		}
		t := target{model, boxed(b.p, model)}
		link := b.hub.toward(name, model, t.Boxed)
		consumers, links = append(consumers, t), append(links, link)
		m.ends.FramesIn[model] = link
		if t.Boxed {
			m.ends.Direct[model] = &b.hub.crossing(name, model).direct
		}
	}
	m.links, m.stats = consumers, pipeline.NewStats()
	m.place = func() (pipeline.Stage, error) {
		return b.Places.Capture(b.env(name, m.stats, m.grants), c, links)
	}
	return m, nil
}

// target is a stage that takes frames.
type target struct {
	Stage string
	Boxed bool
}

func encoded(section json.RawMessage, secrets map[string]pipeline.Secret, err error) (part, error) {
	return part{section: section, secrets: secrets}, err
}

// SourceEndpoints are what a capture stage may reach.
func SourceEndpoints(c sources.Config) ([]grant.Endpoint, error) {
	if c.Local() {
		return nil, nil
	}
	if c.RTSP == nil {
		return nil, errors.New("no kind of source")
	}
	camera, err := grant.FromURL("camera", c.RTSP.URL, ports())
	camera.UDP = c.RTSP.Transport == "auto" || c.RTSP.Transport == "udp"
	return []grant.Endpoint{camera}, err
}

// SinkEndpoints are what a publish stage may reach.
func SinkEndpoints(c sinks.Config) ([]grant.Endpoint, error) {
	switch {
	case c.MQTT != nil:
		broker, err := grant.FromURL("broker", c.MQTT.URL, ports())
		return []grant.Endpoint{broker}, err
	case c.HTTP != nil:
		server, err := grant.FromURL("server", c.HTTP.URL, ports())
		return []grant.Endpoint{server}, err
	case c.JSONL != nil:
		return nil, nil
	}
	return nil, errors.New("no kind of sink")
}

// ports are those of addresses that name none.
func ports() map[string]string {
	return map[string]string{"rtsp": "554", "rtsps": "322", "mqtt": "1883", "mqtts": "8883", "http": "80", "https": "443"}
}
