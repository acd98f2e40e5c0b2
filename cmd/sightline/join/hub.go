// Package join is where pipeline and runtime meet: it joins the stages of a pipeline, wherever they
// run, by links, and speaks the wire with those in boxes.
package join

import (
	"context"
	"log/slog"
	"slices"
	"sync"

	"sightline/pipeline"
	"sightline/pipeline/wire"
	"sightline/web"
)

// waiting is how many results a link to a publish stage holds before it blocks.
const waiting = 256

// Hub holds the links between stages. They outlive the stages: one that is replaced or moves to
// another box finds them as they were. Its methods may be called from any goroutine.
type Hub struct {
	board *web.Board
	log   *slog.Logger

	mu      sync.Mutex
	inboxes map[string]*inbox   // of classify stages in place, by name
	transit map[link]*crossing  // frames to classify stages in boxes
	outlets map[Target]*outlet  // ways to publish stages
	results map[string][]Target // by model: who takes its results
	reports map[string][]Target // by source: who takes its status
}

// Target is a publish stage, in place or in a box.
type Target struct {
	Sink  string
	Boxed bool
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

// outlet is the way of results and statuses to one publish stage.
type outlet struct {
	link   *pipeline.ResultLink // into a stage in place, or into the outbox
	outbox *wire.Outbox         // to a stage in a box; nil for one in place
}

// NewHub returns a hub without links that shows every result and status on the board.
func NewHub(board *web.Board, log *slog.Logger) *Hub {
	return &Hub{
		board: board, log: log,
		inboxes: map[string]*inbox{}, transit: map[link]*crossing{}, outlets: map[Target]*outlet{},
	}
}

// Route says who takes the results of each model, and the status of each source.
func (h *Hub) Route(results, reports map[string][]Target) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.results, h.reports = results, reports
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
func (h *Hub) outlet(t Target) *outlet {
	h.mu.Lock()
	defer h.mu.Unlock()
	o, ok := h.outlets[t]
	if !ok {
		o = &outlet{link: pipeline.NewResultLink(waiting)}
		if t.Boxed {
			o.outbox = wire.NewOutbox(nil)
			go h.carry(t, o)
		}
		h.outlets[t] = o
	}
	return o
}

// carry takes what stages in place say to a publish stage in a box, for as long as the program runs.
func (h *Hub) carry(t Target, o *outlet) {
	refused := func(err error) { h.log.Warn("result refused", "stage", t.Sink, "err", err) }
	_ = o.outbox.Feed(context.Background(), nil, o.link, refused) // ends with the program
}

// outputs are where the results of a model in place go: the board's link, and all who take them.
func (h *Hub) outputs(to []Target, watch *pipeline.ResultLink) []*pipeline.ResultLink {
	links := []*pipeline.ResultLink{watch}
	for _, t := range to {
		links = append(links, h.outlet(t).link)
	}
	return links
}

func (h *Hub) targets(model string) []Target {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.results[model]
}

// Report takes a status of a stage to the board and to whoever publishes it.
func (h *Hub) Report(s pipeline.Status) {
	h.board.Report(s)
	h.mu.Lock()
	sinks := h.reports[s.Source]
	h.mu.Unlock()
	for _, sink := range sinks {
		h.outlet(sink).link.Report(s)
	}
}

// deliver takes a message of a classify stage in a box to the board and to every sink of the model.
// taken is called when all of them have it for good.
func (h *Hub) deliver(ctx context.Context, model string, m pipeline.Message, taken func()) error {
	if m.Result == nil {
		taken()
		return nil
	}
	_ = h.board.Deliver(ctx, []pipeline.Message{m}) // never fails
	sinks := h.targets(model)
	var mu sync.Mutex
	left := len(sinks) + 1
	one := func() {
		mu.Lock()
		defer mu.Unlock()
		if left--; left == 0 {
			taken()
		}
	}
	one()
	for _, sink := range sinks {
		if err := h.outlet(sink).put(ctx, m, one); err != nil {
			return err
		}
	}
	return nil
}

// put hands a result on; it may be shared with other sinks, which only read it.
func (o *outlet) put(ctx context.Context, m pipeline.Message, taken func()) error {
	if o.outbox != nil {
		return o.outbox.Put(ctx, m, taken)
	}
	result := *m.Result // a stage in place writes into what it has got
	result.Predictions = slices.Clone(result.Predictions)
	if err := o.link.Send(ctx, &result); err != nil {
		return err
	}
	taken()
	return nil
}
