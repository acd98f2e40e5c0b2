package program

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"sightline/pipeline"
	"sightline/pipeline/wire"
)

// Build makes the stage of a program once it is configured: its links come from st.
type Build func(st *wire.Stage, c wire.Configuration, env pipeline.Env) (pipeline.Stage, error)

// Program is the program of one kind of stage.
type Program struct {
	Kind    wire.Kind
	Version string
	Build   Build
}

// Main runs the program with the arguments of its command line, of which the last is where its wire
// is, and returns its exit status: 0 when the stage was asked to stop and is done, 1 when it failed,
// 2 for a command line that it doesn't understand.
func (p Program) Main(args []string, out io.Writer) int {
	flags := flag.NewFlagSet(p.name(), flag.ContinueOnError)
	flags.SetOutput(out)
	version := flags.Bool("version", false, "say which version this is")
	flags.Usage = func() {
		fmt.Fprintf(out, "usage: %s ADDRESS\nRuns one %s stage, for the supervisor that listens at the address. `sightline run` starts it.\n", p.name(), p.Kind)
	}
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if *version {
		fmt.Fprintln(out, p.name(), p.Version)
		return 0
	}
	if flags.NArg() == 0 {
		flags.Usage()
		return 2
	}
	trustClosure()
	asked, release := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer release()
	if err := p.live(asked, flags.Arg(flags.NArg()-1), out); err != nil {
		fmt.Fprintln(out, pipeline.RedactText(err.Error()))
		return 1
	}
	return 0
}

func (p Program) name() string { return "sightline-" + string(p.Kind) }

// authorities is where the closure has the certificates of the system's authorities.
const authorities = "/etc/ssl/certs/ca-certificates.crt"

// trustClosure has the authorities taken from the closure where that is not the root. Go reads the
// variable when they are first needed.
func trustClosure() {
	const variable = "SSL_CERT_FILE"
	if at := At(authorities); at != authorities && os.Getenv(variable) == "" {
		_ = os.Setenv(variable, at) // fails for impossible names only
	}
}

// live is the life of the stage. asked ends when a signal asks it to stop.
func (p Program) live(asked context.Context, address string, out io.Writer) error {
	wires, err := openWires(address, wire.StageOptions{Greeting: wire.Greeting{Kind: p.Kind, Program: p.name() + " " + p.Version}}, out)
	if err != nil {
		return err
	}
	defer wires.close()
	c, err := wires.stage.Configured(asked)
	if err != nil {
		return nil // asked to stop before there was anything to do
	}
	l := newLife(asked, wires.stage)
	defer l.end()
	err = l.run(func() (pipeline.Stage, error) {
		env := wires.stage.Env()
		env.ReadFile = Reader(c.Secrets)
		return p.Build(wires.stage, c, env)
	})
	return errors.Join(err, l.finish(err))
}
