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

	"sightline/configs"
	"sightline/configs/strict"
	"sightline/web"
)

func newRun() *cobra.Command {
	c := &cobra.Command{
		Use: "run FILE", Short: "Run a pipeline file until Ctrl-C",
		Long: `Run a pipeline file. Ctrl-C or SIGTERM stops from camera to sink: what was taken is
finished and delivered within the file's grace. A second Ctrl-C kills.`,
		Example: "  sightline run front.yaml\n  SIGHTLINE_LOG_LEVEL=debug sightline run front.yaml",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			p, err := load(c, args[0])
			if err != nil {
				return err
			}
			log, err := loggerOf(p, c.ErrOrStderr())
			if err != nil {
				return err
			}
			table, closeParts := newParts(libraryOf(c), c.OutOrStdout())
			return errors.Join(runPipeline(c.Context(), p, table, log), closeParts())
		},
	}
	configs.AddFlags(c.Flags())
	return c
}

// load reads a pipeline file for this machine and tells its warnings.
func load(c *cobra.Command, path string) (*configs.Pipeline, error) {
	p, err := configs.Load(path, configs.Options{Flags: c.Flags(), BuiltIn: builtInModels()})
	if err != nil {
		return nil, badConfig{err}
	}
	warn(c.ErrOrStderr(), p.Warnings)
	return p, nil
}

func warn(out io.Writer, warnings strict.Problems) {
	for _, w := range warnings {
		fmt.Fprintln(out, w)
	}
}

func loggerOf(p *configs.Pipeline, out io.Writer) (*slog.Logger, error) {
	level, err := logLevel(p.Log.Level)
	if err != nil {
		return nil, badConfig{err}
	}
	return newLogger(out, level, p.Log.Format), nil
}

// libraryOf returns where the command line says that ONNX Runtime is, empty if it does not.
func libraryOf(c *cobra.Command) string {
	if path, err := c.Flags().GetString("onnxruntime"); err == nil && path != "" {
		return path
	}
	return os.Getenv("SIGHTLINE_ONNXRUNTIME")
}

// runPipeline runs a pipeline and its HTTP server until ctx ends.
func runPipeline(ctx context.Context, p *configs.Pipeline, table parts, log *slog.Logger) error {
	a, err := assemble(p, table, log)
	if err != nil {
		return err
	}
	server, err := serve(p, a.board, log)
	if err != nil {
		return err
	}
	log.Info("running", "pipeline", p.Name, "device", p.Device, "sources", len(p.Sources), "models", len(p.Models), "sinks", len(p.Sinks))
	err = a.run(ctx, p.Grace, log)
	log.Info("stopped", "pipeline", p.Name)
	return errors.Join(err, closeServer(server))
}

// serve opens the HTTP server that the file asks for; nil when it is off.
func serve(p *configs.Pipeline, board *web.Board, log *slog.Logger) (*web.Server, error) {
	if p.HTTP.Listen == configs.Off {
		return nil, nil
	}
	s := &web.Server{Board: board, Listen: p.HTTP.Listen, Remote: p.HTTP.AllowRemote, Log: log}
	if err := s.Open(); err != nil {
		return nil, err
	}
	log.Info("status page", "url", "http://"+s.Address()+"/")
	return s, nil
}

func closeServer(s *web.Server) error {
	if s == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	return s.Close(ctx)
}
