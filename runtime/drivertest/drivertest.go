// Package drivertest is the suite that every driver of boxes passes: a box of it starts, talks,
// stops, outlives its supervisor, keeps to itself and to its limits, as package driver says.
//
// A driver's test package has a TestMain that calls Main first, as the suite starts the test's own
// program as supervisors that it then kills, and a test that calls Run.
package drivertest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"sightline/runtime/driver"
)

// Harness says how a driver is tested.
type Harness struct {
	// New returns the driver under test.
	New func() driver.Driver
	// Patience is how long a box may take to start or to stop; 0 is three minutes.
	Patience time.Duration
	// Left returns what can be found of a box outside Spec.Dir, in words: processes, containers.
	Left func(spec driver.Spec) []string
	// TellsExit says that the exit status of an adopted box is known.
	TellsExit bool
	// Stalls says that a box may, seldom, never come up for no fault of the driver: one
	// that has not said a word after Patience is then started once more.
	Stalls bool
	// Stage is the suite's program, see BuildStage; "" is to build it.
	Stage string
	// Arch is GOARCH of the stage's program; "" is this machine's.
	Arch string
	// Skip has the reason why a test can't be passed by this kind of box, by the test's name.
	Skip map[string]string
}

// Run runs the suite. Where the driver's Probe says that no box runs here, it skips with its reason.
func Run(t *testing.T, h Harness) {
	if h.Patience == 0 {
		h.Patience = 3 * time.Minute
	}
	d := h.New()
	p := d.Probe(t.Context())
	if p.Err != nil {
		t.Skipf("no %s box runs here: %v", d.Name(), p.Err)
	}
	t.Logf("%s on %s\nprotects: %q\nlacks: %q", d.Name(), p.Engine, p.Protect, p.Lacks)
	s := &suite{Harness: h, driver: d, workshop: newWorkshop(t, h)}
	t.Run("isolation", func(t *testing.T) { isolation(t, s) })
	for _, group := range [][]test{life(), failures(), recoveries(), limits()} {
		for _, test := range group {
			t.Run(test.name, func(t *testing.T) {
				if why, ok := h.Skip[test.name]; ok {
					t.Skip(why)
				}
				test.run(t, s)
			})
		}
	}
}

type test struct {
	name string
	run  func(*testing.T, *suite)
}

type suite struct {
	Harness
	driver   driver.Driver
	workshop *workshop
	count    atomic.Int64
}

// room is what a supervisor has ready for one box.
type room struct {
	*suite
	t    *testing.T
	spec driver.Spec
	log  *lines
	wire net.Listener
}

// room makes a room with a new ID. What is left of the box at the end of the test fails it.
func (s *suite) room(t *testing.T) *room {
	t.Helper()
	dir, err := os.MkdirTemp("", "box") // short: paths of sockets have at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	r := &room{suite: s, t: t, log: newLines()}
	r.spec = driver.Spec{
		ID: fmt.Sprintf("suite-%d-%d", os.Getpid(), s.count.Add(1)), Stage: "suite", Files: s.workshop.files(t),
		Program: []string{"/stage", "first", "second argument"}, Dir: dir, Socket: filepath.Join(dir, "wire.sock"), Log: r.log,
	}
	r.listen()
	t.Cleanup(r.checkEmpty)
	return r
}

// listen listens for the box as a supervisor that comes anew does.
func (r *room) listen() {
	r.t.Helper()
	if err := os.Remove(r.spec.Socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		r.t.Fatal(err)
	}
	wire, err := net.Listen("unix", r.spec.Socket)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { wire.Close() })
	r.wire = wire
}

// checkEmpty fails the test if anything of the box is left.
func (r *room) checkEmpty() {
	entries, err := os.ReadDir(r.spec.Dir)
	if err != nil {
		r.t.Error(err)
	}
	for _, e := range entries {
		if e.Name() != filepath.Base(r.spec.Socket) {
			r.t.Errorf("left in the folder of the box: %q", e.Name())
		}
	}
	if r.Left == nil {
		return
	}
	for _, what := range r.Left(r.spec) {
		r.t.Errorf("left of the box: %s", what)
	}
}

// start starts the box and takes its hello. The box is killed when the test ends before it.
func (r *room) start() (driver.Box, *talk) {
	r.t.Helper()
	box := r.launch()
	k, err := greet(r.wire, r.Patience)
	if err != nil && r.Stalls && r.log.String() == "" {
		r.t.Logf("box %q has not said a word: another is started, as a supervisor would", r.spec.ID)
		box = r.again(box)
		k, err = greet(r.wire, r.Patience)
	}
	return box, r.greeted(k, err)
}

// again starts the same in another room.
func (r *room) again(stalled driver.Box) driver.Box {
	r.t.Helper()
	if err := stalled.Stop(r.t.Context(), 0); err != nil {
		r.t.Fatal(err)
	}
	<-stalled.Done()
	anew := r.room(r.t)
	anew.spec.Files, anew.spec.Program, anew.spec.Limits = r.spec.Files, r.spec.Program, r.spec.Limits
	*r = *anew
	return r.launch()
}

func (r *room) launch() driver.Box {
	r.t.Helper()
	box, err := r.driver.Start(r.t.Context(), r.spec)
	if err != nil {
		r.t.Fatal(err)
	}
	r.owns(box)
	if box.ID() != r.spec.ID {
		r.t.Errorf("the box has ID %q instead of %q", box.ID(), r.spec.ID)
	}
	return box
}

// owns has the box killed at the end of the test, before checkEmpty.
func (r *room) owns(box driver.Box) {
	if guarded, ok := box.(driver.Guarded); ok {
		protects, lacks := guarded.Protection(r.t.Context())
		if p := r.driver.Probe(r.t.Context()); len(protects) == 0 || !slices.Equal(protects, p.Protect) || !slices.Equal(lacks, p.Lacks) {
			r.t.Errorf("the box is protected by %q, not by %q; boxes here by %q, not by %q", protects, lacks, p.Protect, p.Lacks)
		}
	}
	r.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), r.Patience)
		defer cancel()
		if err := box.Stop(ctx, 0); err != nil {
			r.t.Error(err)
		}
		if r.t.Failed() {
			r.t.Logf("box ended with %s after printing\n%s", box.Exit(), r.log)
		}
	})
}

// ended awaits the end of the box.
func (r *room) ended(box driver.Box) driver.Exit {
	r.t.Helper()
	select {
	case <-box.Done():
	case <-time.After(r.Patience):
		r.t.Fatal("the box doesn't end")
	}
	return box.Exit()
}
