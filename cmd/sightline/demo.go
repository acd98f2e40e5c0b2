package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"sightline/cmd/sightline/demo"
	"sightline/configs"
)

func newDemo() *cobra.Command {
	var length time.Duration
	c := &cobra.Command{
		Use: "demo", Short: "Watch a simulated camera, classified live",
		Long: `Start a simulated camera (a real RTSP server on loopback) and an MQTT broker in this
process, and run an ordinary pipeline, configs/demo.yaml, between them. Ends at Ctrl-C or after
--for, with a summary. Exit status 0 only when results flowed.`,
		Example: "  sightline demo\n  sightline demo --for 20s",
		RunE: func(c *cobra.Command, _ []string) error {
			return runDemo(c, length)
		},
	}
	c.Flags().DurationVar(&length, "for", 0, "end after this long (default: at Ctrl-C)")
	return c
}

func runDemo(c *cobra.Command, length time.Duration) error {
	ctx := c.Context()
	if length > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, length)
		defer cancel()
	}
	site, err := demo.Start()
	if err != nil {
		return err
	}
	return errors.Join(between(ctx, c, site), site.Close())
}

// between runs the demo's pipeline between its camera and its broker.
func between(ctx context.Context, c *cobra.Command, site *demo.Site) error {
	out := c.OutOrStdout()
	p, err := configs.Parse("configs/demo.yaml", configs.Demo(), configs.Options{Env: site.Variables, BuiltIn: builtInModels(), Folder: "."})
	if err != nil {
		return badConfig{err}
	}
	table, closeParts := newParts(libraryOf(c), out)
	log := newLogger(c.ErrOrStderr(), slog.LevelWarn, "text")
	a, err := assemble(p, table, log)
	if err != nil {
		return err
	}
	server, err := serve(p, a.board, log)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "camera       %s\n", site.Camera())
	if server != nil {
		fmt.Fprintf(out, "status page  http://%s/\n", server.Address())
	}
	viewer := &demo.Viewer{Site: site, Prefix: "sightline/" + p.Device, Out: out, Terminal: isTerminal(out), Stages: a.board.Stages}
	if err := viewer.Open(); err != nil {
		return errors.Join(err, closeServer(server))
	}
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		viewer.Watch(ctx)
	}()
	err = errors.Join(a.run(ctx, p.Grace, log), closeServer(server), closeParts())
	<-watched
	return errors.Join(err, viewer.Finish())
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
