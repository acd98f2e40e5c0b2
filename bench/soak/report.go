package soak

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Report is the end of a soak.
type Report struct {
	Version    string         `json:"version"`
	Options    Options        `json:"options"`
	Machine    string         `json:"machine"`
	Load       [2]string      `json:"load"` // of the machine, before and after
	Began      time.Time      `json:"began"`
	Took       time.Duration  `json:"took_ns"`
	Starts     int            `json:"starts"`
	Kills      int            `json:"kills"`
	Faults     map[string]int `json:"faults"`
	NoFullDisk string         `json:"no_full_disk,omitempty"` // why the disk was never full
	Accounts   []Account      `json:"accounts"`
	Slopes     []Slope        `json:"slopes"`
	Usage      []usage        `json:"usage"` // every sample
	LogBytes   int64          `json:"log_bytes"`
	Good       bool           `json:"good"`
}

func newReport(version string, o Options) *Report {
	return &Report{
		Version: version, Options: o, Began: time.Now(), Load: [2]string{load()}, Faults: map[string]int{},
		Machine: fmt.Sprintf("%s, %d processors", runtime.GOARCH, runtime.NumCPU()),
	}
}

// load is the load of the machine over the last minute.
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "?"
	}
	first, _, _ := strings.Cut(string(text), " ")
	return first
}

// account fills in the report.
func (s *soak) account(r *Report, last look) {
	r.Options, r.Took, r.Load[1] = s.options, time.Since(r.Began), load()
	r.Starts, r.Kills = len(s.diary.lives), len(s.diary.cuts)
	for _, f := range s.done {
		place := f.Where
		if place != atBroker && place != atHook && place != atProgram {
			place = anyCamera
		}
		r.Faults[place+" "+f.What]++
	}
	r.Accounts = settle(s.sinks(), s.books(), s.diary, last)
	r.Slopes, r.Usage = slopes(s.usage), s.usage
	if info, err := s.program.log.Stat(); err == nil {
		r.LogBytes = info.Size()
	}
	r.Good = !slices.ContainsFunc(r.Accounts, func(a Account) bool { return !a.balanced() }) &&
		!slices.ContainsFunc(r.Slopes, func(s Slope) bool { return s.Verdict == Growing })
}

// slopes judges everything the program uses.
func slopes(all []usage) []Slope {
	of := func(name, unit string, scale, floor float64, value func(usage) float64) Slope {
		var points []point
		for _, u := range all {
			points = append(points, point{u.At, u.Life, value(u) / scale})
		}
		return fit(name, unit, points, floor)
	}
	return []Slope{
		of("resident memory", "MiB", 1<<20, 12, func(u usage) float64 { return u.Resident }),
		of("file descriptors", "", 1, 6, func(u usage) float64 { return u.Files }),
		of("goroutines", "", 1, 10, func(u usage) float64 { return u.Goroutines }),
		of("threads", "", 1, 6, func(u usage) float64 { return u.Threads }),
		of("state folder without spools", "MiB", 1<<20, 4, func(u usage) float64 { return u.Disk }),
	}
}

// Save writes the report as JSON.
func (r *Report) Save(file string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}

// Table is the report for people.
func (r *Report) Table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "soak for %s, seed %d, %d cameras, %s: sightline %s on %s; load of the machine %s before, %s after\n",
		r.Options.For, r.Options.Seed, r.Options.Cameras, r.Options.Box, r.Version, r.Machine, r.Load[0], r.Load[1])
	fmt.Fprintf(&b, "%d starts, %d kills that could cost results, log %d kB; faults:", r.Starts, r.Kills, r.LogBytes/1000)
	for _, name := range slices.Sorted(maps.Keys(r.Faults)) {
		fmt.Fprintf(&b, " %s %d,", name, r.Faults[name])
	}
	if r.NoFullDisk != "" {
		fmt.Fprintf(&b, "\nthe disk was never full: %s", r.NoFullDisk)
	}
	b.WriteString("\n\n")
	r.ledger(&b)
	b.WriteString("\n")
	r.slopes(&b)
	verdict := "the books balance, and nothing is seen to grow"
	if !r.Good {
		verdict = "NOT GOOD: the books do not balance, or something grows"
	}
	fmt.Fprintf(&b, "\n%s\n", verdict)
	return b.String()
}

func (r *Report) ledger(b *strings.Builder) {
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "sink\tmade\t= received\t+ waiting\t+ lost, counted\t− of them received, unheard\t+ not yet safe at a kill\t+ unexplained\ttwice\tevents\topen\t")
	for _, a := range r.Accounts {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t\n", a.Sink, a.Made, a.Received, a.Waiting, reasons(a.Lost),
			a.LostAnyway, a.Unsafe, a.Unexplained, a.Duplicates, a.Events, a.OpenEvents)
	}
	w.Flush() //nolint:errcheck // a builder takes all
	for _, a := range r.Accounts {
		for _, wrong := range a.Wrong {
			fmt.Fprintf(b, "  %s: %s\n", a.Sink, wrong)
		}
	}
}

func reasons(lost map[string]int) string {
	var all []string
	sum := 0
	for _, why := range slices.Sorted(maps.Keys(lost)) {
		sum += lost[why]
		all = append(all, fmt.Sprintf("%s %d", why, lost[why]))
	}
	if sum == 0 {
		return "0"
	}
	return fmt.Sprintf("%d (%s)", sum, strings.Join(all, ", "))
}

func (r *Report) slopes(b *strings.Builder) {
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "what\tmean\tan hour\t95 %\tover\tgrowth must exceed\tverdict\t")
	for _, s := range r.Slopes {
		fmt.Fprintf(w, "%s\t%.1f %s\t%+.1f\t± %.1f\t%s\t%.0f %s\t%s\t\n", s.Name, s.Mean, s.Unit, s.PerHour, s.Margin,
			time.Duration(s.Hours*float64(time.Hour)).Round(time.Second), s.Floor, s.Unit, s.Verdict)
	}
	w.Flush() //nolint:errcheck // a builder takes all
}
