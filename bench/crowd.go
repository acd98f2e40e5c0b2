package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"time"
)

// Crowd measures the same pipeline with more and more cameras, and, if there is one, another build of
// this program beside it: in each round one runs after the other, with the order changing, so that what
// else goes on in the machine hits both.
type Crowd struct {
	*Harness
	Counts []int // of cameras
	Rounds int
	// Against returns the command that runs the other build's hidden part `bench NAME ARGS…`; nil: there
	// is no other build.
	Against func(name string, args ...string) *exec.Cmd
}

// CrowdRun is one run.
type CrowdRun struct {
	Cameras int  `json:"cameras"`
	Round   int  `json:"round"`
	Other   bool `json:"other"` // of the other build
	*Whole
}

// rate is results a second.
func (r CrowdRun) rate() float64 { return float64(r.Results) / r.Seconds }

// vain is the share of the decoded pictures that the model never saw.
func (r CrowdRun) vain() float64 {
	decoded := r.Counts["frames_decoded"]
	if decoded == 0 {
		return 0
	}
	return max(0, 1-r.Counts["frames_analysed"]/decoded)
}

// infer is the median time of an inference.
func (r CrowdRun) infer() time.Duration {
	for _, p := range r.Parts {
		if p.Name == partNames[inferPart] {
			return p.Time.P50
		}
	}
	return 0
}

// Check returns what is wrong with what is asked for.
func (c *Crowd) Check() error {
	switch {
	case c.Rounds < 1 || c.Rounds > 1000:
		return fmt.Errorf("%d rounds: want 1 to 1000", c.Rounds)
	case len(c.Counts) == 0:
		return errors.New("no count of cameras is named")
	}
	for _, n := range c.Counts {
		o := c.Options
		o.Cameras = n
		if err := o.Check(); err != nil {
			return err
		}
	}
	return nil
}

// Run measures all counts of cameras.
func (c *Crowd) Run(ctx context.Context) (*CrowdReport, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	folder, recording, err := c.record(ctx)
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	out := &CrowdReport{Report: *newReport(c.Harness, recording), Rounds: c.Rounds, Counts: c.Counts}
	for _, cameras := range c.Counts {
		for round := range c.Rounds {
			for _, other := range c.order(round) {
				run, err := c.one(ctx, folder, cameras, other)
				switch {
				case errors.Is(err, errNoResult) && run.NoClock == 0: // a finding
					c.Say("%v", err)
				case err != nil:
					return nil, fmt.Errorf("measure %d cameras: %w", cameras, err)
				}
				out.Runs = append(out.Runs, CrowdRun{Cameras: cameras, Round: round, Other: other, Whole: run})
			}
		}
	}
	return out, nil
}

// order is which builds run in a round, one after the other: whether it is the other one.
func (c *Crowd) order(round int) []bool {
	if c.Against == nil {
		return []bool{false}
	}
	order := []bool{true, false}
	if round%2 == 1 {
		slices.Reverse(order)
	}
	return order
}

func (c *Crowd) one(ctx context.Context, folder string, cameras int, other bool) (*Whole, error) {
	h := *c.Harness
	h.Options.Cameras = cameras
	name := "this build"
	if other {
		name = "the other build"
		h.Command = func(name string, args ...string) *exec.Cmd {
			if name == "pipeline" {
				return c.Against(name, args...)
			}
			return c.Command(name, args...)
		}
	}
	h.Say("running %d cameras, the broker and the pipeline of %s for %s", cameras, name, h.Options.For)
	return h.whole(ctx, folder)
}
