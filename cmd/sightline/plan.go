package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"sightline/cmd/sightline/closures"
	"sightline/configs"
	"sightline/pipeline/grant"
	"sightline/runtime/driver"
)

func newPlan() *cobra.Command {
	c := &cobra.Command{
		Use: "plan FILE", Short: "Say what a pipeline file would run, and on what",
		Long: `Print each stage in the order of starting: its box and what that stands on, the files it
consists of, its limits, what it works with, and the only addresses that it may reach. What is
missing is said with how to get it. Boxes of each kind are tried, and models loaded to see that they
and their providers come up; cameras and upstreams are not connected to. Exit status 1 when
something could not run here.`,
		Example: "  sightline plan front.yaml\n  sightline plan --runtime-default vm front.yaml",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			p, err := load(c, args[0])
			if err != nil {
				return err
			}
			table, closeParts := newParts(libraryOf(c), c.OutOrStdout())
			pl := planner{
				pipeline: p, table: table, out: c.OutOrStdout(), builder: builderOf(c),
				drivers: boxDrivers(p.Runtime), probes: map[string]driver.Probe{}, missing: map[string]bool{}, told: map[string]string{},
			}
			return errors.Join(pl.print(c), closeParts())
		},
	}
	configs.AddFlags(c.Flags())
	return c
}

// builderOf makes what computes closures as the command line says.
func builderOf(c *cobra.Command) closures.Builder {
	stages, _ := c.Flags().GetString("stages") // absent: found
	return closures.Builder{Programs: stages, Library: libraryOf(c), BuiltIn: builtInModels()}
}

type planner struct {
	pipeline *configs.Pipeline
	table    parts
	out      io.Writer
	builder  closures.Builder
	drivers  map[string]driver.Driver
	probes   map[string]driver.Probe // of the drivers that were asked, by the kind of box
	stage    string                  // that is being printed
	gpu      bool                    // whether its box is given the GPU
	told     map[string]string       // the stages of which it was said what protects them, by the kind of box
	missing  map[string]bool         // stages that would not run here
}

func (p *planner) print(c *cobra.Command) error {
	fmt.Fprintf(p.out, "pipeline %s on device %s\n", p.pipeline.Name, p.pipeline.Device)
	for _, name := range slices.Sorted(maps.Keys(p.pipeline.Sinks)) {
		p.begin(closures.Publish, name)
		p.box(c.Context())
		p.sink(p.pipeline.Sinks[name])
	}
	for _, name := range slices.Sorted(maps.Keys(p.pipeline.Models)) {
		p.begin(closures.Classify, name)
		p.box(c.Context())
		p.model(c, p.pipeline.Models[name])
	}
	for _, name := range slices.Sorted(maps.Keys(p.pipeline.Sources)) {
		p.begin(closures.Capture, name)
		p.box(c.Context())
		p.source(name)
	}
	for _, name := range slices.Sorted(maps.Keys(p.pipeline.Runtime.Guests)) {
		p.begin("guest", name)
		p.guest(c.Context(), name)
	}
	if len(p.missing) > 0 {
		return fmt.Errorf("plan: %d of the stages and guests would not run here", len(p.missing))
	}
	return nil
}

func (p *planner) begin(kind, name string) {
	p.stage = name
	fmt.Fprintf(p.out, "\n%s %s\n", kind, name)
}

func (p *planner) line(key, format string, args ...any) {
	fmt.Fprintf(p.out, "  %-10s %s\n", key, fmt.Sprintf(format, args...))
}

func (p *planner) problem(err error) {
	p.missing[p.stage] = true
	p.line("MISSING", "%s", strings.ReplaceAll(err.Error(), "\n", "\n             "))
}

func (p *planner) grants(endpoints []grant.Endpoint) {
	p.line("network", "%s", &grant.Network{Endpoints: endpoints})
}

func (p *planner) boxed() bool { return p.pipeline.BoxOf(p.stage) != configs.Inline }
