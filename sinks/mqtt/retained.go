package mqtt

import (
	"time"

	"sightline/pipeline"
	"sightline/sinks"
)

// place is where a model looks.
type place struct{ source, stage, region string }

// view is what a model sees in a place.
type view struct {
	known    bool
	has      bool // whether there is a top class
	top      pipeline.Prediction
	captured time.Time
	since    time.Time
}

// seen is a place with what the broker is known to have of it, and what it will have once the batch
// at hand is acknowledged.
type seen struct {
	place                   place
	resultTopic, stateTopic string
	now, next               view
	touched                 bool // next differs from now, perhaps
}

// memory is what is retained at the broker, to be published again after a reconnect. Of each batch it
// takes note only when the batch was acknowledged, so that a batch delivered again changes the same
// states again. It is guarded by Sink.turn.
type memory struct {
	device   string
	topics   topics
	places   map[place]*seen
	order    []*seen // in the order first seen
	statuses map[string]pipeline.Status
	names    []string // topics of statuses in the order first seen
	touched  []*seen
	reported []pipeline.Status // statuses of the batch at hand
}

func newMemory(device string, t topics) *memory {
	return &memory{device: device, topics: t, places: map[place]*seen{}, statuses: map[string]pipeline.Status{}}
}

// at returns the memory of a place, made at its first use.
func (m *memory) at(p place) (*seen, error) {
	if s := m.places[p]; s != nil {
		return s, nil
	}
	base, err := m.topics.place(p)
	if err != nil {
		return nil, err
	}
	s := &seen{place: p, resultTopic: base + "/result", stateTopic: base + "/state"}
	m.places[p] = s
	m.order = append(m.order, s)
	return s, nil
}

// see takes note of a result of the batch at hand and tells whether the state changed by it.
func (m *memory) see(s *seen, r *pipeline.Result) bool {
	if !s.touched {
		s.touched, s.next = true, s.now
		m.touched = append(m.touched, s)
	}
	v := view{known: true, captured: r.Captured, since: s.next.since}
	if r.Top != nil {
		v.has, v.top = true, *r.Top
	}
	same := s.next.known && s.next.has == v.has && s.next.top.ClassID == v.top.ClassID && s.next.top.Class == v.top.Class
	if !same {
		v.since = r.Captured
	}
	s.next = v
	return !same
}

// settle ends the batch at hand: acknowledged or not.
func (m *memory) settle(acknowledged bool) {
	for _, s := range m.touched {
		if acknowledged {
			s.now = s.next
		}
		s.touched = false
	}
	for i := range m.reported {
		if acknowledged {
			m.keep(&m.reported[i])
		}
	}
	m.touched, m.reported = m.touched[:0], m.reported[:0]
}

func (m *memory) keep(s *pipeline.Status) {
	topic, err := m.topics.status(s)
	if err != nil {
		return // it was published, so it has a topic
	}
	if _, known := m.statuses[topic]; !known {
		m.names = append(m.names, topic)
	}
	m.statuses[topic] = *s
}

// state is the message of what a place shows.
func (m *memory) state(s *seen, v *view) sinks.State {
	state := sinks.State{
		Device: m.device, Source: s.place.source, Region: s.place.region, Stage: s.place.stage,
		Captured: v.captured, Since: v.since,
	}
	if v.has {
		state.Top = &v.top
	}
	return state
}
