package bench

import (
	"slices"
	"time"

	"sightline/pipeline"
)

// reportTally sorts results by the capture times that the camera's sender reports gave them.
type reportTally struct {
	pictures, results, noTime int
	latencies                 []time.Duration
}

// tallyByReports counts the results of the pictures that were taken from begin until before end. One
// that was delivered twice counts once, when it came first.
func tallyByReports(cameras []Camera, begin, end time.Duration, arrivals []arrival) *reportTally {
	t := &reportTally{}
	known := map[string]bool{}
	for _, c := range cameras {
		known[c.Name] = true
		t.pictures += c.Schedule.between(begin, end)
	}
	seen := map[string]bool{}
	for _, a := range arrivals {
		if !known[a.result.Source] || seen[a.result.ID] {
			continue
		}
		seen[a.result.ID] = true
		if a.result.CaptureOrigin != pipeline.OriginSenderReport {
			if a.at >= begin && a.at < end {
				t.noTime++
			}
			continue
		}
		age := a.wall.Sub(a.result.Captured)
		if taken := a.at - age; taken >= begin && taken < end {
			t.results++
			t.latencies = append(t.latencies, age)
		}
	}
	return t
}

func (t *reportTally) into(out *BoxRun) {
	out.Pictures, out.Results, out.NoTime, out.Latency = t.pictures, t.results, t.noTime, quantiles(t.latencies)
}

// Comparison is what a kind of box costs over inline: medians over its runs, each held against the
// runs in place before and after it.
type Comparison struct {
	In         string        `json:"in"`
	Runs       int           `json:"runs"`
	Throughput float64       `json:"throughput"` // results a second ÷ those of inline
	Median     time.Duration `json:"median_ns"`  // median latency less that of inline
	// Least and Most are the median latency less that of inline of the runs at either end: how much
	// of Median may be what else went on in the machine.
	Least time.Duration `json:"median_least_ns"`
	Most  time.Duration `json:"median_most_ns"`
	P99   time.Duration `json:"p99_ns"`
	CPU   float64       `json:"cpu"` // processor time of a result ÷ that of inline
}

// compare holds the runs of a kind of box against their neighbours in place.
func compare(runs []BoxRun, kind string) Comparison {
	var throughput, cpu []float64
	var medians, p99s []time.Duration
	for i, r := range runs {
		if r.In != kind {
			continue
		}
		beside := neighbours(runs, i)
		if len(beside) == 0 {
			continue
		}
		throughput = append(throughput, r.Rate()/mean(beside, BoxRun.Rate))
		cpu = append(cpu, float64(r.PerResult())/mean(beside, func(o BoxRun) float64 { return float64(o.PerResult()) }))
		medians = append(medians, r.Latency.P50-time.Duration(mean(beside, func(o BoxRun) float64 { return float64(o.Latency.P50) })))
		p99s = append(p99s, r.Latency.P99-time.Duration(mean(beside, func(o BoxRun) float64 { return float64(o.Latency.P99) })))
	}
	if len(throughput) == 0 {
		return Comparison{In: kind}
	}
	return Comparison{
		In: kind, Runs: len(throughput), Throughput: median(throughput),
		Median: median(medians), Least: slices.Min(medians), Most: slices.Max(medians), P99: median(p99s), CPU: median(cpu),
	}
}

// neighbours are the nearest runs in place before and after run i.
func neighbours(runs []BoxRun, i int) []BoxRun {
	var out []BoxRun
	for j := i - 1; j >= 0; j-- {
		if runs[j].In == InPlace {
			out = append(out, runs[j])
			break
		}
	}
	for j := i + 1; j < len(runs); j++ {
		if runs[j].In == InPlace {
			return append(out, runs[j])
		}
	}
	return out
}

func mean(runs []BoxRun, of func(BoxRun) float64) float64 {
	sum := 0.0
	for _, r := range runs {
		sum += of(r)
	}
	return sum / float64(len(runs))
}
