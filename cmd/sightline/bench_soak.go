//go:build cgo

package main

import (
	"errors"
	"fmt"
	"os/exec"
	"time"

	"github.com/spf13/cobra"

	"sightline/bench/soak"
	"sightline/configs"
)

var errSoak = errors.New("the soak is not good: the table says what does not balance or grows")

func newBenchSoak() *cobra.Command {
	var o soak.Options
	var file string
	c := &cobra.Command{
		Use: "soak", Short: "Let everything around a pipeline fail at random, and make up its books",
		Long: `Run an ordinary pipeline between simulated cameras, an MQTT broker and a web server, and have all of
them fail at random, from a seed; kill the pipeline and start it again. At the end it has to have
delivered every result, or counted its loss, to the one, and what it uses must not grow: memory,
descriptors, goroutines, threads, disk. Exit status 1 when that is not so.`,
		Example: `  sightline bench soak --for 10m
  sightline bench soak --for 1h --seed 7 --box process --json soak.json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := o.Check(); err != nil {
				return badConfig{err}
			}
			k := soak.Soak{
				Options: o, Version: version,
				Command: func(args ...string) *exec.Cmd { return exec.Command(self(), append(args, shared(c)...)...) },
				Say:     func(format string, args ...any) { fmt.Fprintf(c.ErrOrStderr(), format+"\n", args...) },
			}
			report, err := k.Run(c.Context())
			if err != nil {
				return err
			}
			if err := tellReport(c, report, file); err != nil || report.Good {
				return err
			}
			return errSoak
		},
	}
	flags := c.Flags()
	flags.DurationVar(&o.For, "for", 10*time.Minute, "how long things fail")
	flags.Uint64Var(&o.Seed, "seed", 0, "what fails, and when (default: any; it is printed)")
	flags.IntVar(&o.Cameras, "cameras", 3, "simulated cameras")
	flags.StringVar(&o.Box, "box", configs.Inline, "where the stages run: inline or process")
	flags.StringVar(&o.Folder, "folder", "", "folder for the log and the state, which are kept (default: one of its own, kept when it is not good)")
	flags.StringVar(&file, "json", "", "also write the report to this file")
	return c
}
