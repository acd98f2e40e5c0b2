package join

import (
	"context"
	"errors"
	"net"
	"time"

	"sightline/models"
	"sightline/pipeline"
	"sightline/pipeline/wire"
	"sightline/runtime/inline"
	"sightline/runtime/supervisor"
	"sightline/sinks"
	"sightline/sources"
)

// Places makes stages that run in the supervisor itself.
type Places interface {
	Capture(env pipeline.Env, c sources.Config, links []*pipeline.FrameLink) (pipeline.Stage, error)
	Classify(env pipeline.Env, c models.Config, in *pipeline.Inbox, links []*pipeline.FrameLink, out *pipeline.ResultLink) (pipeline.Stage, error)
	Publish(env pipeline.Env, c sinks.Config) (func(pipeline.Intake) pipeline.Stage, error)
}

// placed is a stage in the supervisor itself.
type placed struct {
	kind   wire.Kind
	name   string
	stats  *pipeline.Stats
	outlet *outlet // of a publish stage
	hub    *Hub
	driver inline.Driver // runs this version of the stage
}

var _ supervisor.Wire = (*placed)(nil)

var errInPlace = errors.New("a stage in place has no wire")

// Serve implements supervisor.Wire; it is not called.
func (p *placed) Serve(_ context.Context, conn net.Conn, _ supervisor.BoxInfo) error {
	return errors.Join(errInPlace, conn.Close())
}

// Stop implements supervisor.Wire; it is not called.
func (p *placed) Stop(context.Context, time.Duration) error { return errInPlace }

// Health implements supervisor.Wire.
func (p *placed) Health() supervisor.Health {
	said := p.hub.board.Status(p.name)
	h := supervisor.Health{Beat: time.Now(), Ready: said.State == pipeline.StateOnline, Trouble: said.Reason}
	h.In, h.Out = flow(p.kind, p.stats.Snapshot())
	return h
}

// Samples returns the stage's statistics, with those of what waits for it.
func (p *placed) Samples() []pipeline.Sample {
	samples := p.stats.Snapshot()
	if p.outlet != nil {
		samples = add(samples, p.outlet.stats.Snapshot())
	}
	return samples
}
