package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"sightline/configs"
	"sightline/models/classify"
	"sightline/pipeline"
	"sightline/pipeline/grant"
	"sightline/runtime/inline"
	"sightline/sinks"
	"sightline/sinks/publish"
	"sightline/sources"
	"sightline/sources/capture"
	"sightline/web"
)

// resultsWaiting is how many results a link to a publish stage holds before it blocks.
const resultsWaiting = 256

// assembly is a pipeline ready to run in place.
type assembly struct {
	board *web.Board
	tasks []inline.Task // from publish to capture
}

// assemble makes the stages of a pipeline and the links between them. Nothing is opened yet.
func assemble(p *configs.Pipeline, table parts, log *slog.Logger) (*assembly, error) {
	a := &assembler{
		pipeline: p, table: table, log: log,
		board:   &web.Board{Device: p.Device, Name: p.Name, Version: version, Began: time.Now()},
		results: map[string][]*pipeline.ResultLink{}, frames: map[string][]*pipeline.FrameLink{},
		reports: map[string][]*pipeline.ResultLink{},
	}
	a.watch()
	for _, name := range slices.Sorted(maps.Keys(p.Sinks)) {
		a.publish(name, p.Sinks[name])
	}
	for _, name := range slices.Sorted(maps.Keys(p.Models)) {
		a.classify(name)
	}
	for _, name := range slices.Sorted(maps.Keys(p.Sources)) {
		a.capture(name, p.Sources[name])
	}
	a.board.Show(a.shown)
	return &assembly{board: a.board, tasks: a.tasks}, errors.Join(a.problems...)
}

type assembler struct {
	pipeline *configs.Pipeline
	table    parts
	log      *slog.Logger
	board    *web.Board
	shown    []web.Stage
	tasks    []inline.Task
	results  map[string][]*pipeline.ResultLink // by model: where its results go
	frames   map[string][]*pipeline.FrameLink  // by source: where its frames go
	reports  map[string][]*pipeline.ResultLink // by source: who publishes its status
	problems []error
}

// env makes the surroundings of a stage; statuses about a source also go to whoever publishes it.
func (a *assembler) env(name, kind string, endpoints []grant.Endpoint) pipeline.Env {
	stats := pipeline.NewStats()
	a.shown = append(a.shown, web.Stage{Name: name, Kind: kind, Samples: stats.Snapshot})
	env := pipeline.Env{
		Device: a.pipeline.Device, Stage: name, Log: a.log.With("stage", name), Stats: stats,
		Report: func(s pipeline.Status) {
			s.Reason, _, _ = strings.Cut(s.Reason, "\n") // the rest, such as a stack, is for the log
			a.board.Report(s)
			for _, link := range a.reports[s.Source] {
				link.Report(s)
			}
		},
	}
	if len(endpoints) > 0 {
		env.Network = &grant.Network{Endpoints: endpoints}
	}
	return env
}

func (a *assembler) add(env pipeline.Env, stage pipeline.Stage) {
	a.tasks = append(a.tasks, inline.Task{
		Name: env.Stage,
		Run:  stage.Run,
		Failed: func(err error, _ time.Duration) {
			env.Report(pipeline.Status{Stage: env.Stage, State: pipeline.StateOffline, Reason: pipeline.RedactText(err.Error()), Since: time.Now()})
		},
	})
}

// watch gives the board every result, by a link that is always emptied.
func (a *assembler) watch() {
	link := pipeline.NewResultLink(resultsWaiting)
	for name := range a.pipeline.Models {
		a.results[name] = append(a.results[name], link)
	}
	a.tasks = append(a.tasks, inline.Task{Name: "status", Run: func(ctx context.Context, stop <-chan struct{}) error {
		var messages []pipeline.Message
		var err error
		for err == nil {
			if messages, err = link.Receive(ctx, stop, resultsWaiting, messages[:0]); err == nil {
				err = a.board.Deliver(ctx, messages)
			}
		}
		if errors.Is(err, pipeline.ErrClosed) {
			return nil // stopped, and nothing is left
		}
		return err
	}})
}

func (a *assembler) publish(name string, c sinks.Config) {
	sink, endpoints, err := a.table.sink(c)
	if err != nil {
		a.problems = append(a.problems, fmt.Errorf("sinks.%s: %w", name, err))
		return
	}
	link := pipeline.NewResultLink(resultsWaiting)
	for _, model := range c.Inputs {
		a.results[model] = append(a.results[model], link)
		for _, source := range a.pipeline.Models[model].Inputs {
			if !slices.Contains(a.reports[source], link) {
				a.reports[source] = append(a.reports[source], link)
			}
		}
	}
	env := a.env(name, web.Publish, endpoints)
	a.add(env, &publish.Stage{Env: env, Sink: sink, Input: link, Spool: c.Spool})
}

func (a *assembler) classify(name string) {
	c := a.pipeline.Models[name]
	env := a.env(name, web.Classify, nil)
	inbox := pipeline.NewInbox(name, env.Stats)
	var links []*pipeline.FrameLink
	for _, source := range c.Inputs {
		link := inbox.Link(source)
		links = append(links, link)
		a.frames[source] = append(a.frames[source], link)
	}
	a.add(env, &classify.Stage{
		Env: env, Open: a.table.classifier(c, env.Log), Batch: c.Batch,
		Inbox: inbox, Links: links, Outputs: a.results[name],
	})
}

func (a *assembler) capture(name string, c sources.Config) {
	source, endpoints, err := a.table.source(c)
	if err != nil {
		a.problems = append(a.problems, fmt.Errorf("sources.%s: %w", name, err))
		return
	}
	env := a.env(name, web.Capture, endpoints)
	a.add(env, &capture.Stage{Env: env, Source: source, Config: c, Links: a.frames[name]})
}

// run runs the assembly until ctx ends, then stops it in order.
func (a *assembly) run(ctx context.Context, grace time.Duration, log *slog.Logger) error {
	defer a.makeRoom()()
	runner := inline.Runner{Tasks: a.tasks, Delay: again, Grace: grace, Log: log}
	return runner.Run(ctx)
}

// again is how long to wait before a stage is started again. What trying again will not mend waits for
// about a minute at least: a camera that is shown a wrong password every second locks its account.
func again(err error, failures int) time.Duration {
	var b pipeline.Backoff
	if pipeline.IsPermanent(err) {
		b.Least = time.Minute
	}
	return b.Wait(failures)
}

// makeRoom lets receiving and publishing go on while stages are in C. Each decoder and each model
// holds one of the scheduler's processors there for milliseconds, longer than the scheduler takes to
// notice; so it gets as many more as there are such stages. GOMAXPROCS in the environment stays as it
// is. The returned function takes the room away again.
func (a *assembly) makeRoom() (takeAway func()) {
	if os.Getenv("GOMAXPROCS") != "" {
		return func() {}
	}
	inC := 0
	for _, s := range a.board.Stages() {
		if s.Kind != web.Publish {
			inC++
		}
	}
	before := runtime.GOMAXPROCS(0)
	runtime.GOMAXPROCS(before + inC)
	return func() { runtime.GOMAXPROCS(before) }
}
