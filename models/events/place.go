package events

import (
	"math"
	"slices"
	"time"

	"sightline/pipeline"
)

const (
	// plausible is the longest time between two results that is believed without Pass having seen it.
	plausible = time.Minute
	// longest keeps durations from overflowing.
	longest = 50 * 366 * 24 * time.Hour
	// seldom is the least time between two messages of an event, but for its end.
	seldom = time.Second
	// risen is how much more the best confidence must be for an update.
	risen = 0.1
)

// class is what a result has at top; nothing is no class.
type class struct {
	Name string `json:"class"`
	ID   int    `json:"class_id"`
}

// sight is what is kept of a result.
type sight struct {
	class
	Nothing    bool          `json:"nothing,omitempty"` // no class reached the threshold
	Confidence float32       `json:"confidence"`
	Captured   time.Time     `json:"captured"`
	Result     string        `json:"result"`
	Step       time.Duration `json:"step"` // since the result before
}

// place is what is known of one place.
type place struct {
	of    int     // results that are kept
	seen  []sight // a ring: the newest of them
	next  int     // where the next one goes, once the ring is full
	votes map[class]int
	runs  runs

	at    time.Time     // Inferred of the newest result
	last  time.Time     // its capture time
	now   time.Duration // since the open event began
	delta time.Duration // between the newest result and the one before; 0: unknown
	quiet time.Duration // since the newest result, by Pass
	idle  time.Duration // of it, while something should have come
	open  *open
}

// open is an event that has begun and not ended.
type open struct {
	event pipeline.Event // its newest message
	count uint64         // messages made
	told  float32        // best confidence in the newest message
	spoke time.Duration  // when the newest message was made, by place.now
	doubt time.Duration  // since when its class is not agreed on; none: it is
}

// none is that a class is not in doubt.
const none time.Duration = -1

func newPlace(of int) *place {
	return &place{of: of, votes: map[class]int{}}
}

// step lets the time pass that lies between the newest result and one that was made at inferred. The
// host's clock is believed as long as what it says can be; else what Pass has seen.
func (p *place) step(inferred time.Time) {
	inferred = sayable(inferred)
	p.delta = inferred.Sub(p.at)
	if p.at.IsZero() || p.delta < 0 || p.delta > max(plausible, 2*p.quiet) {
		p.delta = p.quiet // of the first result none
	}
	p.at, p.quiet, p.idle = inferred, 0, 0
	p.now = min(p.now+p.delta, longest)
}

// pass lets time pass without a result, and tells whether the event has ended by it. still says that
// none was to be expected.
func (p *place) pass(rule Rule, elapsed time.Duration, still bool) bool {
	elapsed = min(max(0, elapsed), longest)
	p.quiet = min(p.quiet+elapsed, longest)
	if !still {
		p.idle = min(p.idle+elapsed, longest)
	}
	return p.idle > p.patience(rule) || p.open != nil && still && p.doubted(p.quiet, rule)
}

// doubted tells whether the class of the open event was not agreed on for long enough.
func (p *place) doubted(more time.Duration, rule Rule) bool {
	return p.open.doubt != none && p.now+more-p.open.doubt >= rule.Hold
}

// patience is how long a result may be awaited: longer than usual by Hold.
func (p *place) patience(rule Rule) time.Duration {
	steps := make([]time.Duration, 0, len(p.seen))
	for i := range p.seen {
		if p.seen[i].Step > 0 {
			steps = append(steps, p.seen[i].Step)
		}
	}
	if len(steps) == 0 {
		return rule.Hold + plausible
	}
	slices.Sort(steps)
	return rule.Hold + 3*steps[(len(steps)-1)/2]
}

// see takes note of a result.
func (p *place) see(r *pipeline.Result) {
	p.last = sayable(r.Captured)
	s := sight{Nothing: true, Captured: p.last, Result: r.ID, Step: p.delta}
	if r.Top != nil && finite(r.Top.Confidence) {
		s.class, s.Nothing, s.Confidence = class{r.Top.Class, r.Top.ClassID}, false, r.Top.Confidence
	}
	p.add(s)
}

func (p *place) add(s sight) {
	if len(p.seen) < p.of {
		p.seen = append(p.seen, s)
	} else {
		p.vote(p.seen[p.next], -1)
		p.seen[p.next] = s
		p.next = (p.next + 1) % len(p.seen)
	}
	p.vote(s, 1)
}

func (p *place) vote(s sight, n int) {
	if s.Nothing {
		return
	}
	if p.votes[s.class] += n; p.votes[s.class] == 0 {
		delete(p.votes, s.class)
	}
}

// back returns the result that came i before the newest.
func (p *place) back(i int) *sight {
	n := len(p.seen)
	return &p.seen[(p.next+2*n-1-i)%n]
}

// forget forgets the results: they are too old to agree with what may come.
func (p *place) forget() {
	p.seen, p.next = p.seen[:0], 0
	clear(p.votes)
	p.idle = 0
}

// agreed returns the class that most of the results agree on, of several the one seen last.
func (p *place) agreed(least int) (class, bool) {
	most := 0
	for _, n := range p.votes {
		most = max(most, n)
	}
	if most < least {
		return class{}, false
	}
	for i := range p.seen {
		if s := p.back(i); !s.Nothing && p.votes[s.class] == most {
			return s.class, true
		}
	}
	return class{}, false // cannot be: there is a class with votes
}

// decide returns the messages that follow from the newest result.
func (p *place) decide(rule Rule, r *pipeline.Result) []pipeline.Event {
	if p.open == nil {
		c, ok := p.agreed(rule.Agree)
		if !ok {
			return nil
		}
		return []pipeline.Event{p.begin(c, r)}
	}
	p.follow(r)
	e := p.open
	if p.votes[class{e.event.Class, e.event.ClassID}] >= rule.Agree {
		e.doubt = none
		return p.update(rule)
	}
	if e.doubt == none {
		e.doubt = p.now
	}
	c, other := p.agreed(rule.Agree)
	if !p.doubted(0, rule) && (!other || p.now < rule.Hold) {
		return nil
	}
	out := p.end(p.last)
	if other {
		out = append(out, p.begin(c, r))
	}
	return out
}

// begin opens an event of a class that the results agree on.
func (p *place) begin(c class, r *pipeline.Result) pipeline.Event {
	e := pipeline.Event{
		Schema: pipeline.SchemaVersion, Event: r.ID + "-event", Type: pipeline.EventNew, Device: r.Device,
		Source: r.Source, Region: r.Region, Stage: r.Stage, Class: c.Name, ClassID: c.ID,
		Model: r.Model, Provider: r.Provider, Best: float32(math.Inf(-1)),
	}
	for i := len(p.seen) - 1; i >= 0; i-- {
		s := p.back(i)
		if s.Nothing || s.class != c {
			continue
		}
		if e.Results++; e.Results == 1 {
			e.Started = s.Captured
		}
		e.Confidence, e.Best = s.Confidence, max(e.Best, s.Confidence)
		e.Last, e.Result = s.Captured, s.Result
	}
	e.ID = messageID(e.Event, 0)
	p.now = 0
	p.open = &open{event: e, count: 1, told: e.Best, doubt: none}
	return e
}

// follow adds the newest result to the open event, if it has its class.
func (p *place) follow(r *pipeline.Result) {
	e, s := &p.open.event, p.back(0)
	if s.Nothing || s.class != (class{e.Class, e.ClassID}) {
		return
	}
	e.Results++
	e.Confidence, e.Best = s.Confidence, max(e.Best, s.Confidence)
	e.Last, e.Result = s.Captured, s.Result
	e.Model, e.Provider = r.Model, r.Provider
}

// update tells of the open event again, if there is something to tell.
func (p *place) update(rule Rule) []pipeline.Event {
	e := p.open
	much := float32(math.Abs(float64(e.told))) * risen
	if p.now-e.spoke < max(rule.Hold, seldom) || e.event.Best <= e.told || e.event.Best < e.told+much {
		return nil
	}
	e.spoke, e.told = p.now, e.event.Best
	return []pipeline.Event{e.say(pipeline.EventUpdate)}
}

// end ends the open event, if there is one; ended is the capture time of what ended it.
func (p *place) end(ended time.Time) []pipeline.Event {
	e := p.open
	if e == nil {
		return nil
	}
	p.open = nil
	e.event.Ended = &ended
	return []pipeline.Event{e.say(pipeline.EventEnd)}
}

// say makes the next message of an event.
func (e *open) say(t pipeline.EventType) pipeline.Event {
	e.event.Type, e.event.ID = t, messageID(e.event.Event, e.count)
	e.count++
	return e.event
}
