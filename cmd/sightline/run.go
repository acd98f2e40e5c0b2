package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"sightline/cmd/sightline/closures"
	"sightline/configs"
	"sightline/configs/strict"
	"sightline/runtime/supervisor"
	"sightline/web"
)

func newRun() *cobra.Command {
	service := false
	c := &cobra.Command{
		Use: "run [FILE]", Short: "Run a pipeline file until Ctrl-C, or until its video files are played",
		Long: `Run a pipeline file, each stage in its box, and keep all of it running. Ctrl-C or SIGTERM stops
from camera to sink: what was taken is finished and delivered within the file's grace. A second Ctrl-C
kills the supervisor alone: the boxes go on, and the next run adopts them. When every source is a video
file without loop, it stops in the same way once they are played.

Without FILE the plan that was accepted last runs, from what is in the state folder: neither the
network nor the file nor a model has to be there any more.`,
		Example: "  sightline run front.yaml\n  SIGHTLINE_LOG_LEVEL=debug sightline run front.yaml",
		Args:    cobra.MaximumNArgs(1),
		RunE:    func(c *cobra.Command, args []string) error { return runCommand(c, args, service) },
	}
	configs.AddFlags(c.Flags())
	addState(c)
	c.Flags().BoolVar(&service, "service", false, "when FILE cannot be used, say why and go on with the plan that was accepted last")
	return c
}

// addState defines the flag for where the supervisor keeps what it must not forget.
func addState(c *cobra.Command) {
	c.Flags().String("state", "", "state folder of the supervisor (default: $SIGHTLINE_STATE, then /var/lib/sightline for root, else ~/.local/state/sightline)")
}

// stateOf returns the state folder that a command line means.
func stateOf(c *cobra.Command) (string, error) {
	if dir, err := c.Flags().GetString("state"); err == nil && dir != "" {
		return filepath.Abs(dir)
	}
	if dir := os.Getenv("SIGHTLINE_STATE"); dir != "" {
		return filepath.Abs(dir)
	}
	if os.Geteuid() == 0 {
		return "/var/lib/sightline", nil
	}
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "sightline"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("find a state folder: %w (name one with --state)", err)
	}
	return filepath.Join(home, ".local/state/sightline"), nil
}

// runCommand is `sightline run`.
func runCommand(c *cobra.Command, args []string, service bool) error {
	dir, err := stateOf(c)
	if err != nil {
		return err
	}
	w := work{builder: builderOf(c), stdout: c.OutOrStdout()}
	var unusable error
	if len(args) > 0 {
		w.document, w.pipeline, unusable = newDocument(args[0], c.Flags())
		if unusable != nil && !service {
			return unusable
		}
	}
	if w.pipeline != nil {
		if err := handOver(w.pipeline); err != nil {
			return err
		}
	}
	level, log, err := w.logger(c.ErrOrStderr())
	if err != nil {
		return err
	}
	return w.in(dir, log, func(s *station) error {
		if w.pipeline == nil {
			if unusable != nil {
				log.Error("the pipeline file cannot be used; going on with the plan accepted last", "err", unusable)
			}
			if err := w.remember(s); err != nil {
				return errors.Join(unusable, err)
			}
			if needsC(w.pipeline) && !inPlace {
				return errApart
			}
			if accepted, err := logLevel(w.pipeline.Log.Level); err == nil {
				level.Set(accepted)
			}
		} else {
			warn(c.ErrOrStderr(), w.pipeline.Warnings)
		}
		return w.serve(c.Context(), s)
	})
}

// work is a pipeline to run.
type work struct {
	pipeline *configs.Pipeline
	document *document
	builder  closures.Builder
	stdout   io.Writer
	table    *parts                            // nil: the ordinary one
	began    func(*station, *web.Server) error // is called before anything runs; may be nil
}

// logger makes the log that the pipeline asks for.
func (w *work) logger(out io.Writer) (*slog.LevelVar, *slog.Logger, error) {
	level, format := &slog.LevelVar{}, "text"
	if w.pipeline != nil {
		least, err := logLevel(w.pipeline.Log.Level)
		if err != nil {
			return nil, nil, badConfig{err}
		}
		level.Set(least)
		format = w.pipeline.Log.Format
	}
	return level, newLogger(out, level, format), nil
}

// in opens the state folder for do, and closes it and ONNX Runtime after it.
func (w *work) in(dir string, log *slog.Logger, do func(*station) error) error {
	table, closeParts := newParts(w.builder.Library, w.stdout)
	if w.table != nil {
		table = *w.table
	}
	s, err := openStation(dir, w.builder, table, log)
	if err != nil {
		return errors.Join(err, closeParts())
	}
	return errors.Join(do(s), s.close(), closeParts())
}

// remember takes up the plan that was accepted last.
func (w *work) remember(s *station) error {
	accepted, err := s.super.Accepted()
	if err != nil {
		return err
	}
	if accepted == nil {
		return badConfig{errNoPlan}
	}
	if w.document, err = readDocument(accepted.Document); err != nil {
		return err
	}
	w.pipeline, err = w.document.parse()
	return err
}

// serve runs the pipeline, its HTTP server and the control socket until ctx ends.
func (w *work) serve(ctx context.Context, s *station) error {
	p := w.pipeline
	s.board.Describe(p.Device, p.Name)
	server, err := serve(p, s.board, s.log)
	if err != nil {
		return err
	}
	if w.began != nil {
		if err := w.began(s, server); err != nil {
			return errors.Join(err, closeServer(server))
		}
	}
	control, err := s.listen()
	if err != nil {
		return errors.Join(err, closeServer(server))
	}
	s.log.Info("running", "pipeline", p.Name, "device", p.Device, "sources", len(p.Sources), "models", len(p.Models), "sinks", len(p.Sinks))
	applying, cancel := context.WithCancel(ctx)
	applied := make(chan error, 1)
	go func() {
		report, err := s.applyPipeline(applying, p, w.document, false)
		if err == nil {
			tell(s.log, report)
			err = s.notify(applying)
		}
		if err != nil && ctx.Err() == nil {
			cancel()
		}
		applied <- err
	}()
	running, end := context.WithCancel(ctx)
	defer context.AfterFunc(applying, end)()
	go func() {
		if s.awaitEnd(running) {
			s.log.Info("every source came to its end")
			end()
		}
	}()
	err = s.super.Run(running)
	cancel()
	end()
	failed := <-applied
	if errors.Is(failed, context.Canceled) {
		failed = nil
	}
	s.log.Info("stopped", "pipeline", p.Name)
	return errors.Join(err, failed, control.Close(), closeServer(server))
}

// tell logs what was done with each stage.
func tell(log *slog.Logger, report supervisor.Report) {
	for _, o := range report.Stages {
		level := slog.LevelInfo
		if o.Action == supervisor.PutBack || o.Action == supervisor.Refused {
			level = slog.LevelError
		}
		log.Log(context.Background(), level, "stage "+string(o.Action), "stage", o.Stage, "box", o.Box, "why", o.Why)
	}
}

// runPipeline runs a document with a table of parts until ctx ends, with a state folder of its own.
func runPipeline(ctx context.Context, d *document, table parts, log *slog.Logger) (err error) {
	w := work{document: d, table: &table, builder: closures.Builder{BuiltIn: builtInModels()}}
	if w.pipeline, err = d.parse(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "sightline-")
	if err != nil {
		return fmt.Errorf("state folder: %w", err)
	}
	return errors.Join(w.in(dir, log, func(s *station) error { return w.serve(ctx, s) }), removeState(dir))
}

// removeState removes a state folder, whose trees of closures are read-only.
func removeState(dir string) error {
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			err = os.Chmod(path, 0o700)
		}
		return err
	})
	return errors.Join(err, os.RemoveAll(dir))
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

// libraryOf returns where the command line says that ONNX Runtime is, empty if it does not.
func libraryOf(c *cobra.Command) string {
	if path, err := c.Flags().GetString("onnxruntime"); err == nil && path != "" {
		return path
	}
	return os.Getenv("SIGHTLINE_ONNXRUNTIME")
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
