package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"sightline/cmd/sightline/closures"
	"sightline/configs"
	"sightline/configs/strict"
	"sightline/runtime/supervisor"
	"sightline/web"
)

func newRun() *cobra.Command {
	var o runOptions
	c := &cobra.Command{
		Use: "run [FILE]", Short: "Run a pipeline file until Ctrl-C, or until its video files are played",
		Long: `Run a pipeline file, each stage in its box, and keep all of it running. Ctrl-C or SIGTERM stops
from camera to sink: what was taken is finished and delivered within the file's grace. A second Ctrl-C
kills the supervisor alone: the boxes go on, and the next run adopts them. When every source is a video
file without loop, it stops in the same way once they are played.

FILE is read again when it, or a model, card or secret that it names, is changed, and on SIGHUP. What
did not change goes on untouched; a file that cannot be used changes nothing, and the log, ps and
/status say why. --reload signal leaves it at SIGHUP.

Without FILE the plan that was accepted last runs, from what is in the state folder: neither the
network nor the file nor a model has to be there any more.`,
		Example: "  sightline run front.yaml\n  SIGHTLINE_LOG_LEVEL=debug sightline run front.yaml",
		Args:    cobra.MaximumNArgs(1),
		RunE:    func(c *cobra.Command, args []string) error { return runCommand(c, args, o) },
	}
	configs.AddFlags(c.Flags())
	addState(c)
	c.Flags().BoolVar(&o.service, "service", false, "when FILE cannot be used, say why and go on with the plan that was accepted last")
	c.Flags().StringVar(&o.reload, "reload", reloadChange, "what has FILE read again: change (of it, or SIGHUP) or signal (SIGHUP alone)")
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

// runOptions are the flags of `sightline run`.
type runOptions struct {
	service bool
	reload  string
}

// runCommand is `sightline run`.
func runCommand(c *cobra.Command, args []string, o runOptions) error {
	if o.reload != reloadChange && o.reload != reloadSignal {
		return badConfig{fmt.Errorf("--reload %q: it is %s or %s", o.reload, reloadChange, reloadSignal)}
	}
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGHUP)
	defer signal.Stop(asked)
	dir, err := stateOf(c)
	if err != nil {
		return err
	}
	w := work{builder: builderOf(c), stdout: c.OutOrStdout(), again: &reloader{asked: asked}}
	var unusable error
	if len(args) > 0 {
		w.again.watch = o.reload == reloadChange
		if unusable = w.read(c, args[0]); unusable != nil && !o.service {
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
		s.level = level
		w.again.follow(s)
		if w.pipeline != nil {
			warn(c.ErrOrStderr(), w.pipeline.Warnings)
			return w.serve(c.Context(), s)
		}
		if err := w.goOn(s, unusable); err != nil {
			return err
		}
		return w.serve(c.Context(), s)
	})
}

// read reads the pipeline file of the command line.
func (w *work) read(c *cobra.Command, file string) (err error) {
	r := w.again
	r.file, r.read = file, func() (*document, *configs.Pipeline, error) { return newDocument(c, file) }
	before := markOf(file)
	if w.document, w.pipeline, err = r.read(); err != nil {
		r.refused(err, before)
		return err
	}
	r.taken(w.pipeline, before)
	return nil
}

// goOn takes up the plan that was accepted last, as there is no file, or one that is unusable.
func (w *work) goOn(s *station, unusable error) error {
	if unusable != nil {
		tellProblems(s.log, slog.LevelError, "the pipeline file cannot be used; going on with the plan accepted last", unusable)
	}
	if err := w.remember(s); err != nil {
		return errors.Join(unusable, err)
	}
	if needsC(w.pipeline) && !inPlace {
		return errApart
	}
	s.setLevel(nil, w.pipeline)
	return nil
}

// work is a pipeline to run.
type work struct {
	pipeline *configs.Pipeline
	document *document
	builder  closures.Builder
	stdout   io.Writer
	table    *parts                            // nil: the ordinary one
	began    func(*station, *web.Server) error // is called before anything runs; may be nil
	again    *reloader                         // nil: the file is not read again
	// remembered says that the document is the plan that was accepted last.
	remembered bool
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
	w.remembered = true
	w.pipeline, err = w.document.parse()
	return err
}

// serve runs the pipeline, its HTTP server and the control socket until ctx ends.
func (w *work) serve(ctx context.Context, s *station) error {
	p := w.pipeline
	s.board.Describe(p.Device, p.Name)
	var err error
	if s.http, err = serve(p, s.board, s.log); err != nil {
		return err
	}
	s.own = p
	if w.began != nil {
		if err := w.began(s, s.http); err != nil {
			return errors.Join(err, s.closeHTTP())
		}
	}
	control, err := s.listen()
	if err != nil {
		return errors.Join(err, s.closeHTTP())
	}
	s.log.Info("running", "pipeline", p.Name, "device", p.Device, "sources", len(p.Sources), "models", len(p.Models), "sinks", len(p.Sinks))
	applying, cancel := context.WithCancel(ctx)
	applied := make(chan error, 1)
	go func() {
		adopted := w.adopt(applying, s)
		report, err := s.applyPipeline(applying, p, w.document, how{})
		if err != nil && adopted && applying.Err() == nil {
			s.log.Error("the file's plan is refused: what ran before goes on", "err", err)
			err = nil
		}
		if err == nil {
			tell(s.log, report)
			err = w.whileItRuns(applying, s)
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
	if errors.Is(failed, context.Canceled) || errors.Is(failed, supervisor.ErrDown) {
		failed = nil // it was asked to end before all was started
	}
	s.log.Info("stopped", "pipeline", p.Name)
	return errors.Join(err, failed, control.Close(), s.closeHTTP())
}

// adopt has what an earlier supervisor left running go on at once, by the plan that it was started by,
// before the file is taken up: making closures takes its time. It tells whether there was any.
func (w *work) adopt(ctx context.Context, s *station) bool {
	if w.remembered || !s.super.Left() {
		return false
	}
	var before work
	err := before.remember(s)
	if err == nil && needsC(before.pipeline) && !inPlace {
		return false
	}
	if err == nil {
		_, err = s.applyPipeline(ctx, before.pipeline, before.document, how{})
	}
	if err != nil && ctx.Err() == nil {
		s.log.Warn("what ran before cannot go on by its plan", "err", err)
	}
	return err == nil
}

// whileItRuns does what is to be done beside a pipeline that was taken up, until ctx ends.
func (w *work) whileItRuns(ctx context.Context, s *station) error {
	var beside sync.WaitGroup
	if w.again != nil {
		beside.Go(func() { w.again.run(ctx) })
	}
	err := s.notify(ctx)
	beside.Wait()
	return err
}

// tell logs what was done with each stage.
func tell(log *slog.Logger, report supervisor.Report) {
	for _, o := range report.Stages {
		level := slog.LevelInfo
		if o.Action == supervisor.PutBack || o.Action == supervisor.Refused {
			level = slog.LevelError
		}
		attrs := []any{"stage", o.Stage, "box", o.Box}
		if o.Why != "" {
			attrs = append(attrs, "why", o.Why)
		}
		log.Log(context.Background(), level, "stage "+string(o.Action), attrs...)
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
	o := options(storeFolder(c))
	o.Flags = c.Flags()
	p, err := configs.Load(path, o)
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
