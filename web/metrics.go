package web

import (
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"sightline/pipeline"
)

// collector gives the statistics of all stages to Prometheus.
type collector struct{ board *Board }

// Describe sends nothing: which series exist is known only when they are read.
func (c collector) Describe(chan<- *prometheus.Desc) {}

// Collect sends every series as it is now.
func (c collector) Collect(out chan<- prometheus.Metric) {
	help := map[string]string{}
	for _, m := range slices.Concat(pipeline.Metrics, pipeline.BoxMetrics) {
		help[m.Name] = m.Help
	}
	device := c.board.device()
	for _, s := range c.board.samples() {
		out <- metric(s, help[s.Name], device)
	}
}

// samples are the series of all stages. What two stages count of one thing is one series: frames that
// were dropped between two boxes are counted on both sides.
func (b *Board) samples() []pipeline.Sample {
	var all []pipeline.Sample
	at := map[string]int{}
	for _, stage := range b.Stages() {
		for _, s := range append(stage.Samples(), stage.used()...) {
			key := s.Name + "\x00" + strings.Join(s.Labels, "\x00")
			i, known := at[key]
			if !known {
				at[key] = len(all)
				s.Counts = slices.Clone(s.Counts)
				all = append(all, s)
				continue
			}
			all[i].Value, all[i].Sum = all[i].Value+s.Value, all[i].Sum+s.Sum
			for n := range min(len(all[i].Counts), len(s.Counts)) {
				all[i].Counts[n] += s.Counts[n]
			}
		}
	}
	return all
}

// used is what the stage's box uses, as samples.
func (s *Stage) used() []pipeline.Sample {
	if s.Box == nil {
		return nil
	}
	b := s.Box()
	var samples []pipeline.Sample
	for _, u := range []struct {
		metric pipeline.Metric
		value  float64
	}{
		{pipeline.BoxCPU, b.CPU.Seconds()}, {pipeline.BoxMemory, float64(b.Memory)}, {pipeline.BoxRestarts, float64(b.Restarts)},
		{pipeline.BoxReceived, float64(b.Received)}, {pipeline.BoxSent, float64(b.Sent)},
	} {
		samples = append(samples, pipeline.Sample{Name: u.metric.Name, Kind: u.metric.Kind, Value: u.value, Labels: []string{"stage", s.Name, "box", b.In}})
	}
	return samples
}

func metric(s pipeline.Sample, help, device string) prometheus.Metric {
	names, values := []string{"device"}, []string{device}
	for i := 0; i+1 < len(s.Labels); i += 2 {
		names, values = append(names, s.Labels[i]), append(values, s.Labels[i+1])
	}
	desc := prometheus.NewDesc(s.Name, help, names, nil)
	var m prometheus.Metric
	var err error
	switch s.Kind {
	case pipeline.KindCounter:
		m, err = prometheus.NewConstMetric(desc, prometheus.CounterValue, s.Value, values...)
	case pipeline.KindHistogram:
		m, err = histogram(desc, s, values)
	default:
		m, err = prometheus.NewConstMetric(desc, prometheus.GaugeValue, s.Value, values...)
	}
	if err != nil {
		return prometheus.NewInvalidMetric(desc, err)
	}
	return m
}

func histogram(desc *prometheus.Desc, s pipeline.Sample, values []string) (prometheus.Metric, error) {
	buckets, count := make(map[float64]uint64, len(pipeline.Buckets)), uint64(0)
	for i, n := range s.Counts {
		count += n
		if i < len(pipeline.Buckets) {
			buckets[pipeline.Buckets[i]] = count
		}
	}
	return prometheus.NewConstHistogram(desc, count, s.Sum, buckets, values...)
}

// total adds up all series of a metric.
func total(samples []pipeline.Sample, m pipeline.Metric) float64 {
	var sum float64
	for _, s := range samples {
		if s.Name == m.Name {
			sum += s.Value
		}
	}
	return sum
}

// summarise adds up counters by metric, and what was dropped by reason.
func summarise(samples []pipeline.Sample) (counts, drops map[string]float64) {
	counts, drops = map[string]float64{}, map[string]float64{}
	for _, s := range samples {
		if s.Kind != pipeline.KindCounter {
			continue
		}
		short := strings.TrimSuffix(strings.TrimPrefix(s.Name, "sightline_"), "_total")
		counts[short] += s.Value
		at := slices.Index(s.Labels, "reason")
		if (s.Name == pipeline.FramesDropped.Name || s.Name == pipeline.ResultsLost.Name) && at >= 0 && s.Value > 0 {
			drops[s.Labels[at+1]] += s.Value
		}
	}
	return counts, drops
}

// waiting says what waits in front of a publish stage; nil for other stages.
func waiting(samples []pipeline.Sample) *waitingReport {
	var w waitingReport
	found := false
	for _, s := range samples {
		switch s.Name {
		case pipeline.SpoolResults.Name:
			w.Results, found = uint64(s.Value), true
		case pipeline.SpoolBytes.Name:
			w.Bytes = uint64(s.Value)
		case pipeline.SpoolTrouble.Name:
			w.Trouble = s.Value > 0
		}
	}
	if !found {
		return nil
	}
	return &w
}
