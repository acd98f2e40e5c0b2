//go:build cgo

package main

import (
	"fmt"
	"os/exec"

	"github.com/spf13/cobra"

	"sightline/bench"
)

// benchCameras are the flags of `bench cameras`.
type benchCameras struct {
	benchFlags
	counts  []int
	rounds  int
	against string
}

func newBenchCameras() *cobra.Command {
	f := &benchCameras{}
	c := &cobra.Command{
		Use: "cameras", Short: "Measure the same pipeline with more and more cameras",
		Long: `Run the pipeline with one camera, with two, and so on: results a second, latency, how long an
inference takes among the decoders, and how many pictures were decoded in vain. With --against
another build of this program runs beside this one, in turns, and the figures are compared round by
round: so what else goes on in the machine hits both.`,
		Example: `  sightline bench cameras
  sightline bench cameras --counts 8 --rounds 5 --against ../before/bin/sightline
  sightline bench cameras --model mobilenetv2.onnx --size 1280x720 --fps 15`,
		Args: cobra.NoArgs,
		RunE: f.run,
	}
	f.add(c)
	flags := c.Flags()
	_ = flags.MarkHidden("cameras") // counts takes its place
	flags.IntSliceVar(&f.counts, "counts", []int{1, 2, 4, 8}, "simulated cameras, one count after the other")
	flags.IntVar(&f.rounds, "rounds", 3, "runs with each count")
	flags.StringVar(&f.against, "against", "", "path of another build of this program to compare with")
	return c
}

func (f *benchCameras) run(c *cobra.Command, _ []string) error {
	crowd, err := f.crowd(c)
	if err != nil {
		return badConfig{err}
	}
	report, err := crowd.Run(c.Context())
	if err != nil {
		return err
	}
	return tellReport(c, report, f.file)
}

// crowd makes the measurement that the flags ask for.
func (f *benchCameras) crowd(c *cobra.Command) (crowd *bench.Crowd, err error) {
	if f.options.Size, err = bench.ParseSize(f.size); err != nil {
		return nil, err
	}
	table, _ := newParts(libraryOf(c), c.OutOrStdout()) // nothing of it is opened
	crowd = &bench.Crowd{Harness: newHarness(c, &f.benchFlags, table), Counts: f.counts, Rounds: f.rounds}
	if f.against != "" {
		path, err := exec.LookPath(f.against)
		if err != nil {
			return nil, fmt.Errorf("the other build: %w", err)
		}
		crowd.Against = func(name string, args ...string) *exec.Cmd {
			command := crowd.Command(name, args...)
			command.Path, command.Args[0] = path, path
			return command
		}
	}
	return crowd, crowd.Check()
}
