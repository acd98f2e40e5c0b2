// Package events makes events of results: something is there as soon as enough results in a row agree on
// it, and it is gone when they have not for a while.
//
// A place is a source, or a region of one. Of each place the last results are kept, and at most one
// event is open:
//
//   - new, when at least Agree of the last Of results have the same class at top and no event is open.
//   - update, at most once in Hold and never twice in a second, when the best confidence has risen by a tenth.
//   - end, when the class has not been agreed on for Hold; or at once when another class is, provided
//     the event has lasted Hold; or when nothing comes from the place any more.
//
// Whether time has passed is judged by the host's clock when a result was made (Inferred) and, where
// that has jumped, by what the caller measured (Pass); capture times are only reported.
package events

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"sightline/pipeline"
)

// Rule says when something is an event.
type Rule struct {
	Agree int           // results that must have the same class at top, from 1
	Of    int           // of so many, the newest ones; from Agree to MaxOf
	Hold  time.Duration // how long an event lasts at least, and goes on without agreement
}

// The bounds of what a Decider takes and keeps.
const (
	MaxOf     = 1000
	maxPlaces = 1024 // results of further places make no events
	maxText   = 1024 // bytes of an id, a name or a class; results with longer ones make no events
	maxHold   = 366 * 24 * time.Hour
)

// Check says what is wrong with a rule.
func (r Rule) Check() error {
	switch {
	case r.Agree < 1 || r.Of > MaxOf || r.Agree > r.Of:
		return fmt.Errorf("agree %d of %d results: want 1 ≤ agree ≤ of ≤ %d", r.Agree, r.Of, MaxOf)
	case r.Hold < 0 || r.Hold > maxHold:
		return fmt.Errorf("hold %s: want 0s to %s", r.Hold, maxHold)
	}
	return nil
}

// Decider makes the events of one classify stage. It is a pure state machine: the same calls give the
// same events, in every program that goes on from the same State. It has no clock and no goroutine,
// and is called from one goroutine at a time.
type Decider struct {
	rule   Rule
	places map[where]*place
}

// where is what a place is known by.
type where struct{ source, region string }

// New returns a Decider that has seen nothing. A rule that Check refuses is a mistake of the program,
// and panics.
func New(rule Rule) *Decider {
	if err := rule.Check(); err != nil {
		panic("events: " + err.Error())
	}
	return &Decider{rule: rule, places: map[where]*place{}}
}

// Take takes note of the next result of the stage and returns what follows from it, in order; mostly
// nothing. Results of a place come in the order in which they were made. One that comes again changes
// nothing, nor does one without a usable identity: no id, or texts that are too long or not UTF-8.
// The result is not kept.
func (d *Decider) Take(r *pipeline.Result) []pipeline.Event {
	at := where{r.Source, r.Region}
	p := d.places[at]
	if !sound(r) || p == nil && len(d.places) >= maxPlaces {
		return nil
	}
	if p == nil {
		p = newPlace(d.rule.Of)
		d.places[at] = p
	}
	if !p.runs.fresh(r.ID) {
		return nil
	}
	p.step(r.Inferred)
	p.see(r)
	return p.decide(d.rule, r)
}

// Pass says that time has passed since the last call of Pass, by a clock that does not jump, and returns
// the events that end by it: those of places that nothing has come from for Hold longer than three
// times what is usual between two results there. Call it about once a second. still, if not nil,
// names sources that send nothing because nothing changes, such as one behind a motion gate: there an
// event goes on, unless its class was no longer agreed on before.
func (d *Decider) Pass(elapsed time.Duration, still func(source string) bool) []pipeline.Event {
	var out []pipeline.Event
	for _, at := range d.order() {
		p := d.places[at]
		if p.pass(d.rule, elapsed, still != nil && still(at.source)) {
			out = append(out, p.end(p.last)...)
			p.forget()
		}
	}
	return out
}

// Keep drops the places that are no longer wanted, as those of a source that was removed, and returns
// the ends of their events.
func (d *Decider) Keep(wanted func(source, region string) bool) []pipeline.Event {
	var out []pipeline.Event
	for _, at := range d.order() {
		if !wanted(at.source, at.region) {
			out = append(out, d.places[at].end(d.places[at].last)...)
			delete(d.places, at)
		}
	}
	return out
}

// Drop drops a source with all its regions, and returns the ends of their events.
func (d *Decider) Drop(source string) []pipeline.Event {
	return d.Keep(func(s, _ string) bool { return s != source })
}

// Open returns the newest message of every open event, in the order of sources and regions.
func (d *Decider) Open() []pipeline.Event {
	var out []pipeline.Event
	for _, at := range d.order() {
		if e := d.places[at].open; e != nil {
			out = append(out, e.event)
		}
	}
	return out
}

func (d *Decider) order() []where {
	return slices.SortedFunc(maps.Keys(d.places), func(a, b where) int {
		if a.source != b.source {
			return compare(a.source, b.source)
		}
		return compare(a.region, b.region)
	})
}

func compare(a, b string) int {
	if a < b {
		return -1
	}
	return 1 // never equal: they are keys
}

// sound tells whether a result can be told from others, and kept.
func sound(r *pipeline.Result) bool {
	texts := [...]string{r.ID, r.Device, r.Source, r.Region, r.Stage, r.Model.Name, r.Model.Version, r.Model.Digest, r.Provider, ""}
	if r.Top != nil {
		texts[len(texts)-1] = r.Top.Class
	}
	for _, text := range texts {
		if len(text) > maxText || !utf8.ValidString(text) {
			return false
		}
	}
	return r.ID != ""
}

// finite tells whether a number has a JSON form.
func finite(f float32) bool { return !math.IsNaN(float64(f)) && !math.IsInf(float64(f), 0) }

// sayable is a time as RFC 3339 can say it, in UTC; the zero time for one that it cannot.
func sayable(t time.Time) time.Time {
	if t = t.UTC().Round(0); t.Year() < 0 || t.Year() > 9999 {
		return time.Time{}
	}
	return t
}

// messageID is that of message number n of an event.
func messageID(event string, n uint64) string { return event + "-" + strconv.FormatUint(n, 10) }
