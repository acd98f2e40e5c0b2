package pipeline

import (
	"math"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// MetricKind is how a metric counts.
type MetricKind string

// The kinds of metrics, in Prometheus' words.
const (
	KindCounter   MetricKind = "counter"
	KindGauge     MetricKind = "gauge"
	KindHistogram MetricKind = "histogram"
)

// Metric is the definition of a metric: all that exist stand in Metrics.
type Metric struct {
	Name string
	Kind MetricKind
	Help string
}

// The metrics of Sightline. Seconds and bytes, counters end in _total.
var (
	FramesReceived = Metric{"sightline_frames_received_total", KindCounter, "Access units received from the source."}
	FramesDecoded  = Metric{"sightline_frames_decoded_total", KindCounter, "Pictures decoded."}
	FramesSent     = Metric{"sightline_frames_sent_total", KindCounter, "Frames scaled and put on a link, one for each region and consumer."}
	FramesAnalysed = Metric{"sightline_frames_analysed_total", KindCounter, "Frames that a model has answered."}
	FramesDropped  = Metric{"sightline_frames_dropped_total", KindCounter, "Pictures or frames dropped, by reason."}
	PacketsLost    = Metric{"sightline_rtp_packets_lost_total", KindCounter, "RTP packets known to be lost."}
	BytesReceived  = Metric{"sightline_source_bytes_total", KindCounter, "Encoded bytes received from the source."}
	Reconnects     = Metric{"sightline_reconnects_total", KindCounter, "Connections to a source or upstream made after the first."}
	SourceUp       = Metric{"sightline_source_up", KindGauge, "1 while pictures arrive from the source."}
	DecodeSeconds  = Metric{"sightline_decode_seconds", KindHistogram, "Time to decode one picture."}
	ScaleSeconds   = Metric{"sightline_scale_seconds", KindHistogram, "Time to crop, scale and convert one frame."}
	QueueSeconds   = Metric{"sightline_queue_seconds", KindHistogram, "Time a frame waited for the model."}
	InferSeconds   = Metric{"sightline_infer_seconds", KindHistogram, "Time of one inference call: prepare, run, answer."}
	BatchFrames    = Metric{"sightline_infer_batches_total", KindCounter, "Inference calls made."}
	ResultsMade    = Metric{"sightline_results_total", KindCounter, "Results made by a model."}
	ResultsTaken   = Metric{"sightline_results_published_total", KindCounter, "Results that upstream has acknowledged."}
	ResultsRefused = Metric{"sightline_results_refused_total", KindCounter, "Results that upstream refused for good."}
	ResultsLost    = Metric{"sightline_results_dropped_total", KindCounter, "Results let go by the spool's limits, by reason."}
	SpoolResults   = Metric{"sightline_spool_results", KindGauge, "Results waiting for upstream."}
	SpoolBytes     = Metric{"sightline_spool_bytes", KindGauge, "Bytes waiting for upstream."}
	SpoolTrouble   = Metric{"sightline_spool_trouble", KindGauge, "1 while the disk does not take results, which then wait in memory."}
	SinkUp         = Metric{"sightline_sink_up", KindGauge, "1 while the upstream is connected."}
	AgeSeconds     = Metric{"sightline_capture_to_publish_seconds", KindHistogram, "Age of a result when it is handed to the upstream: since capture, by the clock its origin says."}
	ProviderInfo   = Metric{"sightline_provider_info", KindGauge, "1; the labels say which model runs on which execution provider."}
	BoxCPU         = Metric{"sightline_box_cpu_seconds_total", KindCounter, "Processor time of a stage's box since it was started."}
	BoxMemory      = Metric{"sightline_box_memory_bytes", KindGauge, "Resident bytes of a stage's box."}
	BoxRestarts    = Metric{"sightline_box_restarts_total", KindCounter, "Times that a stage's box was started again."}
	BoxReceived    = Metric{"sightline_wire_received_bytes_total", KindCounter, "Bytes that came from a stage's box over its wire."}
	BoxSent        = Metric{"sightline_wire_sent_bytes_total", KindCounter, "Bytes that went to a stage's box over its wire."}
)

// Metrics lists every metric of a stage.
var Metrics = []Metric{
	FramesReceived, FramesDecoded, FramesSent, FramesAnalysed, FramesDropped, PacketsLost, BytesReceived,
	Reconnects, SourceUp, DecodeSeconds, ScaleSeconds, QueueSeconds, InferSeconds, BatchFrames, ResultsMade,
	ResultsTaken, ResultsRefused, ResultsLost, SpoolResults, SpoolBytes, SpoolTrouble, SinkUp, AgeSeconds, ProviderInfo,
}

// BoxMetrics lists the metrics that only the supervisor counts, never a stage.
var BoxMetrics = []Metric{BoxCPU, BoxMemory, BoxRestarts, BoxReceived, BoxSent}

// Buckets are the upper bounds of every histogram, in seconds.
var Buckets = []float64{
	0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075,
	0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1, 2, 5, 10, 30,
}

// Stats holds the metrics of one stage. Its methods may be called from any goroutine.
type Stats struct {
	mu     sync.Mutex
	series map[string]*series
}

// NewStats returns empty statistics.
func NewStats() *Stats { return &Stats{series: map[string]*series{}} }

type series struct {
	sample  Sample
	value   atomic.Uint64 // counter: count; gauge: bits of a float64
	buckets []atomic.Uint64
	sum     atomic.Int64 // nanoseconds
}

// Sample is one series at one moment, in a form that crosses a wire.
type Sample struct {
	Name   string     `json:"name"`
	Kind   MetricKind `json:"kind"`
	Labels []string   `json:"labels"`          // key, value, key, value …
	Value  float64    `json:"value,omitempty"` // counter and gauge
	// Counts are the observations per bucket of Buckets, one more for those above; not cumulative.
	Counts []uint64 `json:"counts,omitempty"`
	Sum    float64  `json:"sum,omitempty"`
}

func (s *Stats) find(m Metric, labels []string) *series {
	if len(labels)%2 != 0 {
		panic("pipeline: labels of " + m.Name + " are not pairs")
	}
	key := m.Name + "\x00" + strings.Join(labels, "\x00")
	s.mu.Lock()
	defer s.mu.Unlock()
	found, ok := s.series[key]
	if !ok {
		found = &series{sample: Sample{Name: m.Name, Kind: m.Kind, Labels: slices.Clone(labels)}}
		if m.Kind == KindHistogram {
			found.buckets = make([]atomic.Uint64, len(Buckets)+1)
		}
		s.series[key] = found
	}
	return found
}

// Counter only grows.
type Counter struct{ s *series }

// Counter returns the counter of a metric with these labels (key, value, …), made at its first use.
// Keep it: the look-up is not for hot paths.
func (s *Stats) Counter(m Metric, labels ...string) Counter { return Counter{s.find(m, labels)} }

// Add counts n more.
func (c Counter) Add(n uint64) { c.s.value.Add(n) }

// Value returns the count.
func (c Counter) Value() uint64 { return c.s.value.Load() }

// Gauge goes up and down.
type Gauge struct{ s *series }

// Gauge returns the gauge of a metric with these labels, made at its first use.
func (s *Stats) Gauge(m Metric, labels ...string) Gauge { return Gauge{s.find(m, labels)} }

// Set puts the gauge at v.
func (g Gauge) Set(v float64) { g.s.value.Store(math.Float64bits(v)) }

// Value returns what was last set.
func (g Gauge) Value() float64 { return math.Float64frombits(g.s.value.Load()) }

// Histogram counts durations in Buckets.
type Histogram struct{ s *series }

// Histogram returns the histogram of a metric with these labels, made at its first use.
func (s *Stats) Histogram(m Metric, labels ...string) Histogram { return Histogram{s.find(m, labels)} }

// Observe counts one duration.
func (h Histogram) Observe(d time.Duration) {
	i := sort.SearchFloat64s(Buckets, d.Seconds())
	h.s.buckets[i].Add(1)
	h.s.sum.Add(int64(d))
}

// Snapshot returns every series, ordered by name and labels.
func (s *Stats) Snapshot() []Sample {
	s.mu.Lock()
	keys := make([]string, 0, len(s.series))
	for key := range s.series {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	samples := make([]Sample, len(keys))
	for i, key := range keys {
		samples[i] = s.series[key].read()
	}
	s.mu.Unlock()
	return samples
}

func (s *series) read() Sample {
	out := s.sample
	switch out.Kind {
	case KindCounter:
		out.Value = float64(s.value.Load())
	case KindGauge:
		out.Value = math.Float64frombits(s.value.Load())
	case KindHistogram:
		out.Counts = make([]uint64, len(s.buckets))
		for i := range s.buckets {
			out.Counts[i] = s.buckets[i].Load()
		}
		out.Sum = time.Duration(s.sum.Load()).Seconds()
	}
	return out
}

// Drops counts dropped pictures of one source in one stage, by reason.
type Drops struct{ counters map[Reason]Counter }

// Drops returns the drop counters of a source in a stage.
func (s *Stats) Drops(stage, source string) Drops {
	d := Drops{counters: make(map[Reason]Counter, len(Reasons))}
	for _, r := range Reasons {
		d.counters[r] = s.Counter(FramesDropped, "stage", stage, "source", source, "reason", string(r))
	}
	return d
}

// Add counts n pictures dropped for a reason.
func (d Drops) Add(r Reason, n uint64) { d.counters[r].Add(n) }

// Total returns the drops of all reasons.
func (d Drops) Total() uint64 {
	var n uint64
	for _, c := range d.counters {
		n += c.Value()
	}
	return n
}
