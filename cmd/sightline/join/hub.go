// Package join is where pipeline and runtime meet: it joins the stages of a pipeline, wherever they
// run, by links, and speaks the wire with those in boxes.
package join

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"sightline/pipeline"
	"sightline/pipeline/wire"
	"sightline/web"
)

// waiting is how many results the link out of a classify stage in place holds before it blocks.
const waiting = 256

// Hub holds the links between stages. They outlive the stages: one that is replaced or moves to
// another box finds them as they were. Its methods may be called from any goroutine.
type Hub struct {
	board *web.Board
	log   *slog.Logger
	ready chan struct{} // closed when the first routes are there
	ended chan struct{} // closed at the end

	mu         sync.Mutex
	inboxes    map[string]*inbox               // of classify stages in place, by name
	transit    map[link]*crossing              // frames to classify stages in boxes
	collectors map[string]*pipeline.ResultLink // out of classify stages in place, by name
	outlets    map[string]*outlet              // ways to publish stages, by name
	observers  map[string]*observer            // by model, of those that make events
	still      func(source string) bool        // names sources that may send nothing because nothing changes
	routes     routes
}

// routes say what goes where.
type routes struct {
	results map[string][]taker   // by model: who takes its results and events
	reports map[string][]*outlet // by source: who takes its status
}

// taker is a publish stage, and what of a model goes to it.
type taker struct {
	outlet          *outlet
	results, events bool
}

// link is from a source to a model.
type link struct{ source, model string }

// inbox is what a classify stage in place works with.
type inbox struct {
	stats *pipeline.Stats
	inbox *pipeline.Inbox
	links map[string]*pipeline.FrameLink // by source
}

// crossing is the way of frames into a box. What is dropped on it counts for the model.
type crossing struct {
	stats  *pipeline.Stats
	output *wire.FrameOutput
	direct wire.Direct // from box to box, where both are under this kernel
}

// NewHub returns a hub without links that shows every result and status on the board.
func NewHub(board *web.Board, log *slog.Logger) *Hub {
	h := &Hub{
		board: board, log: log, ready: make(chan struct{}), ended: make(chan struct{}), inboxes: map[string]*inbox{}, transit: map[link]*crossing{},
		collectors: map[string]*pipeline.ResultLink{}, outlets: map[string]*outlet{},
	}
	go h.pass()
	return h
}

// Route says what goes where from now on, and returns what went where until then.
func (h *Hub) Route(r routes) (before routes) {
	h.mu.Lock()
	defer h.mu.Unlock()
	before, h.routes = h.routes, r
	if !closed(h.ready) {
		close(h.ready)
	}
	return before
}

// inbox returns what the classify stage of a name works with while it runs in place.
func (h *Hub) inbox(model string) *inbox {
	h.mu.Lock()
	defer h.mu.Unlock()
	in, ok := h.inboxes[model]
	if !ok {
		stats := pipeline.NewStats()
		in = &inbox{stats: stats, inbox: pipeline.NewInbox(model, stats), links: map[string]*pipeline.FrameLink{}}
		h.inboxes[model] = in
	}
	return in
}

// into returns the link from a source into the inbox of a classify stage in place.
func (h *Hub) into(source, model string) *pipeline.FrameLink {
	in := h.inbox(model)
	h.mu.Lock()
	defer h.mu.Unlock()
	l, ok := in.links[source]
	if !ok {
		l = in.inbox.Link(source)
		in.links[source] = l
	}
	return l
}

// crossing returns the way of frames from a source to a classify stage in a box.
func (h *Hub) crossing(source, model string) *crossing {
	h.mu.Lock()
	defer h.mu.Unlock()
	at := link{source, model}
	c, ok := h.transit[at]
	if !ok {
		stats := pipeline.NewStats()
		c = &crossing{stats: stats, output: wire.NewFrameOutput(source, model, stats)}
		h.transit[at] = c
	}
	return c
}

// toward returns where the frames of a source for a model go.
func (h *Hub) toward(source, model string, boxed bool) *pipeline.FrameLink {
	if boxed {
		return h.crossing(source, model).output.Link()
	}
	return h.into(source, model)
}

// outlet returns the way to a publish stage.
func (h *Hub) outlet(sink string) *outlet {
	h.mu.Lock()
	defer h.mu.Unlock()
	o, ok := h.outlets[sink]
	if !ok {
		o = newOutlet(sink)
		h.outlets[sink] = o
	}
	return o
}

// collector returns the link out of a classify stage in place. What is sent on it goes where the model's
// results go, for as long as the program runs.
func (h *Hub) collector(model string) *pipeline.ResultLink {
	h.mu.Lock()
	defer h.mu.Unlock()
	l, ok := h.collectors[model]
	if !ok {
		l = pipeline.NewResultLink(waiting)
		h.collectors[model] = l
		go func() {
			ctx := context.Background()
			var results []*pipeline.Result
			for {
				results, _ = l.Receive(ctx, nil, waiting, results[:0])
				for _, r := range results {
					_ = h.deliver(ctx, model, pipeline.Message{Result: r}, func() {}) // ctx does not end
				}
			}
		}()
	}
	return l
}

// Report takes a status of a stage to the board and to whoever publishes it.
func (h *Hub) Report(s pipeline.Status) {
	h.board.Report(s)
	h.mu.Lock()
	outlets := h.routes.reports[s.Source]
	h.mu.Unlock()
	for _, o := range outlets {
		o.way().Report(s)
	}
}

// deliver takes a result of a model to the board and to every sink of the model. taken is called when
// it is safe in front of all of them. It waits for the first routes.
func (h *Hub) deliver(ctx context.Context, model string, m pipeline.Message, taken func()) error {
	select {
	case <-h.ready:
	case <-ctx.Done():
		return ctx.Err()
	}
	if m.Result == nil {
		taken()
		return nil
	}
	_ = h.board.Deliver(ctx, []pipeline.Message{m}) // never fails
	takers := h.targets(model)
	one := countdown(len(takers)+1, taken)
	h.eventsOf(model, m.Result, func() {
		for _, to := range takers {
			if !to.results {
				one()
				continue
			}
			mine := *m.Result // whoever publishes it writes into what it has got
			to.outlet.way().Put(pipeline.Message{Result: &mine}, one)
		}
	})
	one()
	return nil
}

func (h *Hub) targets(model string) []taker {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.routes.results[model]
}

// countdown returns what calls done when it was called n times.
func countdown(n int, done func()) func() {
	var left atomic.Int64
	left.Store(int64(n))
	return func() {
		if left.Add(-1) == 0 {
			done()
		}
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// close closes the ways to publish stages.
func (h *Hub) close() error {
	close(h.ended)
	h.mu.Lock()
	outlets, observers := slices.Collect(maps.Values(h.outlets)), slices.Collect(maps.Values(h.observers))
	h.mu.Unlock()
	var failed error
	for _, o := range outlets {
		if closed(o.opened) {
			failed = errors.Join(failed, o.queue.Close())
		}
	}
	for _, o := range observers { // now that their events are safe
		o.close()
	}
	return failed
}
