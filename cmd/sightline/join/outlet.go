package join

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"sightline/configs"
	"sightline/pipeline"
	"sightline/pipeline/wire"
	"sightline/sinks"
	"sightline/sinks/spool"
)

// InMemory is the most bytes that may wait where there is no disk for them.
const InMemory = 16 << 20

// flying is the most results that are on their way to a publish stage in a box.
const flying = 64

// outlet is what stands in front of one publish stage, wherever that runs: a durable queue. It is opened
// with the first plan that is accepted.
type outlet struct {
	sink   string
	stats  *pipeline.Stats
	opened chan struct{} // closed when queue is there
	queue  *spool.Way
	// durable says that the queue is on disk.
	durable bool
}

func newOutlet(sink string) *outlet {
	return &outlet{sink: sink, stats: pipeline.NewStats(), opened: make(chan struct{})}
}

// open opens the queue, in a folder of its own unless the sink's upstream is a file, or gives it new
// limits. It is called by one goroutine at a time.
func (o *outlet) open(folder string, c sinks.Config, log *slog.Logger) {
	if closed(o.opened) {
		if !o.durable {
			c.Spool.MaxBytes = min(c.Spool.MaxBytes, InMemory)
		}
		o.queue.Limit(c.Spool)
		return
	}
	defer close(o.opened)
	options := spool.Options{Config: c.Spool, Stage: o.sink, Stats: o.stats, Log: log}
	if c.JSONL == nil && folder != "" {
		options.Folder = filepath.Join(folder, o.sink)
		var err error
		if o.queue, err = spool.Open(options); err == nil {
			o.durable = true
			return
		}
		log.Error("results wait in memory only, and do not outlive this program", "stage", o.sink, "err", err)
	}
	options.Folder, options.Config.MaxBytes = "", min(c.Spool.MaxBytes, InMemory)
	o.queue, _ = spool.Open(options) // fails for folders only
}

// way returns the queue, which is open.
func (o *outlet) way() *spool.Way {
	<-o.opened
	return o.queue
}

// enter waits for the queue and for the turn to publish from it.
func (o *outlet) enter(ctx context.Context) (*spool.Way, func(), error) {
	select {
	case <-o.opened:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	leave, err := o.queue.Enter(ctx)
	return o.queue, leave, err
}

// publisher is a publish stage in place. It publishes when its turn has come: not before the version of
// it that ran until then has ended.
type publisher struct {
	outlet *outlet
	stage  func(pipeline.Intake) pipeline.Stage
}

var _ pipeline.Stage = (*publisher)(nil)

// Run implements pipeline.Stage.
func (p *publisher) Run(ctx context.Context, stop <-chan struct{}) error {
	way, leave, err := p.outlet.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	return p.stage(way).Run(ctx, stop)
}

// carry takes what waits to a publish stage in a box, until ctx ends. What the box has not acknowledged
// then waits on.
func (o *outlet) carry(ctx context.Context, box *wire.Outbox, log *slog.Logger) {
	way, leave, err := o.enter(ctx)
	if err != nil {
		return
	}
	defer leave()
	defer box.Clear()
	c := carrier{way: way, box: box, log: log.With("stage", o.sink)}
	for ctx.Err() == nil {
		c.statuses(ctx)
		if !c.results(ctx) {
			select {
			case <-way.Arrived():
			case <-ctx.Done():
			}
		}
	}
}

// carrier is at work for one box.
type carrier struct {
	way   *spool.Way
	box   *wire.Outbox
	log   *slog.Logger
	batch []pipeline.Message
	news  []pipeline.Status
	odd   pipeline.Seldom
}

func (c *carrier) statuses(ctx context.Context) {
	c.news = c.way.Statuses(c.news[:0])
	for i := range c.news {
		c.put(ctx, pipeline.Message{Status: &c.news[i]}, nil)
	}
}

// results takes the next results to the box and waits until it has delivered them. It tells whether
// there were any.
func (c *carrier) results(ctx context.Context) bool {
	c.batch = c.way.Peek(flying, c.batch[:0])
	if len(c.batch) == 0 {
		return false
	}
	done := make(chan struct{})
	one := countdown(len(c.batch), sync.OnceFunc(func() { close(done) }))
	for _, m := range c.batch {
		c.put(ctx, m, one)
	}
	for {
		select {
		case <-done:
			c.way.Ack(len(c.batch))
			return true
		case <-c.way.Arrived():
			c.statuses(ctx)
		case <-ctx.Done():
			return true
		}
	}
}

// put hands a message to the box. One that has no form on the wire is done with.
func (c *carrier) put(ctx context.Context, m pipeline.Message, taken func()) {
	err := c.box.Put(ctx, m, taken)
	if err == nil || ctx.Err() != nil {
		return
	}
	if n, tell := c.odd.Due(time.Now(), 1); tell {
		c.log.Warn("message refused for good", "err", err, "since_last", n)
	}
	if taken != nil {
		taken()
	}
}

// strays logs whose results wait though the pipeline has no such sink.
func strays(folder string, p *configs.Pipeline, log *slog.Logger) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return // nothing waits
	}
	for _, e := range entries {
		if _, ok := p.Sinks[e.Name()]; !ok && e.IsDir() {
			log.Warn("results may wait for a sink that the pipeline does not have: they are delivered when it has it again",
				"sink", e.Name(), "folder", fmt.Sprintf("%q", filepath.Join(folder, e.Name())))
		}
	}
}
