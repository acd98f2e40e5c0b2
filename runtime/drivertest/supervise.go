package drivertest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"sightline/runtime/closure"
	"sightline/runtime/closure/store"
	"sightline/runtime/driver"
)

const superviseArgument = "sightline-drivertest-supervise"

// errand is what a supervisor in another process does: start a box, and wait to be killed.
type errand struct {
	Store    string
	Digest   closure.Digest
	Spec     driver.Spec // without Files and Log
	Patience time.Duration
	Ask      []string // of the box, once it is there
}

// Main runs a supervisor if the test's program was started as one. TestMain calls it before m.Run:
//
//	if code, ok := drivertest.Main(os.Args, newDriver); ok { os.Exit(code) }
func Main(args []string, newDriver func() driver.Driver) (code int, ok bool) {
	if len(args) != 3 || args[1] != superviseArgument {
		return 0, false
	}
	if err := supervise(args[2], newDriver()); err != nil {
		fmt.Println("error:", err)
		return 1, true
	}
	return 0, true
}

func supervise(text string, d driver.Driver) error {
	var e errand
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		return err
	}
	kept, err := store.Open(e.Store)
	if err != nil {
		return err
	}
	e.Spec.Files, e.Spec.Log = kept.Kept(e.Digest), os.Stderr
	wire, err := net.Listen("unix", e.Spec.Socket)
	if err != nil {
		return err
	}
	fmt.Println("starting")
	if _, err := d.Start(context.Background(), e.Spec); err != nil {
		return err
	}
	fmt.Println("started")
	k, err := greet(wire, e.Patience)
	if err != nil {
		return err
	}
	fmt.Println("hello", k.name)
	for _, line := range e.Ask {
		answer, err := k.exchange(line)
		if err != nil {
			return err
		}
		fmt.Println(answer)
	}
	_, err = io.Copy(io.Discard, os.Stdin) // does not end
	return err
}

// supervisor is another process that has started a box.
type supervisor struct {
	t       *testing.T
	command *exec.Cmd
	stdin   io.WriteCloser
	said    *bufio.Reader
}

// supervisor starts one for the room, which no longer listens by itself. It asks the box some lines
// and says the answers.
func (r *room) supervisor(ask ...string) *supervisor {
	r.t.Helper()
	if err := r.wire.Close(); err != nil {
		r.t.Fatal(err)
	}
	spec := r.spec
	spec.Files, spec.Log = nil, nil
	text, err := json.Marshal(errand{r.workshop.dir, r.workshop.digest, spec, r.Patience, ask})
	if err != nil {
		r.t.Fatal(err)
	}
	s := &supervisor{t: r.t, command: exec.Command("/proc/self/exe", superviseArgument, string(text))}
	s.command.Stderr = os.Stderr
	if s.stdin, err = s.command.StdinPipe(); err != nil {
		r.t.Fatal(err)
	}
	out, err := s.command.StdoutPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	s.said = bufio.NewReader(out)
	if err := s.command.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(s.kill)
	return s
}

// says awaits the next line, which begins with a word, and returns the rest.
func (s *supervisor) says(word string) string {
	s.t.Helper()
	line, err := s.said.ReadString('\n')
	rest, ok := strings.CutPrefix(strings.TrimSpace(line), word)
	if err != nil || !ok {
		s.t.Fatalf("the supervisor says %q (%v), not %q", line, err, word)
	}
	return strings.TrimSpace(rest)
}

// kill kills it as kill -9 does.
func (s *supervisor) kill() {
	_ = s.command.Process.Kill() // may be dead already
	_ = s.command.Wait()
	s.stdin.Close()
}
