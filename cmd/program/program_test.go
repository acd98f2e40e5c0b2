package program_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"sightline/cmd/program"
	"sightline/pipeline"
	"sightline/pipeline/wire"
	"sightline/sinks"
)

// boxed runs a program against a supervisor that gives it one wire, and asks it to stop if that is
// wanted. It returns the exit status, what was printed, and what the supervisor heard.
func boxed(t *testing.T, p program.Program, c wire.Configuration, stop bool) (code int, printed string, exit wire.Exit) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var out bytes.Buffer
	var running sync.WaitGroup
	running.Go(func() { code = p.Main([]string{"first", socket}, &out) })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	box, err := wire.Accept(ctx, conn, wire.BoxOptions{
		Ticket:        wire.Ticket{Kind: p.Kind, Name: "it", Nonce: pipeline.NewSecret(strings.Repeat("n", 32)), Enroll: true},
		Configuration: c, Exit: func(e wire.Exit) { exit = e },
	})
	if err != nil {
		t.Fatal(err)
	}
	if stop {
		running.Go(func() {
			if err := box.Stop(ctx, patience); err != nil {
				t.Error(err)
			}
		})
	}
	if err := box.Run(ctx); !errors.Is(err, wire.ErrEnded) {
		t.Errorf("the wire ended with %v", err)
	}
	running.Wait()
	return code, out.String(), exit
}

// stage is one that does what the test says.
type stage func(ctx context.Context, stop <-chan struct{}) error

func (s stage) Run(ctx context.Context, stop <-chan struct{}) error { return s(ctx, stop) }

func runs(s stage) program.Program {
	return program.Program{Kind: wire.Publish, Version: "1", Build: func(*wire.Stage, wire.Configuration, pipeline.Env) (pipeline.Stage, error) { return s, nil }}
}

func TestHowAStageEndsIsToldAndTheExitStatus(t *testing.T) {
	for name, test := range map[string]struct {
		stage     stage
		stop      bool
		code      int
		reason    string
		permanent bool
	}{
		"when it is asked to":    {func(_ context.Context, stop <-chan struct{}) error { <-stop; return nil }, true, 0, "", false},
		"when it fails":          {func(context.Context, <-chan struct{}) error { return errors.New("out of order") }, false, 1, "out of order", false},
		"when it fails for good": {func(context.Context, <-chan struct{}) error { return pipeline.Permanentf("no such model") }, false, 1, "no such model", true},
		"when it panics":         {func(context.Context, <-chan struct{}) error { panic("oh") }, false, 1, "panic: oh", false},
		"when it just ends":      {func(context.Context, <-chan struct{}) error { return nil }, false, 1, "without being asked", false},
	} {
		t.Run(name, func(t *testing.T) {
			code, printed, exit := boxed(t, runs(test.stage), wire.Configuration{Device: "dev"}, test.stop)
			if code != test.code || exit.Permanent != test.permanent {
				t.Errorf("exit status %d, told %+v", code, exit)
			}
			if !strings.Contains(exit.Reason, test.reason) || !strings.Contains(printed, test.reason) || test.reason == "" && exit.Reason != "" {
				t.Errorf("told %q, printed %q", exit.Reason, printed)
			}
		})
	}
}

func TestAProgramSaysItsVersionAndHowItIsUsed(t *testing.T) {
	p := runs(nil)
	for _, test := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"-version"}, 0, "sightline-publish 1\n"},
		{nil, 2, "usage: sightline-publish ADDRESS"},
		{[]string{"-wrong"}, 2, "not defined"},
		{[]string{"nowhere"}, 1, "neither an absolute path nor host:port"},
	} {
		var out bytes.Buffer
		if code := p.Main(test.args, &out); code != test.code || !strings.Contains(out.String(), test.says) {
			t.Errorf("%q: exit status %d, %q", test.args, code, &out)
		}
	}
}

// TestAFileIsNoSinkInABox asks the real program.
func TestAFileIsNoSinkInABox(t *testing.T) {
	section, _, err := program.Encoder{}.Sink(sinks.Config{JSONL: &sinks.JSONL{Path: "x"}})
	if err != nil {
		t.Fatal(err)
	}
	w := &whole{t: t, kids: map[wire.Kind]*child{}, sections: map[wire.Kind]wire.Configuration{wire.Publish: {Device: "dev", Section: section}}, stageLog: &log{}, states: map[wire.Kind]pipeline.State{}}
	w.start(t, wire.Publish)
	w.supervise(t)
	if err := <-w.kids[wire.Publish].ended; err == nil {
		t.Error("the program ends well")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.exits) != 1 || !w.exits[0].Permanent || !strings.Contains(w.exits[0].Reason, "in: inline") {
		t.Errorf("told %+v", w.exits)
	}
}
