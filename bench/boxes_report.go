package bench

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// BoxReport is what a comparison of the kinds of boxes found.
type BoxReport struct {
	Made     time.Time   `json:"made"`
	Version  string      `json:"version"`
	Machine  Machine     `json:"machine"`
	Options  Options     `json:"options"`
	Compare  BoxOptions  `json:"compare"`
	Kinds    []Kind      `json:"kinds"`
	Groups   []*BoxGroup `json:"groups"`
	Idle     *Idle       `json:"idle,omitempty"`
	Verdicts []Verdict   `json:"verdicts"`
}

// BoxGroup are runs with the same cameras, in the order in which they were made.
type BoxGroup struct {
	Size     Size         `json:"size"`
	FPS      int          `json:"fps"`
	Encoder  string       `json:"encoder"`
	BitRate  int          `json:"bit_rate"` // of one camera, bit/s
	Runs     []BoxRun     `json:"runs"`
	Failed   []Kind       `json:"failed,omitempty"` // kinds in which a run did not work, with the reason
	Compared []Comparison `json:"compared"`
}

func (b *Boxes) newReport() *BoxReport {
	return &BoxReport{
		Made: time.Now().UTC().Truncate(time.Second), Version: b.Version, Machine: thisMachine(),
		Options: b.Options, Compare: b.Compare, Kinds: b.Kinds,
	}
}

// What is asked of boxes (see docs/benchmarks.md).
const (
	boxThroughput   = 0.98
	boxMedianOver   = 500 * time.Microsecond
	publishResident = 20 << 20
	superResident   = 30 << 20
	superIdleShare  = 0.01
	boxBack         = 2 * time.Second
)

// judged are the kinds of boxes of which near to inline's figures are asked.
func judged(kind string) bool { return kind == "process" || kind == "container" }

// of returns the runs in a kind of box.
func (g *BoxGroup) of(kind string) []BoxRun {
	return slices.DeleteFunc(slices.Clone(g.Runs), func(r BoxRun) bool { return r.In != kind })
}

// kinds lists the kinds of boxes of which there are runs, in place first.
func (g *BoxGroup) kinds() []string {
	var out []string
	for _, r := range g.Runs {
		if !slices.Contains(out, r.In) {
			out = append(out, r.In)
		}
	}
	return out
}

// check compares the kinds with inline, and with what is asked.
func (r *BoxReport) check() {
	r.Verdicts = nil
	for _, g := range r.Groups {
		g.Compared = nil
		for _, kind := range g.kinds() {
			if kind == InPlace {
				continue
			}
			c := compare(g.Runs, kind)
			g.Compared = append(g.Compared, c)
			if judged(kind) {
				r.judge(g, c)
			}
		}
	}
	if i := r.Idle; i != nil && i.Skipped == "" {
		r.add("idle supervisor, resident", mebiText(i.Resident), "≤ "+mebiText(superResident), i.Resident <= superResident)
		r.add("idle supervisor, of one core", percent2(i.Share()), "≤ "+percent2(superIdleShare), i.Share() <= superIdleShare)
	}
}

func (r *BoxReport) add(name, got, want string, met bool) {
	r.Verdicts = append(r.Verdicts, Verdict{name, got, want, met})
}

func (r *BoxReport) judge(g *BoxGroup, c Comparison) {
	r.add(c.In+", results a second ÷ inline's", fmt.Sprintf("%.3f", c.Throughput), fmt.Sprintf("≥ %.2f", boxThroughput), c.Throughput >= boxThroughput)
	over := signed(c.Median)
	if c.Runs > 1 {
		over += fmt.Sprintf(" (runs from %s to %s)", signed(c.Least), signed(c.Most))
	}
	r.add(c.In+", median latency over inline's", over, "≤ "+signed(boxMedianOver), c.Median <= boxMedianOver)
	back := g.Back(c.In)
	r.add(c.In+", results again once a killed supervisor is back", seconds(back), "≤ "+seconds(boxBack), back <= boxBack)
	for _, s := range stagesOf(g.of(c.In)) {
		if s.Kind == "publish" && s.Memory > 0 {
			r.add(c.In+", resident of publish stage "+s.Name, mebiText(s.Memory), "≤ "+mebiText(publishResident), s.Memory <= publishResident)
		}
	}
}

// stagesOf sums up the stages of several runs: the most memory, and medians of the processor time.
func stagesOf(runs []BoxRun) []BoxStage {
	var out []BoxStage
	cpu := map[string][]time.Duration{}
	for _, r := range runs {
		for _, s := range r.Stages {
			cpu[s.Name] = append(cpu[s.Name], s.CPU)
			i := slices.IndexFunc(out, func(o BoxStage) bool { return o.Name == s.Name })
			if i < 0 {
				out = append(out, s)
				continue
			}
			s.Memory = max(s.Memory, out[i].Memory)
			out[i] = s
		}
	}
	for i := range out {
		out[i].CPU = median(cpu[out[i].Name])
	}
	return out
}

// medianOf is the median of a figure of several runs.
func medianOf[R any, T cmp.Ordered](runs []R, of func(R) T) T {
	var zero T
	if len(runs) == 0 {
		return zero
	}
	values := make([]T, len(runs))
	for i, r := range runs {
		values[i] = of(r)
	}
	return median(values)
}

// Starts are the times from the start to the first result: of the first run, whose closures and images
// had to be made, and the median of the others, 0 if there are none.
func (g *BoxGroup) Starts(kind string) (cold, warm time.Duration) {
	runs := g.of(kind)
	if len(runs) == 0 {
		return 0, 0
	}
	return runs[0].First, medianOf(runs[1:], func(r BoxRun) time.Duration { return r.First })
}

// Readies are Starts until every stage was ready.
func (g *BoxGroup) Readies(kind string) (cold, warm time.Duration) {
	runs := g.of(kind)
	if len(runs) == 0 {
		return 0, 0
	}
	return runs[0].Ready, medianOf(runs[1:], func(r BoxRun) time.Duration { return r.Ready })
}

// Back is the median time until results come again after the supervisor was killed and started again.
func (g *BoxGroup) Back(kind string) time.Duration {
	return medianOf(g.of(kind), func(r BoxRun) time.Duration { return r.Back })
}
