package join

import (
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"sightline/models"
	"sightline/models/events"
	"sightline/pipeline"
	"sightline/runtime/durable"
)

const (
	// tick is how often events are looked at that nothing comes for any more.
	tick = time.Second
	// keepEvery is how often what was seen since the last event is kept.
	keepEvery = time.Minute
)

// observer makes the events of one model, and keeps what it knows in a file, so that they are right across
// restarts: before an event goes anywhere, the state behind it is on disk, with the event itself.
type observer struct {
	file string // empty: nothing is kept
	log  *slog.Logger

	underway underway // made, and not safe in front of every sink yet

	mu      sync.Mutex // held from an event's making until it is on its way, which keeps their order
	rule    events.Rule
	decider *events.Decider
	changed bool // results were seen since kept
	kept    time.Time
	failed  bool // the last time: the disk does not take it
	odd     pipeline.Seldom
}

// underway are events on their way.
type underway struct {
	mu   sync.Mutex
	list []pipeline.Event
}

// add takes events, and returns what to call when one of them is safe everywhere.
func (f *underway) add(made []pipeline.Event) (landed func(id string)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = append(f.list, made...)
	return func(id string) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.list = slices.DeleteFunc(f.list, func(e pipeline.Event) bool { return e.ID == id })
	}
}

func (f *underway) all() []pipeline.Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.list)
}

// memory is what an observer keeps.
type memory struct {
	State json.RawMessage  `json:"state"`
	Last  []pipeline.Event `json:"last,omitempty"` // on their way when this was written
}

// newObserver goes on from what was kept. again are events that may have got lost on their way.
func newObserver(folder, model string, rule events.Rule, log *slog.Logger) (o *observer, again []pipeline.Event) {
	o = &observer{rule: rule, decider: events.New(rule), log: log.With("stage", model), kept: time.Now()}
	if folder == "" {
		return o, nil
	}
	o.file = filepath.Join(folder, model+".json")
	var m memory
	err := durable.ReadJSON(o.file, 2*events.MaxState, &m)
	if err == nil {
		err = o.decider.Restore(m.State)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		o.log.Warn("what was known of events cannot be read: they begin anew", "err", err)
	}
	return o, m.Last
}

// obey changes the rule.
func (o *observer) obey(rule events.Rule) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if rule == o.rule {
		return
	}
	state, err := o.decider.State()
	next := events.New(rule)
	if err == nil {
		err = next.Restore(state)
	}
	if err != nil {
		o.log.Warn("events begin anew", "err", err)
	}
	o.rule, o.decider = rule, next
}

// hand takes events to where they go, and calls landed for each that is safe there.
type hand func(made []pipeline.Event, landed func(id string))

// observe calls make on the decider and, when that gives events, keeps them and hands them on.
func (o *observer) observe(make func(*events.Decider) []pipeline.Event, to hand) {
	o.mu.Lock()
	defer o.mu.Unlock()
	made := make(o.decider)
	landed := o.underway.add(made)
	if since := time.Since(o.kept); len(made) > 0 || o.changed && since > keepEvery || o.failed && since >= tick {
		o.keep()
	}
	to(made, landed)
}

// keep writes the state, with the events that are on their way. What the disk does not take is tried again
// as time passes. o.mu is held.
func (o *observer) keep() {
	if o.file == "" {
		return
	}
	o.changed, o.kept = false, time.Now()
	state, err := o.decider.State()
	if err == nil {
		err = os.MkdirAll(filepath.Dir(o.file), 0o700)
	}
	if err == nil {
		err = durable.WriteJSON(o.file, memory{state, o.underway.all()})
	}
	if err == nil && o.failed {
		o.log.Info("what is known of events is kept again")
	}
	if o.failed = err != nil; !o.failed {
		return
	}
	if n, tell := o.odd.Due(time.Now(), 1); tell {
		o.log.Error("what is known of events is not kept: after a restart they begin anew", "err", err, "since_last", n)
	}
}

// close keeps what is known at the end.
func (o *observer) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.keep()
}

// observed brings observers in line with the models of a pipeline. The last events of a model that is gone
// go where they went before, as routed says. h.mu is not held: it is taken while an observer works, and
// never the other way round. One plan begins at a time.
func (h *Hub) observed(folder string, all map[string]models.Config, still func(source string) bool, routed routes) {
	h.mu.Lock()
	before := h.observers
	h.mu.Unlock()
	after := map[string]*observer{}
	var again [][]pipeline.Event
	var names []string
	for name, c := range all {
		if c.Events == nil {
			continue
		}
		rule := events.Rule{Agree: c.Events.Agree, Of: c.Events.Of, Hold: c.Events.Hold}
		o, known := before[name]
		if !known {
			var lost []pipeline.Event
			o, lost = newObserver(folder, name, rule, h.log)
			again, names = append(again, lost), append(names, name)
		}
		o.obey(rule)
		after[name] = o
	}
	h.mu.Lock()
	h.observers, h.still = after, still
	h.mu.Unlock()
	for i, name := range names {
		o := after[name]
		h.hand(name)(again[i], o.underway.add(again[i]))
	}
	for name, o := range before {
		if after[name] != o {
			o.end(func(made []pipeline.Event, landed func(string)) { handTo(routed.results[name], made, landed) })
		}
	}
	for name, o := range after {
		wanted := func(source, region string) bool { return watches(all[name], source, region) }
		o.observe(func(d *events.Decider) []pipeline.Event { return d.Keep(wanted) }, h.hand(name))
	}
}

// end ends all events of a model that is gone or makes none any more.
func (o *observer) end(to hand) {
	none := func(string, string) bool { return false }
	o.observe(func(d *events.Decider) []pipeline.Event { return d.Keep(none) }, to)
	if o.file == "" {
		return
	}
	if err := durable.Remove(o.file); err != nil {
		o.log.Warn("what is known of events stays", "err", err)
	}
}

// watches tells whether a model looks at a region of a source.
func watches(c models.Config, source, region string) bool {
	if !slices.Contains(c.Inputs, source) {
		return false
	}
	_, named := c.Regions[region]
	return named || region == "" && len(c.Regions) == 0
}

// hand returns what takes the events of a model to every sink that wants them.
func (h *Hub) hand(model string) hand {
	return func(made []pipeline.Event, landed func(id string)) { handTo(h.targets(model), made, landed) }
}

func handTo(all []taker, made []pipeline.Event, landed func(id string)) {
	var to []taker
	for _, t := range all {
		if t.events {
			to = append(to, t)
		}
	}
	for i := range made {
		id := made[i].ID
		one := countdown(len(to)+1, func() { landed(id) })
		for _, t := range to {
			mine := made[i]
			t.outlet.way().Put(pipeline.Message{Event: &mine}, one)
		}
		one()
	}
}

// pass lets time pass for events, until the program ends.
func (h *Hub) pass() {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	last := time.Now()
	for {
		select {
		case <-ticker.C:
		case <-h.ended:
			return
		}
		now := time.Now()
		elapsed := now.Sub(last) // monotonic: no jump of the clock counts
		last = now
		h.mu.Lock()
		still := h.still
		all := make(map[string]*observer, len(h.observers))
		for name, o := range h.observers {
			all[name] = o
		}
		h.mu.Unlock()
		for name, o := range all {
			o.observe(func(d *events.Decider) []pipeline.Event { return d.Pass(elapsed, still) }, h.hand(name))
		}
	}
}

// eventsOf makes the events that a result leads to. result is called when they are on disk, before they
// go anywhere.
func (h *Hub) eventsOf(model string, r *pipeline.Result, result func()) {
	h.mu.Lock()
	o := h.observers[model]
	h.mu.Unlock()
	if o == nil {
		result()
		return
	}
	take := func(d *events.Decider) []pipeline.Event {
		o.changed = true
		return d.Take(r)
	}
	o.observe(take, func(made []pipeline.Event, landed func(string)) {
		result()
		h.hand(model)(made, landed)
	})
}
