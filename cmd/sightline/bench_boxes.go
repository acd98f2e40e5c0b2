//go:build cgo

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sightline/bench"
	"sightline/cmd/sightline/closures"
	"sightline/configs"
	"sightline/runtime/closure/store"
	"sightline/runtime/driver"
	"sightline/runtime/supervisor"
	"sightline/runtime/supervisor/control"
)

// benchBoxes are the flags of `bench boxes`.
type benchBoxes struct {
	benchFlags
	compare   bench.BoxOptions
	in        []string
	guestSize string
	engines   configs.Runtime
}

func newBenchBoxes() *cobra.Command {
	f := &benchBoxes{}
	c := &cobra.Command{
		Use: "boxes", Short: "Measure the same pipeline in each kind of box, against inline",
		Long: `Have an ordinary run work in each kind of box, one after the other, with a run in place before and
after each: results a second, latency, start to first result, processor time, memory and sizes; and
what the supervisor costs when idle. Without --in all kinds that work here are measured; the others
are listed with the reason. Guests without KVM get a slower camera, and so does inline beside them.
Nothing else should run on the machine meanwhile.`,
		Example: `  sightline bench boxes
  sightline bench boxes --in process --rounds 5 --for 20s --json boxes.json
  sightline bench boxes --cameras 4 --fps 60        results a second when there is more than can be done
  sightline bench boxes --in vm,unikernel --guest-fps 1`,
		Args: cobra.NoArgs,
		RunE: f.run,
	}
	f.add(c)
	flags := c.Flags()
	_ = flags.MarkHidden("transport") // a box has TCP only
	flags.StringSliceVar(&f.in, "in", nil, "kinds of boxes: "+strings.Join(configs.Boxes(), ", ")+" (default: all that work here)")
	flags.IntVar(&f.compare.Rounds, "rounds", 3, "runs in each kind of box")
	flags.DurationVar(&f.compare.Idle, "idle", 20*time.Second, "how long to watch the supervisor without a camera; 0: not at all")
	flags.IntVar(&f.compare.GuestFPS, "guest-fps", 2, "pictures a second of each camera for guests without KVM")
	flags.StringVar(&f.guestSize, "guest-size", "640x360", "size of the pictures for guests without KVM")
	flags.StringVar(&f.engines.Container.Engine, "engine", "", "runtime.container.engine of the pipeline file")
	flags.StringVar(&f.engines.VM.Kernel, "kernel", "", "runtime.vm.kernel")
	flags.StringVar(&f.engines.VM.Modules, "modules", "", "runtime.vm.modules")
	flags.StringVar(&f.engines.VM.Accelerator, "accelerator", configs.AcceleratorAuto, "runtime.vm.accelerator")
	flags.StringVar(&f.engines.Unikernel.Release, "release", "", "runtime.unikernel.release")
	return c
}

// run measures and prints the report. Targets that are missed are told, and are no failure.
func (f *benchBoxes) run(c *cobra.Command, _ []string) error {
	if err := f.check(); err != nil {
		return badConfig{err}
	}
	b := f.boxes(c)
	report, err := b.Run(c.Context())
	if err != nil {
		return err
	}
	return tellReport(c, report, f.file)
}

func (f *benchBoxes) check() (err error) {
	if f.options.Size, err = bench.ParseSize(f.size); err != nil {
		return err
	}
	if f.compare.GuestSize, err = bench.ParseSize(f.guestSize); err != nil {
		return err
	}
	for _, kind := range f.in {
		if !slices.Contains(configs.Boxes(), kind) {
			return fmt.Errorf("there is no box %q (there are %s)", kind, strings.Join(configs.Boxes(), ", "))
		}
	}
	return errors.Join(f.options.Check(), f.compare.Check())
}

// boxes makes the comparison that the flags ask for.
func (f *benchBoxes) boxes(c *cobra.Command) *bench.Boxes {
	table, _ := newParts(libraryOf(c), c.OutOrStdout()) // nothing of it is opened
	return &bench.Boxes{
		Harness: newHarness(c, &f.benchFlags, table), Compare: f.compare,
		Kinds: f.kinds(c.Context(), builderOf(c)), Runtime: f.section(),
		Program: func(args ...string) *exec.Cmd { return exec.Command(self(), append(args, shared(c)...)...) },
		Ask:     askStages, Sizes: sizesOf, Remove: removeState,
	}
}

// shared are the flags that a program of the bench has from the bench.
func shared(c *cobra.Command) []string {
	var out []string
	for _, name := range []string{"onnxruntime", "stages"} {
		if text, err := c.Flags().GetString(name); err == nil && text != "" {
			out = append(out, "--"+name, text)
		}
	}
	return out
}

// section is the runtime section of the pipeline file.
func (f *benchBoxes) section() map[string]any {
	out := map[string]any{}
	for _, s := range []struct{ section, key, value string }{
		{configs.Container, "engine", f.engines.Container.Engine}, {configs.VM, "kernel", f.engines.VM.Kernel},
		{configs.VM, "modules", f.engines.VM.Modules}, {configs.VM, "accelerator", f.engines.VM.Accelerator},
		{configs.Unikernel, "release", f.engines.Unikernel.Release},
	} {
		if s.value == "" {
			continue
		}
		inner, ok := out[s.section].(map[string]any)
		if !ok {
			inner = map[string]any{}
			out[s.section] = inner
		}
		inner[s.key] = s.value
	}
	return out
}

// kinds says which kinds of boxes are measured, and of the others why not.
func (f *benchBoxes) kinds(ctx context.Context, b closures.Builder) []bench.Kind {
	drivers, missing := boxDrivers(f.engines), programsMissing(b)
	var out []bench.Kind
	for _, name := range configs.Boxes() {
		k := bench.Kind{Name: name}
		switch {
		case name == configs.Inline:
			continue // always measured
		case len(f.in) > 0 && !slices.Contains(f.in, name):
			k.Skipped = "not asked for"
		case missing != nil:
			k.Skipped = missing.Error()
		default:
			probed(&k, drivers[name].Probe(ctx))
		}
		out = append(out, k)
	}
	return out
}

func probed(k *bench.Kind, p driver.Probe) {
	k.Engine, k.Emulated = p.Engine, strings.Contains(p.Engine, "TCG")
	if p.Err != nil {
		k.Skipped = p.Err.Error()
	}
}

// programsMissing says that a program of stages in boxes is not there.
func programsMissing(b closures.Builder) error {
	var problems []error
	for _, kind := range []string{closures.Capture, closures.Classify, closures.Publish} {
		_, err := b.Program(kind)
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}

// askStages asks the supervisor of a state folder.
func askStages(ctx context.Context, dir string) ([]bench.BoxState, error) {
	client := control.Dial(dir)
	defer client.Close()
	states, err := client.List(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]bench.BoxState, len(states))
	for i, s := range states {
		out[i] = bench.BoxState{
			Stage: s.Stage, Kind: s.Kind, Running: s.Phase == supervisor.Running, Ready: s.Ready, Problem: s.Problem, Digest: s.Digest,
			Measured: s.Measured, CPU: time.Duration(s.CPU * float64(time.Second)), Memory: s.Memory,
		}
	}
	return out, nil
}

// sizesOf looks a closure up in the store of a state folder, with what it was packed into.
func sizesOf(ctx context.Context, dir, digest string) (sizes bench.Sizes, err error) {
	folder := filepath.Join(dir, "closures")
	kept, err := store.Open(folder)
	if err != nil {
		return sizes, err
	}
	m, err := kept.Kept(digestOf(digest)).Manifest(ctx)
	if err != nil {
		return sizes, err
	}
	sizes.Closure = m.Size()
	err = filepath.WalkDir(filepath.Join(folder, "packs"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasPrefix(entry.Name(), string(digestOf(digest))+"-") || strings.HasSuffix(path, ".sum") {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			sizes.Image += info.Size()
		}
		return err
	})
	return sizes, err
}
