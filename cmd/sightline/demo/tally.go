package demo

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

// Tally counts results and holds them against the truth. The zero value is empty.
type Tally struct {
	ages    []time.Duration // of every result, capture to received
	settled int             // results of settled frames
	agreed  int             // of those, how many said the truth
	wrong   map[string]int  // "truth seen as answer": how often
}

// Add counts one result: its age, what it said, and what was true. While the scene changes from one
// class to the next (not settled), neither answer is wrong.
func (t *Tally) Add(age time.Duration, said, class string, settled bool) {
	t.ages = append(t.ages, age)
	if !settled {
		return
	}
	t.settled++
	if said == class {
		t.agreed++
		return
	}
	if t.wrong == nil {
		t.wrong = map[string]int{}
	}
	t.wrong[class+" seen as "+orNothing(said)]++
}

func orNothing(class string) string {
	if class == "" {
		return "nothing sure"
	}
	return class
}

// Results returns how many were added.
func (t *Tally) Results() int { return len(t.ages) }

// Agreement returns the part of the settled frames that was answered with the truth, 0…1, or NaN
// when there was none.
func (t *Tally) Agreement() float64 { return float64(t.agreed) / float64(t.settled) }

func (t *Tally) agreement() string {
	if t.settled == 0 {
		return "–"
	}
	return fmt.Sprintf("%.1f%%", 100*t.Agreement())
}

// Age returns the age that a part p of the results, 0 < p ≤ 1, did not exceed (nearest rank); 0
// when there are none.
func (t *Tally) Age(p float64) time.Duration {
	if len(t.ages) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(t.ages))
	return sorted[max(0, int(math.Ceil(p*float64(len(sorted))))-1)]
}

// Frames are the counts of the pipeline under the results.
type Frames struct {
	Seen     uint64
	Analysed uint64
	Dropped  map[string]uint64 // by reason
}

// Summary writes what is known, a line each.
func (t *Tally) Summary(length time.Duration, f Frames) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\nafter         %s\n", length.Round(100*time.Millisecond))
	fmt.Fprintf(&b, "frames        %d seen, %d analysed, dropped: %s\n", f.Seen, f.Analysed, reasons(f.Dropped))
	fmt.Fprintf(&b, "results       %d received\n", t.Results())
	fmt.Fprintf(&b, "agreement     %s of %d settled frames\n", t.agreement(), t.settled)
	for _, mistake := range slices.Sorted(maps.Keys(t.wrong)) {
		fmt.Fprintf(&b, "              %s: %d\n", mistake, t.wrong[mistake])
	}
	fmt.Fprintf(&b, "latency       capture to received: p50 %s, p95 %s, p99 %s\n",
		milliseconds(t.Age(0.5)), milliseconds(t.Age(0.95)), milliseconds(t.Age(0.99)))
	return b.String()
}

func reasons(dropped map[string]uint64) string {
	if len(dropped) == 0 {
		return "none"
	}
	var parts []string
	for _, reason := range slices.Sorted(maps.Keys(dropped)) {
		parts = append(parts, fmt.Sprintf("%s %d", strings.ReplaceAll(reason, "_", " "), dropped[reason]))
	}
	return strings.Join(parts, ", ")
}

func milliseconds(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/1e6) }
