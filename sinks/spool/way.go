package spool

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"sightline/pipeline"
	"sightline/sinks"
)

// limited is what a way is made of.
type limited interface {
	Queue
	Limiter
}

// Options say what a way is made of.
type Options struct {
	Folder string // of the queue on disk; empty: it is in memory
	Config sinks.Spool
	Stage  string          // the publish stage it leads to
	Stats  *pipeline.Stats // counts what waits and what is let go
	Log    *slog.Logger
}

// Way leads to one publish stage: a queue, with the newest statuses beside it. Whoever publishes may
// come and go; what it has not acknowledged stays. Its methods may be called from any goroutine, except
// that Peek and Ack belong to whoever has entered.
type Way struct {
	options  Options
	queue    limited
	statuses pipeline.Statuses
	arrived  chan struct{}
	turn     chan struct{} // holds one token while somebody publishes
	meters   meters

	mu    sync.Mutex
	later []func() // to be called when what was put is safe
	busy  bool     // a goroutine sees to that
}

var _ pipeline.Intake = (*Way)(nil)

// Open makes a way, with what waits in its folder. A disk that does not take results is no error: it is
// logged, and they wait in memory until it does.
func Open(o Options) (*Way, error) {
	w := &Way{options: o, arrived: make(chan struct{}, 1), turn: make(chan struct{}, 1), meters: newMeters(o)}
	if o.Folder == "" {
		w.queue = &Memory{Config: o.Config, Lost: w.meters.lose}
		return w, nil
	}
	disk := &Disk{
		Folder: o.Folder, Config: o.Config, Delay: patience,
		Lost: w.meters.lose, Damaged: w.meters.damaged, State: w.meters.state,
	}
	if err := disk.Open(); err != nil {
		return nil, err
	}
	w.queue = disk
	if n, bytes := w.Size(); n > 0 {
		o.Log.Info("results of an earlier run wait for the upstream", "stage", o.Stage, "results", n, "bytes", bytes)
		signal(w.arrived)
	}
	w.meters.spooled(w.queue)
	return w, nil
}

// patience is how long a result waits for others to be synced with. What the upstream acknowledges
// sooner is never written, which spares the disk.
const patience = 100 * time.Millisecond

// Put appends a result or an event, which belongs to the way from then on. taken, which may be nil, is
// called, from any goroutine, once it is as safe as the queue can make it, or refused because it has no
// form: the sender may forget it then.
func (w *Way) Put(m pipeline.Message, taken func()) {
	if err := w.queue.Put(m); err != nil {
		w.meters.refuse(err)
		if taken != nil {
			taken()
		}
		return
	}
	w.meters.spooled(w.queue)
	signal(w.arrived)
	if taken != nil {
		w.whenSafe(taken)
	}
}

// whenSafe calls taken once everything that was put is safe.
func (w *Way) whenSafe(taken func()) {
	s, ok := w.queue.(Syncer)
	if !ok {
		taken()
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.later = append(w.later, taken)
	if !w.busy {
		w.busy = true
		go w.settle(s)
	}
}

// settle calls what waits for results to be safe until there is no more. Results that a disk does not
// take are as safe in memory as they can be; that has been told.
func (w *Way) settle(s Syncer) {
	for {
		w.mu.Lock()
		now := w.later
		w.later, w.busy = nil, len(now) > 0
		w.mu.Unlock()
		if len(now) == 0 {
			return
		}
		_ = s.Sync(context.Background())
		for _, taken := range now {
			taken()
		}
	}
}

// Sync waits until everything that was put is as safe as the queue can make it; its error says why that
// is not safe.
func (w *Way) Sync(ctx context.Context) error {
	if s, ok := w.queue.(Syncer); ok {
		return s.Sync(ctx)
	}
	return nil
}

// Report takes a status of a stage.
func (w *Way) Report(s pipeline.Status) {
	w.statuses.Put(s)
	signal(w.arrived)
}

// Enter waits for the turn to publish, and returns what ends it.
func (w *Way) Enter(ctx context.Context) (leave func(), err error) {
	select {
	case w.turn <- struct{}{}:
		signal(w.arrived)
		return sync.OnceFunc(func() {
			w.queue.Ack(0)
			<-w.turn
		}), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Arrived implements pipeline.Intake.
func (w *Way) Arrived() <-chan struct{} { return w.arrived }

// Statuses implements pipeline.Intake.
func (w *Way) Statuses(into []pipeline.Status) []pipeline.Status { return w.statuses.Take(into) }

// Peek implements pipeline.Intake.
func (w *Way) Peek(limit int, into []pipeline.Message) []pipeline.Message {
	return w.queue.Peek(limit, into)
}

// Ack implements pipeline.Intake.
func (w *Way) Ack(n int) {
	w.queue.Ack(n)
	w.meters.spooled(w.queue)
}

// Limit changes the limits, from the next result on.
func (w *Way) Limit(c sinks.Spool) { w.queue.Limit(c) }

// Size says how much waits, handed out or not.
func (w *Way) Size() (results int, bytes int64) { return w.queue.Size() }

// Close makes what waits safe and says how much that is. Nobody publishes any more.
func (w *Way) Close() error {
	n, bytes := w.Size()
	disk, ok := w.queue.(*Disk)
	log := w.options.Log.With("stage", w.options.Stage, "results", n, "bytes", bytes)
	switch {
	case n > 0 && ok:
		log.Info("results that the upstream has not taken wait for the next start")
	case n > 0:
		log.Warn("results that the upstream has not taken are lost: they were only in memory")
	}
	if !ok {
		return nil
	}
	if err := disk.Close(); err != nil {
		return fmt.Errorf("results for %s: %w", w.options.Stage, err)
	}
	return nil
}
