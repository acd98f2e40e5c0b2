package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"sightline/configs"
	"sightline/pipeline"
	"sightline/pipeline/grant"
)

func newPlan() *cobra.Command {
	c := &cobra.Command{
		Use: "plan FILE", Short: "Say what a pipeline file would run, and on what",
		Long: `Print each stage in the order of starting: its box, what it works with, and the only
addresses that it may reach. Models are loaded to see that they and their providers come up; cameras
and upstreams are not connected to. Exit status 1 when something could not run here.`,
		Example: "  sightline plan front.yaml",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			p, err := load(c, args[0])
			if err != nil {
				return err
			}
			table, closeParts := newParts(libraryOf(c), c.OutOrStdout())
			pl := planner{pipeline: p, table: table, out: c.OutOrStdout()}
			return errors.Join(pl.print(c), closeParts())
		},
	}
	configs.AddFlags(c.Flags())
	return c
}

type planner struct {
	pipeline *configs.Pipeline
	table    parts
	out      io.Writer
	missing  int
}

func (p *planner) print(c *cobra.Command) error {
	fmt.Fprintf(p.out, "pipeline %s on device %s\n", p.pipeline.Name, p.pipeline.Device)
	for _, name := range slices.Sorted(maps.Keys(p.pipeline.Sinks)) {
		p.sink(name)
	}
	for _, name := range slices.Sorted(maps.Keys(p.pipeline.Models)) {
		p.model(c, name)
	}
	for _, name := range slices.Sorted(maps.Keys(p.pipeline.Sources)) {
		p.source(name)
	}
	if p.missing > 0 {
		return fmt.Errorf("plan: %d of the stages would not run here", p.missing)
	}
	return nil
}

func (p *planner) stage(kind, name string) {
	fmt.Fprintf(p.out, "\n%s %s\n", kind, name)
	p.line("box", "%s", p.pipeline.BoxOf(name))
}

func (p *planner) line(key, format string, args ...any) {
	fmt.Fprintf(p.out, "  %-10s %s\n", key, fmt.Sprintf(format, args...))
}

func (p *planner) problem(err error) {
	p.missing++
	p.line("MISSING", "%s", strings.ReplaceAll(err.Error(), "\n", "\n             "))
}

func (p *planner) grants(endpoints []grant.Endpoint) {
	p.line("network", "%s", &grant.Network{Endpoints: endpoints})
}

func (p *planner) sink(name string) {
	c := p.pipeline.Sinks[name]
	p.stage("publish", name)
	_, endpoints, err := p.table.sink(c)
	if err != nil {
		p.problem(err)
		return
	}
	switch {
	case c.MQTT != nil:
		p.line("upstream", "MQTT %s, QoS %d, topics %s/%s/…", pipeline.RedactText(c.MQTT.URL), c.MQTT.QoS, c.MQTT.Prefix, p.pipeline.Device)
	case c.JSONL != nil:
		p.line("upstream", "JSON lines to %s", c.JSONL.Path)
	}
	p.line("spool", "in memory, %s or %s, then %s", c.Spool.MaxBytes, c.Spool.MaxAge, c.Spool.Full)
	p.line("results of", "%s", strings.Join(c.Inputs, ", "))
	p.grants(endpoints)
}

func (p *planner) model(c *cobra.Command, name string) {
	m := p.pipeline.Models[name]
	p.stage("classify", name)
	classifier, err := p.table.classifier(m, slog.New(slog.DiscardHandler))(c.Context())
	if err != nil {
		p.problem(err)
		return
	}
	info, wish := classifier.Info(), classifier.Wish()
	p.line("model", "%s %s", strings.TrimSpace(info.Name+" "+info.Version), info.Digest)
	p.line("provider", "%s (asked for: %s)", info.Provider, m.Provider)
	p.line("wants", "%d×%d %s, %s, batches of up to %d", wish.Width, wish.Height, wish.Color, wish.Resize, info.MaxBatch)
	for _, r := range wish.Regions {
		if r.Name != "" {
			p.line("region", "%s: left %g, top %g, right %g, bottom %g", r.Name, r.Left, r.Top, r.Right, r.Bottom)
		}
	}
	p.line("frames of", "%s", strings.Join(m.Inputs, ", "))
	p.grants(nil)
	if err := classifier.Close(); err != nil {
		p.problem(err)
	}
}

func (p *planner) source(name string) {
	c := p.pipeline.Sources[name]
	p.stage("capture", name)
	_, endpoints, err := p.table.source(c)
	if err != nil {
		p.problem(err)
		return
	}
	if c.RTSP != nil {
		p.line("camera", "%s, transport %s", pipeline.RedactText(c.RTSP.URL), c.RTSP.Transport)
	}
	p.line("sample", "%s, stale after %s", sampleText(c.Sample.Every, c.Sample.FPS), c.Staleness)
	p.line("decoder", "%s", c.Decoder)
	p.grants(endpoints)
}

func sampleText(every string, fps float64) string {
	if fps > 0 {
		return fmt.Sprintf("%g frames a second", fps)
	}
	if every == "" {
		every = "frame"
	}
	return "every " + every
}
