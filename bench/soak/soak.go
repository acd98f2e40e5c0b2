// Package soak lets the real program run for long while everything around it fails at random, from a
// seed, and then makes up its books: a result that was made was received, still waits, or its loss was
// counted, to the one; and what the program uses does not grow.
//
// The program is `sightline run` in a process of its own, killed and started again. Cameras, broker and
// web server are in this process, each behind a gate that can cut, stall, slow and litter what goes
// through. What a sink has received is what its upstream has acknowledged: the gate of the broker
// reads its PUBACKs, the web server knows itself.
package soak

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// Options say what is soaked.
type Options struct {
	For     time.Duration `json:"for_ns"`
	Seed    uint64        `json:"seed"` // 0: any
	Cameras int           `json:"cameras"`
	Box     string        `json:"box"`    // where stages run
	Folder  string        `json:"folder"` // kept when it is named; empty: one of its own
}

// The boxes that a soak knows.
const (
	inlineBox  = "inline"
	processBox = "process"
)

// Check says what is wrong with the options.
func (o Options) Check() error {
	switch {
	case o.For < 5*time.Second:
		return fmt.Errorf("a soak for %s: want at least 5s", o.For)
	case o.Cameras < 1 || o.Cameras > 64:
		return fmt.Errorf("%d cameras: want 1 to 64", o.Cameras)
	case o.Box != inlineBox && o.Box != processBox:
		return fmt.Errorf("box %q: want %s or %s", o.Box, inlineBox, processBox)
	}
	return nil
}

// Soak is one that can be run.
type Soak struct {
	Options Options
	Version string
	// Command makes a command line of the sightline that is soaked.
	Command func(args ...string) *exec.Cmd
	// Say tells how it goes.
	Say func(format string, args ...any)
}

// The stages of the pipeline besides the cameras.
const (
	stageScene = "scene"
	sinkCloud  = "cloud"
	sinkHook   = "hook"
)

// soak is one that runs.
type soak struct {
	options  Options
	say      func(format string, args ...any)
	site     *site
	program  *program
	diary    *diary
	client   *http.Client
	classify string // the classify stage
	tight    string // the sink whose spool is small
	began    time.Time

	mu    sync.Mutex
	usage []usage
	done  []Fault
	// pids are the processes at the last sample, and lifetimes counts how often they were others.
	pids      []int
	lifetimes int
}

// Run soaks and makes up the books. An error says that it could not be brought to its end; that the
// books do not balance is in the report.
func (k *Soak) Run(ctx context.Context) (report *Report, err error) {
	o := k.Options
	if o.Seed == 0 {
		o.Seed = 1 + rand.Uint64N(1<<31)
	}
	k.Say("soak: seed %d, %s, %d cameras, %s (the same seed makes the same faults)", o.Seed, o.For, o.Cameras, o.Box)
	s := &soak{
		options: o, say: k.Say, classify: stageScene, tight: sinkHook, diary: &diary{boxed: o.Box != inlineBox},
		client: &http.Client{Timeout: 10 * time.Second},
	}
	report = newReport(k.Version, o)
	if err := s.open(ctx, k.Command); err != nil {
		return nil, err
	}
	if why := s.program.noDisk; why != nil {
		report.NoFullDisk = why.Error()
		k.Say("soak: the disk is never full: %v", why)
	}
	defer func() {
		s.program.end()
		err = errors.Join(err, s.site.close())
		if err == nil && report.Good && o.Folder == "" {
			err = s.program.remove()
			return
		}
		err = errors.Join(err, s.program.leave())
		if err != nil || !report.Good {
			k.Say("soak: what is left is in %s: the log run.log, and the state folder", s.program.folder)
		}
	}()
	if err := s.run(ctx); err != nil {
		return nil, err
	}
	last, err := s.drain(ctx)
	if err != nil {
		return nil, err
	}
	s.diary.end(false)
	if err := s.program.stop(); err != nil {
		return nil, err
	}
	s.account(report, last)
	return report, nil
}

func (s *soak) open(ctx context.Context, command func(...string) *exec.Cmd) (err error) {
	folder := s.options.Folder
	if folder == "" {
		if folder, err = os.MkdirTemp("", "soak"); err != nil {
			return err
		}
	} else if folder, err = filepath.Abs(folder); err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	if s.site, err = newSite(ctx, s.options.Cameras); err != nil {
		return err
	}
	if s.program, err = newProgram(folder, s.options.Box, s.site, command); err != nil {
		return errors.Join(err, s.site.close())
	}
	return nil
}

// readyPatience is how long the first results may take. Closures are made then.
const readyPatience = 3 * time.Minute

// run has the faults come, each at its time, and watches.
func (s *soak) run(ctx context.Context) error {
	s.began = time.Now()
	if err := s.program.start(); err != nil {
		return err
	}
	s.diary.begin()
	if err := s.flowing(ctx); err != nil {
		return err
	}
	var names []string
	for _, e := range s.site.cameras {
		names = append(names, e.name)
	}
	faults := plan(s.options.Seed, s.options.For, names, s.options.Box, s.program.disk != nil)
	s.began = time.Now()
	ctx, cancel := context.WithTimeout(ctx, s.options.For)
	defer cancel()
	broken := make(chan error, len(faults)+1)
	var workers sync.WaitGroup
	workers.Go(func() { broken <- s.watch(ctx) })
	locks := map[string]*sync.Mutex{}
	for _, f := range faults {
		if locks[f.Where] == nil {
			locks[f.Where] = &sync.Mutex{}
		}
	}
	for _, f := range faults {
		pause(ctx, time.Until(s.began.Add(f.At)))
		if ctx.Err() != nil {
			break
		}
		place := locks[f.Where]
		workers.Go(func() {
			place.Lock() // one that waited for its moment may still be at it
			defer place.Unlock()
			if err := s.suffer(ctx, f); err != nil {
				broken <- fmt.Errorf("fault %s: %w", f, err)
				cancel()
				return
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			s.done = append(s.done, f)
		})
	}
	<-ctx.Done()
	workers.Wait()
	close(broken)
	var err error
	for e := range broken {
		err = errors.Join(err, e)
	}
	return err
}

// flowing waits for the first results at both sinks.
func (s *soak) flowing(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyPatience)
	defer cancel()
	for _, b := range s.books() {
		for b.sum().results == 0 {
			if err := s.lives(); err != nil {
				return err
			}
			if ctx.Err() != nil {
				return fmt.Errorf("no result within %s of the start", readyPatience)
			}
			pause(ctx, 50*time.Millisecond)
		}
	}
	return nil
}

// lives says why the program has ended when it should not have.
func (s *soak) lives() error {
	life, alive := s.diary.now()
	_, ended := s.program.running()
	select {
	case <-ended:
	default:
		return nil
	}
	if now, still := s.diary.now(); alive && still && now == life {
		return errors.Join(errors.New("sightline run ended by itself"), s.program.failure())
	}
	return nil
}

func (s *soak) books() map[string]*book {
	return map[string]*book{sinkCloud: s.site.broker.book, sinkHook: s.site.hook.book}
}

// sinks are the sinks in the order of the report.
func (s *soak) sinks() []string { return []string{sinkCloud, sinkHook} }

// look reads the metrics and notes them.
func (s *soak) look(ctx context.Context) (look, error) {
	life, alive := s.diary.now()
	if !alive {
		return look{}, errors.New("it does not run")
	}
	at := time.Now()
	all, err := scrape(ctx, s.client, s.program.status)
	if err != nil {
		return look{}, err
	}
	l := read(all, s.sinks(), at)
	if !s.diary.see(life, l) {
		return look{}, errors.New("it was ended meanwhile")
	}
	s.measure(life, all["go_goroutines"])
	return l, nil
}

// measure notes what the program uses.
func (s *soak) measure(life int, goroutines float64) {
	u := usage{At: time.Since(s.began), Goroutines: goroutines}
	pids := s.program.processes()
	slices.Sort(pids)
	if s.diary.boxed && len(pids) < len(s.site.cameras)+4 || !u.use(pids) { // not all are there
		return
	}
	u.Disk, u.Spool = bytesBelow(s.program.state(), filepath.Join(s.program.state(), "spool"))
	if now, alive := s.diary.now(); now != life || !alive {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(pids, s.pids) {
		s.pids = pids
		s.lifetimes++
	}
	u.Life = s.lifetimes
	s.usage = append(s.usage, u)
}

// watch looks at the program again and again until ctx ends, and tells how it goes.
func (s *soak) watch(ctx context.Context) error {
	every := bound(s.options.For/1000, 250*time.Millisecond, 2*time.Second)
	telling := bound(s.options.For/12, 5*time.Second, 30*time.Second)
	told := time.Now()
	for ctx.Err() == nil {
		if err := s.lives(); err != nil {
			return err
		}
		l, err := s.look(ctx)
		if err == nil && time.Since(told) > telling {
			told = time.Now()
			s.tell(l)
		}
		pause(ctx, every)
	}
	return nil
}

func (s *soak) tell(l look) {
	s.mu.Lock()
	faults := len(s.done)
	s.mu.Unlock()
	life, _ := s.diary.now()
	s.say("soak: %s of %s, %d faults, start %d: cloud has %d and %.0f wait, hook has %d and %.0f wait",
		time.Since(s.began).Round(time.Second), s.options.For, faults, life+1, s.site.broker.book.sum().results,
		l.waiting[sinkCloud].results, s.site.hook.book.sum().results, l.waiting[sinkHook].results)
}

// drainPatience is how long the program may take to get rid of what waits.
const drainPatience = 3 * time.Minute

// drain takes the cameras away and waits until nothing is made and nothing waits any more.
func (s *soak) drain(ctx context.Context) (look, error) {
	if err := s.whole(ctx); err != nil {
		return look{}, err
	}
	s.site.blind()
	deadline, quiet := time.Now().Add(drainPatience), time.Time{}
	var before float64
	for {
		if err := errors.Join(s.lives(), ctx.Err()); err != nil {
			return look{}, err
		}
		l, err := s.look(ctx)
		still := err == nil && l.made == before && l.waiting[sinkCloud].results+l.waiting[sinkHook].results == 0
		switch {
		case !still:
			quiet = time.Time{}
		case quiet.IsZero():
			quiet = time.Now()
		case time.Since(quiet) > quietFor:
			return l, nil
		}
		if time.Now().After(deadline) {
			return l, err // what waits is in the books
		}
		before = l.made
		pause(ctx, 200*time.Millisecond)
	}
}

// quietFor is how long nothing must have happened at the end: events end then, by themselves.
const quietFor = 4 * time.Second

// whole waits until the program, which may just have been started, makes results again.
func (s *soak) whole(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyPatience)
	defer cancel()
	before := s.site.broker.book.sum().results
	for s.site.broker.book.sum().results == before {
		if err := s.lives(); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return fmt.Errorf("no new result within %s of the last fault", readyPatience)
		}
		_, _ = s.look(ctx) // so that the last life is known
		pause(ctx, 100*time.Millisecond)
	}
	return nil
}
