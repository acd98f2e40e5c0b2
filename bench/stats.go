package bench

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// Quantiles sums up a distribution of durations. In JSON they are nanoseconds.
type Quantiles struct {
	Count int           `json:"count"`
	P50   time.Duration `json:"p50_ns"`
	P95   time.Duration `json:"p95_ns"`
	P99   time.Duration `json:"p99_ns"`
	Max   time.Duration `json:"max_ns"`
}

// quantiles sums up samples, which it sorts. A quantile is the least sample that at least its share
// of all are not above (nearest rank).
func quantiles(samples []time.Duration) Quantiles {
	if len(samples) == 0 {
		return Quantiles{}
	}
	slices.Sort(samples)
	return Quantiles{
		Count: len(samples), P50: rank(samples, 0.50), P95: rank(samples, 0.95), P99: rank(samples, 0.99),
		Max: samples[len(samples)-1],
	}
}

func rank[T cmp.Ordered](sorted []T, share float64) T {
	at := int(math.Ceil(share*float64(len(sorted)))) - 1
	return sorted[min(max(at, 0), len(sorted)-1)]
}

func median[T cmp.Ordered](values []T) T { return rank(slices.Sorted(slices.Values(values)), 0.5) }

// Memory is the resident memory of a process over time, in bytes, one sample a second.
type Memory struct {
	Samples []int64 `json:"samples"`
	Min     int64   `json:"min"`
	Max     int64   `json:"max"`
	First   int64   `json:"first"` // median of the first quarter
	Last    int64   `json:"last"`  // median of the last quarter
}

// memory sums up samples.
func memory(samples []int64) Memory {
	m := Memory{Samples: samples}
	if len(samples) == 0 {
		return m
	}
	quarter := (len(samples) + 3) / 4
	m.Min, m.Max = slices.Min(samples), slices.Max(samples)
	m.First, m.Last = median(samples[:quarter]), median(samples[len(samples)-quarter:])
	return m
}

// Growth is how much more the last quarter has than the first, as a share of the first.
func (m Memory) Growth() float64 {
	if m.First == 0 {
		return 0
	}
	return float64(m.Last-m.First) / float64(m.First)
}
