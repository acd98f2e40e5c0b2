package bench

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// CrowdReport is what a Crowd found.
type CrowdReport struct {
	Report
	Counts []int      `json:"counts"`
	Rounds int        `json:"rounds"`
	Runs   []CrowdRun `json:"runs"`
}

// Save writes the report to a file, as JSON.
func (r *CrowdReport) Save(path string) error { return save(r, path) }

// Table is the report to read.
func (r *CrowdReport) Table() string {
	t := &table{}
	t.line("sightline bench cameras %s, %s, %d × %s, load before %s", r.Version, r.Machine.System, r.Machine.Processors, r.Machine.Processor, r.Machine.Load)
	o := r.Options
	t.line("model %s on %s, threads %s; pictures %s at %d fps, H.264 %.1f Mbit/s (%s)", o.Model, o.Provider, threads(o.Threads), o.Size, o.FPS, float64(r.BitRate)/1e6, r.Encoder)
	t.line("medians of %d runs of %s each; in vain: decoded, but never seen by the model; cores: what the pipeline got of the processors", r.Rounds, o.For)
	for _, n := range r.Counts {
		t.head(fmt.Sprintf("cameras: %d", n), "results/s", "p50", "p99", "infer p50", "decoded/s", "in vain", "cores", "CPU/result")
		mine, others := r.of(n, false), r.of(n, true)
		r.flow(t, "  this build", mine)
		if len(others) > 0 {
			r.flow(t, "  the other", others)
			r.compare(t, mine, others)
		}
	}
	return t.String()
}

// of returns the runs of one build with so many cameras, by round.
func (r *CrowdReport) of(cameras int, other bool) (runs []CrowdRun) {
	for _, run := range r.Runs {
		if run.Cameras == cameras && run.Other == other {
			runs = append(runs, run)
		}
	}
	slices.SortFunc(runs, func(a, b CrowdRun) int { return cmp.Compare(a.Round, b.Round) })
	return runs
}

func (r *CrowdReport) flow(t *table, name string, runs []CrowdRun) {
	duration := func(of func(CrowdRun) time.Duration) string { return milli(medianOf(runs, of)) }
	t.row(name,
		fmt.Sprintf("%.1f", medianOf(runs, CrowdRun.rate)),
		duration(func(r CrowdRun) time.Duration { return r.Latency.P50 }),
		duration(func(r CrowdRun) time.Duration { return r.Latency.P99 }),
		duration(CrowdRun.infer),
		fmt.Sprintf("%.1f", medianOf(runs, func(r CrowdRun) float64 { return r.Counts["frames_decoded"] / r.Seconds })),
		percent(medianOf(runs, CrowdRun.vain)),
		fmt.Sprintf("%.2f", medianOf(runs, func(r CrowdRun) float64 { return r.CPU.Pipeline.Seconds() / r.Seconds })),
		duration(func(r CrowdRun) time.Duration { return r.CPU.PerResult }))
}

// compare tells how this build's figures relate to the other's of the same round.
func (r *CrowdReport) compare(t *table, mine, others []CrowdRun) {
	if a, b := empty(mine), empty(others); a+b > 0 {
		t.line("  without a result: %d runs of this build, %d of the other; they are in no ratio", a, b)
	}
	row := func(name string, of func(CrowdRun) float64) {
		if all := ratios(mine, others, of); len(all) > 0 {
			t.line("  %-12s ×%.2f of the other's (×%.2f to ×%.2f)", name, median(all), slices.Min(all), slices.Max(all))
		}
	}
	row("results/s", CrowdRun.rate)
	row("p50", func(r CrowdRun) float64 { return r.Latency.P50.Seconds() })
	row("p99", func(r CrowdRun) float64 { return r.Latency.P99.Seconds() })
	row("CPU/result", func(r CrowdRun) float64 { return r.CPU.PerResult.Seconds() })
}

// ratios are those of a figure, round by round; a round where one has no results has none.
func ratios(mine, others []CrowdRun, of func(CrowdRun) float64) (out []float64) {
	for i := range min(len(mine), len(others)) {
		if mine[i].Results > 0 && others[i].Results > 0 {
			out = append(out, of(mine[i])/of(others[i]))
		}
	}
	return out
}

// empty is how many runs had no results.
func empty(runs []CrowdRun) (n int) {
	for _, r := range runs {
		if r.Results == 0 {
			n++
		}
	}
	return n
}
