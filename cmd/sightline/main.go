// Command sightline watches cameras, classifies what they see on this device, and sends the results
// upstream. `sightline --help` says how.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"sightline/runtime/process"
)

// version is set by the linker.
var version = "unknown"

// The exit statuses.
const (
	exitWell      = 0
	exitFailed    = 1
	exitBadConfig = 2
)

// badConfig marks an error of the pipeline file or the command line.
type badConfig struct{ error }

func (e badConfig) Unwrap() error { return e.error }

func main() {
	if code, ok := process.Main(os.Args); ok {
		os.Exit(code)
	}
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run executes one command line and returns its exit status. The first SIGINT or SIGTERM ends the
// command's context, so that it stops in order; the second kills the process.
func run(args []string, stdout, stderr io.Writer) int {
	ctx, release := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer release()
	go func() {
		<-ctx.Done()
		release()
	}()
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	var bad badConfig
	switch {
	case err == nil:
		return exitWell
	case errors.As(err, &bad):
		fmt.Fprintln(stderr, err)
		return exitBadConfig
	default:
		fmt.Fprintln(stderr, "sightline:", err)
		return exitFailed
	}
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "sightline",
		Short: "Turn camera streams into answers, on the device beside the camera",
		Long: `Sightline captures camera streams, classifies what they show on this device, and
publishes only the results. A pipeline file says which cameras, models and upstreams.

Exit status: 0 well, 1 failed, 2 bad configuration or command line.`,
		Example: `  sightline demo                    watch a simulated camera, classified live
  sightline doctor                  what this machine can do, and how to get what is missing
  sightline probe rtsp://…          what a camera sends, and what to write for it
  sightline validate front.yaml     everything that is wrong with a file, at once
  sightline plan front.yaml         what would run, and on what
  sightline run front.yaml          run it until Ctrl-C
  sightline ps                      how its stages do
  sightline up front.yaml           take up a changed file`,
		SilenceUsage: true, SilenceErrors: true,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		return badConfig{fmt.Errorf("%w (see --help)", err)}
	})
	root.PersistentFlags().String("onnxruntime", "", "path of libonnxruntime.so (default: $SIGHTLINE_ONNXRUNTIME, then the usual folders)")
	root.PersistentFlags().String("stages", "", "folder of the stages' programs (default: $SIGHTLINE_STAGES, then beside this program)")
	root.AddCommand(newRun(), newValidate(), newPlan(), newClosure(), newModels(), newHealth(), newVersion(), newSchema())
	root.AddCommand(newControl()...)
	root.AddCommand(commands()...)
	root.Args, root.RunE = unknown, func(c *cobra.Command, _ []string) error { return c.Help() }
	strictly(root.Commands())
	return root
}

// strictly makes a wrong number of arguments a bad command line, for commands and those below them.
func strictly(commands []*cobra.Command) {
	for _, c := range commands {
		c.Args = usage(c.Args)
		strictly(c.Commands())
	}
}

// unknown refuses a word that is no command.
func unknown(root *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	advice := "see --help"
	root.SuggestionsMinimumDistance = 2
	if near := root.SuggestionsFor(args[0]); len(near) > 0 {
		advice = "did you mean " + strings.Join(near, " or ") + "?"
	}
	return badConfig{fmt.Errorf("sightline: there is no command %q (%s)", args[0], advice)}
}

// usage makes a wrong number of arguments a bad command line.
func usage(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if check == nil {
			check = cobra.NoArgs
		}
		if err := check(c, args); err != nil {
			return badConfig{fmt.Errorf("%s: %w (usage: %s)", c.CommandPath(), err, c.UseLine())}
		}
		return nil
	}
}
