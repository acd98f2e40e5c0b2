package program

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"sightline/pipeline"
	"sightline/pipeline/wire"
	"sightline/runtime/line"
)

// The waits between tries to reach a supervisor.
const (
	firstTry = 50 * time.Millisecond
	mostTry  = 500 * time.Millisecond
)

// orphaned is how long a stage that is asked to stop by a signal may take, and a stage whose
// supervisor does not answer to say goodbye.
const orphaned = 10 * time.Second

// Build makes the stage of a program once it is configured: its links come from st.
type Build func(st *wire.Stage, c wire.Configuration, env pipeline.Env) (pipeline.Stage, error)

// Program is the program of one kind of stage.
type Program struct {
	Kind    wire.Kind
	Version string
	Build   Build
}

// Main runs the program with the arguments of its command line, of which the last is where its wire
// is, and returns its exit status: 0 when the stage was asked to stop and is done.
func (p Program) Main(args []string, out io.Writer) int {
	flags := flag.NewFlagSet("sightline-"+string(p.Kind), flag.ContinueOnError)
	flags.SetOutput(out)
	version := flags.Bool("version", false, "say which version this is")
	flags.Usage = func() {
		fmt.Fprintf(out, "usage: %s ADDRESS\nRuns one %s stage, for the supervisor that listens at the address. `sightline run` starts it.\n", flags.Name(), p.Kind)
	}
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if *version {
		fmt.Fprintln(out, flags.Name(), p.Version)
		return 0
	}
	if flags.NArg() == 0 {
		flags.Usage()
		return 2
	}
	ctx, release := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer release()
	if err := p.live(ctx, flags.Arg(flags.NArg()-1)); err != nil {
		fmt.Fprintln(out, pipeline.RedactText(err.Error()))
		return 1
	}
	return 0
}

// live is the life of the stage; asked ends when a signal asks it to stop.
func (p Program) live(asked context.Context, address string) error {
	way, err := line.Open(address)
	if err != nil {
		return err
	}
	st := wire.NewStage(wire.StageOptions{Greeting: wire.Greeting{Kind: p.Kind, Program: "sightline-" + string(p.Kind) + " " + p.Version}})
	serving, end := context.WithCancel(context.Background())
	served := make(chan struct{})
	go func() {
		defer close(served)
		serve(serving, way, st)
	}()
	err = p.work(asked, st)
	grace := st.Grace()
	if grace <= 0 {
		grace = orphaned
	}
	ending, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	lost := st.Finish(ending, err)
	end()
	<-served
	return errors.Join(err, lost, way.Close())
}

// serve keeps a wire to whichever supervisor there is.
func serve(ctx context.Context, way *line.Way, st *wire.Stage) {
	wait := firstTry
	for ctx.Err() == nil {
		conn, err := way.Connect(ctx)
		if err == nil {
			began := time.Now()
			if err = st.Serve(ctx, conn); time.Since(began) > mostTry {
				wait = firstTry
			}
		}
		_ = err // there is nobody to tell it to: the supervisor saw its own side of it
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		wait = min(2*wait, mostTry)
	}
}

// work builds and runs the stage.
func (p Program) work(asked context.Context, st *wire.Stage) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	c, err := st.Configured(asked)
	if err != nil {
		return err
	}
	env := st.Env()
	env.ReadFile = Reader(c.Secrets)
	stage, err := p.Build(st, c, env)
	if err != nil {
		return pipeline.Permanent(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stop := make(chan struct{})
	go func() {
		grace := orphaned
		select {
		case <-st.Stop():
			grace = st.Grace()
		case <-asked.Done():
		case <-ctx.Done():
			return
		}
		close(stop)
		timer := time.AfterFunc(grace, cancel)
		<-ctx.Done()
		timer.Stop()
	}()
	err = stage.Run(ctx, stop)
	if err == nil && !closed(stop) {
		return errors.New("ended without being asked to")
	}
	return err
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
