package spool

import (
	"log/slog"
	"sync"
	"time"

	"sightline/pipeline"
)

// meters count, and log seldom, what becomes of results on their way.
type meters struct {
	log     *slog.Logger
	refused pipeline.Counter
	losses  map[Loss]pipeline.Counter
	results pipeline.Gauge
	bytes   pipeline.Gauge
	trouble pipeline.Gauge
	order   *sync.Mutex // makes reading the queue and setting the gauges one step

	lost, odd, harmed *pipeline.Seldom
}

func newMeters(o Options) meters {
	m := meters{
		log: o.Log.With("stage", o.Stage), order: &sync.Mutex{}, losses: map[Loss]pipeline.Counter{},
		refused: o.Stats.Counter(pipeline.ResultsRefused, "stage", o.Stage),
		results: o.Stats.Gauge(pipeline.SpoolResults, "stage", o.Stage),
		bytes:   o.Stats.Gauge(pipeline.SpoolBytes, "stage", o.Stage),
		trouble: o.Stats.Gauge(pipeline.SpoolTrouble, "stage", o.Stage),
		lost:    &pipeline.Seldom{}, odd: &pipeline.Seldom{}, harmed: &pipeline.Seldom{},
	}
	for _, why := range Losses {
		m.losses[why] = o.Stats.Counter(pipeline.ResultsLost, "stage", o.Stage, "reason", string(why))
	}
	return m
}

// lose is told of what the queue lets go.
func (m *meters) lose(why Loss, n int) {
	m.losses[why].Add(uint64(n))
	if n, tell := m.lost.Due(time.Now(), n); tell {
		m.log.Warn("results let go by the limits of the spool", "reason", string(why), "since_last", n)
	}
}

// refuse counts a message that cannot be published at all.
func (m *meters) refuse(err error) {
	m.refused.Add(1)
	if n, tell := m.odd.Due(time.Now(), 1); tell {
		m.log.Warn("result refused for good", "err", err, "since_last", n)
	}
}

func (m *meters) damaged(d Damage) {
	if n, tell := m.harmed.Due(time.Now(), 1); tell {
		m.log.Warn("a part of the spool cannot be read: what is before and behind it is kept",
			"segment", d.Segment, "offset", d.Offset, "damaged_bytes", d.Bytes, "lost_results", d.Results, "since_last", n)
	}
}

// state is told how the disk is.
func (m *meters) state(err error) {
	if err == nil {
		m.trouble.Set(0)
		m.log.Info("the disk takes results again")
		return
	}
	m.trouble.Set(1)
	m.log.Error("the disk does not take results: they wait in memory", "err", err)
}

func (m *meters) spooled(q Queue) {
	m.order.Lock()
	defer m.order.Unlock()
	results, bytes := q.Size()
	m.results.Set(float64(results))
	m.bytes.Set(float64(bytes))
}
