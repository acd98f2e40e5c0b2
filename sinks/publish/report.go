package publish

import (
	"sync"
	"time"

	"sightline/pipeline"
)

// sinkState is what the upstream's connection is known to be.
type sinkState struct {
	mu        sync.Mutex
	state     pipeline.State
	reason    string
	since     time.Time
	reporting bool // the sink reports by itself
	connected bool // it was online before
}

// begin forgets whether the sink reports, since it is opened anew.
func (k *sinkState) begin() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.reporting = false
}

// sinkReports passes on what the sink says of its connection.
func (s *Stage) sinkReports(status pipeline.Status) {
	k := &s.sink
	k.mu.Lock()
	k.reporting = true
	again := status.State == pipeline.StateOnline && k.state != pipeline.StateOnline && k.connected
	k.connected = k.connected || status.State == pipeline.StateOnline
	k.state, k.reason, k.since = status.State, status.Reason, status.Since
	k.mu.Unlock()
	if again {
		s.meters.reconnects.Add(1)
	}
	s.meters.connected(status.State == pipeline.StateOnline)
	if status.State == pipeline.StateOnline {
		wake(s.online)
	}
	s.Env.Report(status)
}

// opened, up and down speak for a sink that does not report by itself, such as a file.
func (s *Stage) opened() { s.derive(pipeline.StateOnline, "") }

func (s *Stage) up() { s.derive(pipeline.StateOnline, "") }

func (s *Stage) down(err error) {
	if s.derive(pipeline.StateOffline, pipeline.RedactText(err.Error())) {
		s.Env.Log.Warn("upstream does not take results, trying again", "err", err)
	}
}

// derive reports a state unless the sink does so, and tells whether it was news.
func (s *Stage) derive(state pipeline.State, reason string) bool {
	k := &s.sink
	k.mu.Lock()
	old := k.reporting || k.state == state && k.reason == reason
	k.mu.Unlock()
	if !old {
		s.report(state, reason)
	}
	return !old
}

func (s *Stage) report(state pipeline.State, reason string) {
	k := &s.sink
	k.mu.Lock()
	if k.state != state {
		k.state, k.since = state, time.Now()
	}
	k.reason = reason
	status := pipeline.Status{Stage: s.Env.Stage, State: state, Reason: reason, Since: k.since}
	k.mu.Unlock()
	s.meters.connected(state == pipeline.StateOnline)
	s.Env.Report(status)
}

// meters are the stage's metrics.
type meters struct {
	stats      *pipeline.Stats
	stage      string
	taken      pipeline.Counter
	refused    pipeline.Counter
	reconnects pipeline.Counter
	sinkUp     pipeline.Gauge
	ages       map[string]pipeline.Histogram // by source; used by one goroutine
}

func newMeters(stats *pipeline.Stats, stage string) meters {
	return meters{
		stats: stats, stage: stage, ages: map[string]pipeline.Histogram{},
		taken:      stats.Counter(pipeline.ResultsTaken, "stage", stage),
		refused:    stats.Counter(pipeline.ResultsRefused, "stage", stage),
		reconnects: stats.Counter(pipeline.Reconnects, "stage", stage),
		sinkUp:     stats.Gauge(pipeline.SinkUp, "stage", stage),
	}
}

func (m *meters) age(source string) pipeline.Histogram {
	h, ok := m.ages[source]
	if !ok {
		h = m.stats.Histogram(pipeline.AgeSeconds, "stage", m.stage, "source", source)
		m.ages[source] = h
	}
	return h
}

func (m *meters) connected(yes bool) {
	if yes {
		m.sinkUp.Set(1)
	} else {
		m.sinkUp.Set(0)
	}
}
