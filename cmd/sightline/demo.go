//go:build cgo

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sightline/cmd/sightline/closures"
	"sightline/cmd/sightline/demo"
	"sightline/configs"
	"sightline/runtime/supervisor"
	"sightline/web"
)

// mixed is the demo's word for each stage in another box.
const mixed = "mixed"

// mixedBoxes is what mixed adds to the demo's pipeline.
const mixedBoxes = `
runtime:
  stages:
    gate: {in: container}
    scene: {in: vm}
    broker: {in: unikernel}
`

func newDemo() *cobra.Command {
	var length time.Duration
	var box string
	boxes := append(configs.Boxes(), mixed)
	c := &cobra.Command{
		Use: "demo", Short: "Watch a simulated camera, classified live",
		Long: `Start a simulated camera (a real RTSP server on loopback) and an MQTT broker in this
process, and run an ordinary pipeline, configs/demo.yaml, between them. Ends at Ctrl-C or --for
after the first result, with a summary. Exit status 0 only when results flowed.

--box says where its stages run; mixed is capture in a container, classify in a vm and publish in a
unikernel.`,
		Example: "  sightline demo\n  sightline demo --for 20s --box container",
		RunE: func(c *cobra.Command, _ []string) error {
			if !slices.Contains(boxes, box) {
				return badConfig{fmt.Errorf("sightline demo: there is no box %q (there are %s)", box, strings.Join(boxes, ", "))}
			}
			return runDemo(c, length, box)
		},
	}
	c.Flags().DurationVar(&length, "for", 0, "end so long after the first result (default: at Ctrl-C)")
	c.Flags().StringVar(&box, "box", configs.Process, "where the stages run: "+strings.Join(boxes, ", "))
	return c
}

func runDemo(c *cobra.Command, length time.Duration, box string) error {
	site, err := demo.Start()
	if err != nil {
		return err
	}
	return errors.Join(between(c, site, length, box), site.Close())
}

// demoDocument is the demo's pipeline between its camera and its broker.
func demoDocument(site *demo.Site, box string) *document {
	d := &document{File: "configs/demo.yaml", Folder: ".", Text: string(configs.Demo()), Variables: site.Variables()}
	d.Variables["SIGHTLINE_DEMO_STALENESS"] = "500ms"
	if box == configs.VM || box == configs.Unikernel || box == mixed {
		d.Variables["SIGHTLINE_DEMO_STALENESS"] = "10s" // without KVM a guest takes its time
	}
	if kernel, ok := os.LookupEnv("SIGHTLINE_VM_KERNEL"); ok {
		d.Variables["SIGHTLINE_VM_KERNEL"] = kernel
	}
	if box == mixed {
		d.Text += mixedBoxes
	} else {
		d.Variables["SIGHTLINE_RUNTIME_DEFAULT"] = box
	}
	return d
}

// between runs the demo's pipeline between its camera and its broker.
func between(c *cobra.Command, site *demo.Site, length time.Duration, box string) (err error) {
	out := c.OutOrStdout()
	w := work{document: demoDocument(site, box), builder: builderOf(c), stdout: out}
	if w.pipeline, err = w.document.parse(); err != nil {
		return err
	}
	state, err := os.MkdirTemp("", "sightline-demo-")
	if err != nil {
		return fmt.Errorf("state folder of the demo: %w", err)
	}
	defer func() { err = errors.Join(err, removeState(state)) }()
	ctx, cancel := context.WithCancel(c.Context())
	defer cancel()
	viewer := &demo.Viewer{Site: site, Prefix: "sightline/" + w.pipeline.Device, Out: out, Terminal: isTerminal(out)}
	watched := make(chan error, 1)
	w.began = func(s *station, server *web.Server) error {
		fmt.Fprintf(out, "camera       %s\nboxes        %s\n", site.Camera(), box)
		if server != nil {
			fmt.Fprintf(out, "status page  http://%s/\n", server.Address())
		}
		if err := probe(ctx, s, w.pipeline); err != nil {
			return err
		}
		viewer.Stages, viewer.Starting = s.board.Stages, s.startingText
		if err := viewer.Open(); err != nil {
			return err
		}
		go func() { watched <- watch(ctx, cancel, viewer, length) }()
		return nil
	}
	log := newLogger(c.ErrOrStderr(), slog.LevelWarn, "text")
	err = w.in(state, log, func(s *station) error { return w.serve(ctx, s) })
	cancel()
	select {
	case failed := <-watched:
		return errors.Join(err, failed)
	default: // it did not come so far
		return err
	}
}

// probe tries the boxes of the pipeline, so that what is missing is said at once.
func probe(ctx context.Context, s *station, p *configs.Pipeline) error {
	s.useDrivers(p.Runtime)
	tried := map[string]bool{configs.Inline: true}
	for _, stage := range closures.Names(p) {
		box := p.BoxOf(stage)
		if tried[box] {
			continue
		}
		tried[box] = true
		if err := s.site.Drivers[box].Probe(ctx).Err; err != nil {
			return fmt.Errorf("no %s boxes here: %w", box, err)
		}
	}
	return nil
}

// firstPatience is how long the first result may take: guests without KVM start slowly, one after the other.
const firstPatience = 8 * time.Minute

// startingText says which stages have not come up yet, and how they stand.
func (s *station) startingText() string {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	var waits []string
	for _, st := range s.super.List(ctx) {
		if st.Phase == supervisor.Running && st.Ready {
			continue
		}
		text := st.Stage + " is not started yet"
		if st.Phase != supervisor.Idle {
			text = st.Stage + " " + stateText(st)
		}
		if st.Problem != "" {
			text += ": " + problem(st, time.Now())
		}
		waits = append(waits, text)
	}
	switch {
	case len(s.board.Stages()) == 0:
		return "what the stages need is being prepared"
	case len(waits) == 0:
		return "all stages are up"
	}
	return strings.Join(waits, ", ")
}

// watch shows what arrives until ctx ends, or, from the first result on, for a length of time.
func watch(ctx context.Context, end context.CancelFunc, viewer *demo.Viewer, length time.Duration) error {
	go func() {
		timer := time.NewTimer(firstPatience)
		defer timer.Stop()
		select {
		case <-viewer.First():
			if length > 0 {
				time.AfterFunc(length, end)
			}
		case <-timer.C:
			end()
		case <-ctx.Done():
		}
	}()
	viewer.Watch(ctx)
	return viewer.Finish()
}

// isTerminal tells whether lines written to out can be overwritten.
func isTerminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}
