package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"sightline/pipeline"
)

// stateVersion is the version of the form that State writes.
const stateVersion = 1

// MaxState is the largest size of a state in bytes. A place needs about 200 for each of the Of results.
const MaxState = 64 << 20

// saved is a Decider as it is kept.
type saved struct {
	Version int          `json:"version"`
	Places  []savedPlace `json:"places"`
}

// savedPlace is a place as it is kept. Durations are in nanoseconds.
type savedPlace struct {
	Source string        `json:"source"`
	Region string        `json:"region,omitempty"`
	Seen   []sight       `json:"seen"` // oldest first
	Runs   runs          `json:"runs"`
	At     time.Time     `json:"at"`
	Last   time.Time     `json:"last"`
	Now    time.Duration `json:"now"`
	Delta  time.Duration `json:"delta"`
	Quiet  time.Duration `json:"quiet"`
	Idle   time.Duration `json:"idle"`
	Open   *savedOpen    `json:"open,omitempty"`
}

// savedOpen is an open event as it is kept.
type savedOpen struct {
	Event pipeline.Event `json:"event"`
	Count uint64         `json:"count"`
	Told  float32        `json:"told"`
	Spoke time.Duration  `json:"spoke"`
	Doubt time.Duration  `json:"doubt"`
}

// State returns all that the Decider knows as JSON. A Decider that goes on from it by Restore gives the
// same events as this one. It may be older than the newest results: what comes again then is taken
// again, with the same ids of messages.
func (d *Decider) State() ([]byte, error) {
	s := saved{Version: stateVersion, Places: make([]savedPlace, 0, len(d.places))}
	for _, at := range d.order() {
		s.Places = append(s.Places, d.places[at].save(at))
	}
	text, err := json.Marshal(s)
	if err == nil && len(text) > MaxState {
		err = fmt.Errorf("%d bytes are more than the %d that a state may have", len(text), MaxState)
	}
	if err != nil {
		return nil, fmt.Errorf("write the state of events: %w", err)
	}
	return text, nil
}

func (p *place) save(at where) savedPlace {
	s := savedPlace{
		Source: at.source, Region: at.region, Seen: make([]sight, 0, len(p.seen)), Runs: append(runs{}, p.runs...),
		At: p.at, Last: p.last, Now: p.now, Delta: p.delta, Quiet: p.quiet, Idle: p.idle,
	}
	for i := len(p.seen) - 1; i >= 0; i-- {
		s.Seen = append(s.Seen, *p.back(i))
	}
	if e := p.open; e != nil {
		s.Open = &savedOpen{e.event, e.count, e.told, e.spoke, e.doubt}
	}
	return s
}

// Restore goes on from a state that State wrote, by this rule or another, in place of what the Decider
// knows. It reads strictly: a state that State cannot have written is an error, and changes nothing.
func (d *Decider) Restore(state []byte) error {
	places, err := d.read(state)
	if err != nil {
		return fmt.Errorf("read the state of events: %w", err)
	}
	d.places = places
	return nil
}

func (d *Decider) read(state []byte) (map[where]*place, error) {
	if len(state) > MaxState {
		return nil, fmt.Errorf("%d bytes are more than the %d that a state may have", len(state), MaxState)
	}
	var s saved
	decoder := json.NewDecoder(bytes.NewReader(state))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&s); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, errors.New("something comes after it")
	}
	switch {
	case s.Version != stateVersion:
		return nil, fmt.Errorf("it has version %d, this program reads %d", s.Version, stateVersion)
	case len(s.Places) > maxPlaces:
		return nil, fmt.Errorf("%d places are more than %d", len(s.Places), maxPlaces)
	}
	places := make(map[where]*place, len(s.Places))
	for i := range s.Places {
		at := where{s.Places[i].Source, s.Places[i].Region}
		if places[at] != nil {
			return nil, fmt.Errorf("place %q %q is there twice", at.source, at.region)
		}
		if err := s.Places[i].check(); err != nil {
			return nil, fmt.Errorf("place %q %q: %w", at.source, at.region, err)
		}
		places[at] = s.Places[i].place(d.rule.Of)
	}
	return places, nil
}

// place makes the place, with at most the newest results that count.
func (s *savedPlace) place(of int) *place {
	p := newPlace(of)
	for i := max(0, len(s.Seen)-of); i < len(s.Seen); i++ {
		sight := s.Seen[i]
		sight.Captured = sayable(sight.Captured)
		p.add(sight)
	}
	p.runs = s.Runs
	p.at, p.last, p.now, p.delta, p.quiet, p.idle = sayable(s.At), sayable(s.Last), s.Now, s.Delta, s.Quiet, s.Idle
	if e := s.Open; e != nil {
		p.open = &open{e.Event, e.Count, e.Told, e.Spoke, e.Doubt}
		p.open.event.Started, p.open.event.Last = sayable(e.Event.Started), sayable(e.Event.Last)
	}
	return p
}

func (s *savedPlace) check() error {
	times := []time.Duration{s.Now, s.Delta, s.Quiet, s.Idle}
	texts := []string{s.Source, s.Region}
	for i := range s.Seen {
		times = append(times, s.Seen[i].Step)
		texts = append(texts, s.Seen[i].Name, s.Seen[i].Result)
		if s.Seen[i].Nothing && s.Seen[i].class != (class{}) {
			return fmt.Errorf("result %d has nothing at top, and a class", i)
		}
	}
	for _, r := range s.Runs {
		texts = append(texts, r.Prefix)
	}
	switch {
	case len(s.Seen) > MaxOf:
		return fmt.Errorf("%d results are more than %d", len(s.Seen), MaxOf)
	case len(s.Runs) > maxRuns:
		return fmt.Errorf("%d runs are more than %d", len(s.Runs), maxRuns)
	}
	if s.Open != nil {
		if err := s.Open.check(s); err != nil {
			return fmt.Errorf("open event: %w", err)
		}
		times = append(times, s.Open.Spoke, max(s.Open.Doubt, 0))
	}
	return within(times, texts)
}

func (e *savedOpen) check(s *savedPlace) error {
	v := &e.Event
	texts := []string{v.Device, v.Stage, v.Class, v.Result, v.Model.Name, v.Model.Version, v.Model.Digest, v.Provider}
	switch {
	case v.Source != s.Source || v.Region != s.Region:
		return errors.New("it is of another place")
	case e.Count == 0 || v.Event == "" || len(v.Event) > 2*maxText || v.ID != messageID(v.Event, e.Count-1):
		return fmt.Errorf("message %.100q is not number %d of event %.100q", v.ID, e.Count, v.Event)
	case v.Type != pipeline.EventNew && v.Type != pipeline.EventUpdate || v.Ended != nil:
		return fmt.Errorf("it is of type %.100q, or has ended", v.Type)
	case v.Schema != pipeline.SchemaVersion:
		return fmt.Errorf("it has schema %d", v.Schema)
	case e.Doubt < none || e.Doubt > s.Now || e.Spoke > s.Now:
		return errors.New("its times are not within what has passed")
	}
	return within(nil, texts)
}

// within checks what is bounded.
func within(times []time.Duration, texts []string) error {
	for _, d := range times {
		if d < 0 || d > longest {
			return fmt.Errorf("duration %s is not between 0 and %s", d, longest)
		}
	}
	for _, text := range texts {
		if len(text) > maxText || !utf8.ValidString(text) {
			return fmt.Errorf("text of %d bytes is too long, or not UTF-8", len(text))
		}
	}
	return nil
}
