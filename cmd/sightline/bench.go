//go:build cgo

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"runtime/pprof"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"sightline/bench"
	"sightline/configs"
	"sightline/models"
	"sightline/pipeline"
)

// benchFlags are the flags of `bench` and `bench stages`.
type benchFlags struct {
	options bench.Options
	size    string
	soak    time.Duration
	cpu     string // files for profiles of the pipeline
	heap    string
	file    string
}

func newBench() *cobra.Command {
	f := &benchFlags{}
	c := &cobra.Command{
		Use: "bench", Short: "Measure a whole pipeline, and the limit that its parts set",
		Long: `Simulate cameras and an MQTT broker in a process of their own, run an ordinary pipeline between
them, and measure from capture to the received result by the clock in the pictures: latency, processor
time, drops, memory. Decode, scale and infer alone, before and after, are the limit to compare with.
Nothing else should run on the machine meanwhile.`,
		Example: `  sightline bench
  sightline bench --cameras 4 --size 1280x720 --fps 15 --json result.json
  sightline bench --model mobilenetv2.onnx --threads 2
  sightline bench --overload
  sightline bench --soak 10m
  sightline bench stages
  sightline bench cameras
  sightline bench boxes`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return f.run(c, func(h *bench.Harness) (*bench.Report, error) { return h.Run(c.Context()) })
		},
	}
	f.add(c)
	c.Flags().BoolVar(&f.options.Overload, "overload", false, "let the model take 3 times as long as the pictures of all cameras leave it")
	c.Flags().DurationVar(&f.soak, "soak", 0, "measure for so long instead, and judge whether memory grows (10m)")
	c.Flags().StringVar(&f.cpu, "cpuprofile", "", "write a processor profile of the pipeline to this file, for go tool pprof")
	c.Flags().StringVar(&f.heap, "memprofile", "", "write a heap profile of the pipeline's end to this file")
	c.AddCommand(newBenchStages(), newBenchCameras(), newBenchBoxes(), newBenchSoak(), newBenchRecord(), newBenchSite(), newBenchPipeline())
	return c
}

func newBenchStages() *cobra.Command {
	f := &benchFlags{}
	c := &cobra.Command{
		Use: "stages", Short: "Measure decode, scale, prepare, infer and publish, each alone",
		Example: "  sightline bench stages --model mobilenetv2.onnx",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return f.run(c, func(h *bench.Harness) (*bench.Report, error) { return h.Stages(c.Context()) })
		},
	}
	f.add(c)
	return c
}

// add defines the flags that both commands have.
func (f *benchFlags) add(c *cobra.Command) {
	o, flags := &f.options, c.Flags()
	flags.IntVar(&o.Cameras, "cameras", 1, "simulated cameras")
	flags.StringVar(&f.size, "size", "1920x1080", "size of their pictures")
	flags.IntVar(&o.FPS, "fps", 30, "pictures a second of each camera")
	flags.DurationVar(&o.For, "for", 15*time.Second, "how long to measure")
	flags.StringVar(&o.Model, "model", "gate", "built-in model, or path of a .onnx file")
	flags.StringVar(&o.Card, "card", "", "path of the model's card (default: beside the .onnx file)")
	flags.StringVar(&o.Provider, "provider", "cpu", "execution provider: cpu, cuda, tensorrt or auto")
	flags.IntVar(&o.Threads, "threads", 0, "threads of one inference (default: the number of processors, at most 4)")
	flags.StringVar(&o.Transport, "transport", "auto", "of the cameras' media: auto, tcp or udp")
	flags.DurationVar(&o.Staleness, "staleness", 500*time.Millisecond, "age at which pictures are dropped")
	flags.StringVar(&f.file, "json", "", "also write the report to this file")
}

// run measures and prints the report. Targets that are missed are told, and are no failure.
func (f *benchFlags) run(c *cobra.Command, measure func(*bench.Harness) (*bench.Report, error)) error {
	size, err := bench.ParseSize(f.size)
	if err != nil {
		return badConfig{err}
	}
	f.options.Size = size
	if f.soak > 0 {
		f.options.For = f.soak
	}
	if err := f.options.Check(); err != nil {
		return badConfig{err}
	}
	table, closeParts := newParts(libraryOf(c), c.OutOrStdout())
	report, err := measure(newHarness(c, f, table))
	if err = errors.Join(err, closeParts()); err != nil {
		return err
	}
	return tellReport(c, report, f.file)
}

// tellReport prints a report, after saving it if a file is named.
func tellReport(c *cobra.Command, report interface {
	Save(file string) error
	Table() string
}, file string) error {
	if file != "" {
		if err := report.Save(file); err != nil {
			return err
		}
	}
	_, err := fmt.Fprint(c.OutOrStdout(), report.Table())
	return err
}

func newHarness(c *cobra.Command, f *benchFlags, table parts) *bench.Harness {
	quiet := slog.New(slog.DiscardHandler)
	return &bench.Harness{
		Options: f.options, Version: version,
		Open: func(ctx context.Context, m models.Config) (pipeline.Classifier, error) {
			return table.classifier(m, quiet)(ctx)
		},
		Fit: func() (*models.Fit, error) { return benchFit(f.options) },
		Command: func(name string, args ...string) *exec.Cmd {
			args = append([]string{"bench", name}, args...)
			if name == "pipeline" {
				args = append(args, "--cpuprofile", f.cpu, "--memprofile", f.heap)
			}
			if library := libraryOf(c); library != "" {
				args = append(args, "--onnxruntime", library)
			}
			return exec.Command(self(), args...)
		},
		Say: func(format string, args ...any) { fmt.Fprintf(c.ErrOrStderr(), format+"\n", args...) },
	}
}

// self is the path of this program.
func self() string {
	if path, err := os.Executable(); err == nil {
		return path
	}
	return os.Args[0]
}

// benchFit describes the model that is measured.
func benchFit(o bench.Options) (*models.Fit, error) {
	carried, ok := builtInTable()[o.Model]
	if !ok {
		fit, _, err := models.Check(o.Model, o.Card)
		return fit, err
	}
	card, err := models.ParseCard(o.Model+".yaml", carried.card)
	if err != nil {
		return nil, err
	}
	return models.NewFile(o.Model, carried.model).Fit(card, "")
}

func newBenchRecord() *cobra.Command {
	var size string
	var fps int
	c := &cobra.Command{
		Use: "record FILE", Short: "Encode the pictures that a site's cameras show", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := bench.ParseSize(size)
			if err != nil {
				return badConfig{err}
			}
			r, err := bench.Record(c.Context(), s, fps)
			if err != nil {
				return err
			}
			return r.Save(args[0])
		},
	}
	c.Flags().StringVar(&size, "size", "1920x1080", "size of the pictures")
	c.Flags().IntVar(&fps, "fps", 30, "pictures a second")
	return c
}

func newBenchSite() *cobra.Command {
	return &cobra.Command{
		Use: "site RECORDING CAMERAS", Short: "The cameras and the broker of a bench", Hidden: true, Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			cameras, err := strconv.Atoi(args[1])
			if err != nil {
				return badConfig{err}
			}
			ctx, cancel := bench.UntilInputEnds(c.Context(), c.InOrStdin())
			defer cancel()
			log := newLogger(c.ErrOrStderr(), slog.LevelWarn, "text")
			return bench.RunSite(ctx, args[0], cameras, log, c.OutOrStdout())
		},
	}
}

func newBenchPipeline() *cobra.Command {
	var least time.Duration
	var cpu, heap string
	c := &cobra.Command{
		Use: "pipeline FILE", Short: "The pipeline of a bench: like run, and reads the clock", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			d, p, err := newDocument(c, args[0])
			if err != nil {
				return err
			}
			d.Variables["SIGHTLINE_RUNTIME_DEFAULT"] = configs.Inline // only there is the clock read
			w := work{pipeline: p}
			_, log, err := w.logger(c.ErrOrStderr())
			if err != nil {
				return err
			}
			ctx, cancel := bench.UntilInputEnds(c.Context(), c.InOrStdin())
			defer cancel()
			table, closeParts := newParts(libraryOf(c), c.OutOrStdout())
			return errors.Join(profiled(cpu, heap, func() error {
				return runPipeline(ctx, d, stamped(table, least), log)
			}), closeParts())
		},
	}
	configs.AddFlags(c.Flags())
	c.Flags().DurationVar(&least, "least", 0, "how long the model is to take at least")
	c.Flags().StringVar(&cpu, "cpuprofile", "", "write a processor profile to this file")
	c.Flags().StringVar(&heap, "memprofile", "", "write a heap profile to this file at the end")
	return c
}

// profiled runs do, and writes a processor profile of it and a heap profile of its end to files, each
// unless its path is empty.
func profiled(cpu, heap string, do func() error) error {
	end := func() error { return nil }
	if cpu != "" {
		f, err := os.Create(cpu)
		if err != nil {
			return fmt.Errorf("write processor profile: %w", err)
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return errors.Join(fmt.Errorf("write processor profile %q: %w", cpu, err), f.Close())
		}
		end = func() error {
			pprof.StopCPUProfile()
			return f.Close()
		}
	}
	return errors.Join(do(), end(), writeHeap(heap))
}

func writeHeap(path string) error {
	if path == "" {
		return nil
	}
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write heap profile: %w", err)
	}
	return errors.Join(pprof.Lookup("heap").WriteTo(f, 0), f.Close())
}

// stamped is a table whose classifiers read the clock in the pictures.
func stamped(table parts, least time.Duration) parts {
	plain := table.classifier
	table.classifier = func(m models.Config, log *slog.Logger) func(context.Context) (pipeline.Classifier, error) {
		open := plain(m, log)
		return func(ctx context.Context) (pipeline.Classifier, error) {
			c, err := open(ctx)
			if err != nil {
				return nil, err
			}
			stamp, err := bench.NewStamp(c, least)
			if err != nil {
				return nil, pipeline.Permanent(errors.Join(err, c.Close()))
			}
			return stamp, nil
		}
	}
	return table
}
