package join

import (
	"context"
	"encoding/json"
	"maps"
	"math"
	"slices"

	"sightline/models"
	"sightline/pipeline"
	"sightline/pipeline/grant"
	"sightline/pipeline/wire"
	"sightline/sinks"
)

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
