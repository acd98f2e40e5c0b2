package bench

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Report is all that a run of the bench found.
type Report struct {
	Made     time.Time `json:"made"`
	Version  string    `json:"version"`
	Machine  Machine   `json:"machine"`
	Options  Options   `json:"options"`
	Encoder  string    `json:"encoder"`
	BitRate  int       `json:"bit_rate"` // of one camera, bit/s
	Stages   []Stage   `json:"stages,omitempty"`
	Limit    *Limit    `json:"limit,omitempty"`
	Whole    *Whole    `json:"whole,omitempty"`
	Verdicts []Verdict `json:"verdicts,omitempty"`
}

// Machine is what was measured on.
type Machine struct {
	System     string `json:"system"` // like linux/amd64
	Processor  string `json:"processor"`
	Processors int    `json:"processors"`
	Load       string `json:"load"` // averages of 1, 5 and 15 minutes when the bench began
}

// Verdict compares a figure with what it should be.
type Verdict struct {
	Name string `json:"name"`
	Got  string `json:"got"`
	Want string `json:"want"`
	Met  bool   `json:"met"`
}

func newReport(h *Harness, r *Recording) *Report {
	return &Report{
		Made: time.Now().UTC().Truncate(time.Second), Version: h.Version, Machine: thisMachine(),
		Options: h.Options, Encoder: r.Encoder, BitRate: r.BitRate(),
	}
}

// thisMachine reads what Linux says; what it does not say stays empty.
func thisMachine() Machine {
	m := Machine{System: runtime.GOOS + "/" + runtime.GOARCH, Processors: runtime.NumCPU()}
	if f, err := os.Open("/proc/cpuinfo"); err == nil {
		defer f.Close()
		m.Processor = processor(bufio.NewScanner(f))
	}
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		if fields := strings.Fields(string(load)); len(fields) >= 3 {
			m.Load = strings.Join(fields[:3], " ")
		}
	}
	return m
}

// processor finds the first name of a processor: "model name" on x86, "Model" on boards.
func processor(lines *bufio.Scanner) string {
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), ":")
		if key = strings.TrimSpace(key); key == "model name" || key == "Model" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// What is asked of the pipeline (see docs/benchmarks.md).
const (
	medianOver = 3 * time.Millisecond
	p99Over    = 15 * time.Millisecond
	efficiency = 0.9
	growth     = 0.02
	long       = 5 * time.Minute // from which on memory is judged
)

// Efficiency is the processor time that decoding, scaling and inferring alone would have taken for
// what the pipeline did, as a share of what it took.
func (r *Report) Efficiency() float64 {
	counts := r.Whole.Counts
	parts := counts["frames_decoded"]*r.Limit.Decode.CPU.Seconds() +
		counts["frames_sent"]*r.Limit.Scale.CPU.Seconds() +
		counts["frames_analysed"]*r.Limit.Infer.CPU.Seconds()
	return parts / r.Whole.CPU.Pipeline.Seconds()
}

// full is the share of the machine's processor time from which on a run is one of overload: results
// then wait for others by need.
const full = 0.8

// Load is the share of the machine's processor time that decoding, scaling and inferring every
// picture would take.
func (r *Report) Load() float64 {
	perSecond := float64(r.Options.Cameras*r.Options.FPS) * r.Limit.CPU().Seconds()
	return perSecond / float64(r.Machine.Processors)
}

// check judges the whole by the limit. Under overload the age of results counts, not their latency;
// and the processor time of a model that is run again and again says nothing.
func (r *Report) check() {
	add := func(name, got, want string, met bool) {
		r.Verdicts = append(r.Verdicts, Verdict{name, got, want, met})
	}
	latency, alone := r.Whole.Latency, r.Limit.Chain.P50
	if r.Options.Overload || r.Load() > full {
		add("age of results under overload", "p99 "+milli(latency.P99), "≤ "+milli(r.Options.Staleness), latency.P99 <= r.Options.Staleness)
	} else {
		add("median latency", milli(latency.P50), fmt.Sprintf("≤ %s alone + %s", milli(alone), milli(medianOver)), latency.P50 <= alone+medianOver)
		add("p99 latency", milli(latency.P99), fmt.Sprintf("≤ %s alone + %s (alone, p99 is %s)", milli(alone), milli(p99Over), milli(r.Limit.Chain.P99)),
			latency.P99 <= alone+p99Over)
	}
	if !r.Options.Overload {
		share := r.Efficiency()
		add("processor time of the parts ÷ of the pipeline", percent(share), "≥ "+percent(efficiency), share >= efficiency)
	}
	if r.Options.For >= long {
		more := r.Whole.Memory.Growth()
		add("growth of resident memory", percent(more), "≤ "+percent(growth), more <= growth)
	}
}

// Save writes the report to a file, as JSON.
func (r *Report) Save(path string) error { return save(r, path) }

func save(report any, path string) error {
	text, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// Table is the report to read.
func (r *Report) Table() string {
	t := &table{}
	t.line("sightline bench %s, %s, %d × %s, load before %s", r.Version, r.Machine.System, r.Machine.Processors, r.Machine.Processor, r.Machine.Load)
	o := r.Options
	t.line("model %s on %s, threads %s; pictures %s at %d fps, H.264 %.1f Mbit/s (%s)", o.Model, o.Provider, threads(o.Threads), o.Size, o.FPS, float64(r.BitRate)/1e6, r.Encoder)
	r.stages(t)
	r.limit(t)
	r.whole(t)
	verdicts(t, r.Verdicts)
	return t.String()
}

func threads(n int) string {
	if n == 0 {
		return "by default"
	}
	return fmt.Sprint(n)
}

func (r *Report) stages(t *table) {
	if len(r.Stages) == 0 {
		return
	}
	t.head("stages alone", "p50", "p95", "p99", "max", "CPU")
	for _, s := range r.Stages {
		t.row(s.Name, append(t.quantiles(s.Time), milli(s.CPU))...)
	}
}

func (r *Report) limit(t *table) {
	if r.Limit == nil {
		return
	}
	t.head("the limit: one picture after another, no network", "p50", "p95", "p99", "max", "CPU")
	for _, s := range []Stage{r.Limit.Decode, r.Limit.Scale, r.Limit.Infer} {
		t.row(s.Name, append(t.quantiles(s.Time), milli(s.CPU))...)
	}
	t.row("together", append(t.quantiles(r.Limit.Chain), milli(r.Limit.CPU()))...)
	t.row("together, at the cameras' pace", t.quantiles(r.Limit.Paced)...)
}

func (r *Report) whole(t *table) {
	w := r.Whole
	if w == nil {
		return
	}
	load := ""
	if r.Options.Overload {
		load = ", the model 3× too slow"
	}
	t.head(fmt.Sprintf("the whole: %d cameras to MQTT for %.0f s%s", r.Options.Cameras, w.Seconds, load), "p50", "p95", "p99", "max")
	t.row("capture to received", t.quantiles(w.Latency)...)
	for _, p := range w.Parts {
		t.row("  "+p.Name, t.quantiles(p.Time)...)
	}
	t.line("")
	t.line("results    %d of %d pictures (%.1f a second); %d without a clock", w.Results, w.Pictures, float64(w.Results)/w.Seconds, w.NoClock)
	t.line("frames     %.0f received, %.0f decoded, %.0f scaled, %.0f analysed", w.Counts["frames_received"], w.Counts["frames_decoded"], w.Counts["frames_sent"], w.Counts["frames_analysed"])
	t.line("drops      %s", drops(w.Drops))
	seconds := func(d time.Duration) string { return percent(d.Seconds() / w.Seconds) }
	t.line("processor  pipeline %s of one core, %s a result; cameras and broker %s, subscriber %s", seconds(w.CPU.Pipeline), milli(w.CPU.PerResult), seconds(w.CPU.Site), seconds(w.CPU.Harness))
	m := w.Memory
	t.line("resident   first quarter %.1f MiB, last %.1f MiB (%+.1f%%), from %.1f to %.1f", mebi(m.First), mebi(m.Last), 100*m.Growth(), mebi(m.Min), mebi(m.Max))
	if line := minutes(m.Samples); line != "" {
		t.line("by minute  %s MiB", line)
	}
	for i := 0; i < len(w.Stages); {
		first, name := w.Stages[i], w.Stages[i].Name
		for i++; i < len(w.Stages) && w.Stages[i].Detail == first.Detail; i++ {
			name = first.Name + "…" + w.Stages[i].Name
		}
		t.line("%-10s %s", name, first.Detail)
	}
}

// minutes lists one sample a minute.
func minutes(samples []int64) string {
	if len(samples) < 120 {
		return ""
	}
	var words []string
	for i := 0; i < len(samples); i += 60 {
		words = append(words, fmt.Sprintf("%.1f", mebi(samples[i])))
	}
	return strings.Join(words, " ")
}

func drops(byReason map[string]float64) string {
	if len(byReason) == 0 {
		return "none"
	}
	var words []string
	for _, reason := range slices.Sorted(maps.Keys(byReason)) {
		words = append(words, fmt.Sprintf("%s %.0f", reason, byReason[reason]))
	}
	return strings.Join(words, ", ")
}

func verdicts(t *table, all []Verdict) {
	if len(all) == 0 {
		return
	}
	t.line("")
	for _, v := range all {
		word := "met   "
		if !v.Met {
			word = "MISSED"
		}
		t.line("%s  %s: %s, wanted %s", word, v.Name, v.Got, v.Want)
	}
}

func mebi(bytes int64) float64 { return float64(bytes) / (1 << 20) }

func percent(share float64) string { return fmt.Sprintf("%.1f%%", 100*share) }

// milli writes milliseconds with as many digits as can be told apart.
func milli(d time.Duration) string {
	ms := float64(d) / float64(time.Millisecond)
	switch {
	case ms >= 100:
		return fmt.Sprintf("%.0f ms", ms)
	case ms >= 10:
		return fmt.Sprintf("%.1f ms", ms)
	}
	return fmt.Sprintf("%.3f ms", ms)
}

// table is text in lines; heads and rows share their columns.
type table struct{ strings.Builder }

func (t *table) line(format string, args ...any) { fmt.Fprintf(t, format+"\n", args...) }

func (t *table) head(name string, columns ...string) {
	t.WriteByte('\n')
	t.row(name, columns...)
}

func (t *table) row(name string, columns ...string) {
	text := fmt.Sprintf("%-50s", name)
	for _, c := range columns {
		text += fmt.Sprintf(" %10s", c)
	}
	t.line("%s", strings.TrimRight(text, " "))
}

func (t *table) quantiles(q Quantiles) []string {
	return []string{milli(q.P50), milli(q.P95), milli(q.P99), milli(q.Max)}
}
