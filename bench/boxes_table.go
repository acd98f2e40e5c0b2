package bench

import (
	"fmt"
	"time"
)

// Save writes the report to a file, as JSON.
func (r *BoxReport) Save(path string) error { return save(r, path) }

// Table is the report to read.
func (r *BoxReport) Table() string {
	t := &table{}
	t.line("sightline bench boxes %s, %s, %d × %s, load before %s", r.Version, r.Machine.System, r.Machine.Processors, r.Machine.Processor, r.Machine.Load)
	o := r.Options
	t.line("model %s on %s, threads %s; cameras: %d, over RTSP and TCP; rounds: %d, %s a run, with a run in place before and after each", o.Model, o.Provider, threads(o.Threads), o.Cameras, r.Compare.Rounds, o.For)
	t.line("latency is from captured, by the camera's RTCP reports and this machine's clock, to received")
	for _, k := range r.Kinds {
		switch {
		case k.Skipped != "":
			t.line("not measured: %s: %s", k.Name, k.Skipped)
		case k.Engine != "":
			t.line("%s: %s", k.Name, k.Engine)
		}
	}
	for _, g := range r.Groups {
		g.table(t)
	}
	r.idle(t)
	verdicts(t, r.Verdicts)
	return t.String()
}

func (g *BoxGroup) table(t *table) {
	name := fmt.Sprintf("pictures %s at %d fps, H.264 %.1f Mbit/s", g.Size, g.FPS, float64(g.BitRate)/1e6)
	t.head(name, "results/s", "of all", "p50", "p95", "p99", "CPU/result")
	for _, kind := range g.kinds() {
		g.flow(t, kind)
	}
	for _, k := range g.Failed {
		t.line("%s did not work: %s", k.Name, k.Skipped)
	}
	if len(g.Compared) > 0 {
		t.head("against inline beside it", "results/s", "p50", "p99", "CPU/result")
	}
	for _, c := range g.Compared {
		t.row("  "+c.In, fmt.Sprintf("×%.3f", c.Throughput), signed(c.Median), signed(c.P99), fmt.Sprintf("×%.2f", c.CPU))
	}
	g.starts(t)
	g.sizes(t)
}

// flow is a row of medians over the runs of a kind.
func (g *BoxGroup) flow(t *table, kind string) {
	runs := g.of(kind)
	share := medianOf(runs, func(r BoxRun) float64 { return float64(r.Results) / float64(max(r.Pictures, 1)) })
	at := func(of func(Quantiles) time.Duration) string {
		return milli(medianOf(runs, func(r BoxRun) time.Duration { return of(r.Latency) }))
	}
	t.row(fmt.Sprintf("  %s, %d runs", kind, len(runs)), fmt.Sprintf("%.2f", medianOf(runs, BoxRun.Rate)), percent(share),
		at(func(q Quantiles) time.Duration { return q.P50 }), at(func(q Quantiles) time.Duration { return q.P95 }),
		at(func(q Quantiles) time.Duration { return q.P99 }), milli(medianOf(runs, BoxRun.PerResult)))
}

func (g *BoxGroup) starts(t *table) {
	t.head("start, the first and then", "ready", "", "result", "", "supervisor back")
	for _, kind := range g.kinds() {
		coldReady, warmReady := g.Readies(kind)
		cold, warm := g.Starts(kind)
		t.row("  "+kind, seconds(coldReady), seconds(warmReady), seconds(cold), seconds(warm), seconds(g.Back(kind)))
	}
	t.line("  (until the first result up to 2 s pass until the camera's next keyframe; back is from the start of another supervisor")
	t.line("  in place of a killed one, whose boxes ran on, to the first result of a picture that was taken since then)")
}

func (g *BoxGroup) sizes(t *table) {
	t.head("memory and size", "resident", "CPU", "closure", "image")
	for _, kind := range g.kinds() {
		runs := g.of(kind)
		what := ", supervisor"
		if kind == InPlace {
			what = ", all of it"
		}
		of := medianOf(runs, func(r BoxRun) float64 { return r.Seconds })
		core := func(d time.Duration) string { return percent(d.Seconds() / of) }
		t.row("  "+kind+what, mebiText(medianOf(runs, func(r BoxRun) int64 { return r.Resident })),
			core(medianOf(runs, func(r BoxRun) time.Duration { return r.Supervisor })))
		if kind == InPlace {
			continue
		}
		for _, s := range stagesOf(runs) {
			t.row(fmt.Sprintf("  %s, %s %s", kind, s.Kind, s.Name), mebiOr(s.Memory), core(s.CPU), mebiOr(s.Closure), mebiOr(s.Image))
		}
	}
}

func (r *BoxReport) idle(t *table) {
	i := r.Idle
	switch {
	case i == nil:
		return
	case i.Skipped != "":
		t.line("\nthe idle supervisor is not measured: %s", i.Skipped)
		return
	}
	t.line("\nidle: %s with %d process boxes and no camera: %s resident, %s of one core for %.0f s", i.Program, i.Boxes, mebiText(i.Resident), percent2(i.Share()), i.Seconds)
}

// mebiOr is a size, a dash when there is none.
func mebiOr(bytes int64) string {
	if bytes == 0 {
		return "–"
	}
	return mebiText(bytes)
}

func mebiText(bytes int64) string { return fmt.Sprintf("%.1f MiB", mebi(bytes)) }

func percent2(share float64) string { return fmt.Sprintf("%.2f%%", 100*share) }

// seconds is a duration, a dash when there is none.
func seconds(d time.Duration) string {
	if d == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}

// signed writes a difference in milliseconds.
func signed(d time.Duration) string {
	return fmt.Sprintf("%+.3f ms", float64(d)/float64(time.Millisecond))
}
