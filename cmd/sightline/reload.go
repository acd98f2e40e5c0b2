package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"sightline/configs"
	"sightline/configs/strict"
	"sightline/runtime/supervisor"
)

// The values of --reload: what has a pipeline file read again.
const (
	reloadChange = "change" // SIGHUP, or that it was changed
	reloadSignal = "signal" // SIGHUP alone
)

const (
	lookEvery = time.Second
	// tryAgain is how many looks pass before a file that was refused is tried again: what it names may
	// have come since.
	tryAgain = 15
)

// reloader has a pipeline file run again whenever it was changed, or a signal asks for it. A file that
// cannot be used changes nothing.
//
// Files are looked at once a second rather than watched: that works on every file system, sees a file
// that an editor renames into place and links that are turned over (Kubernetes), needs nothing of the
// kernel, and costs a few calls a second.
type reloader struct {
	station *station
	file    string
	read    func() (*document, *configs.Pipeline, error)
	asked   <-chan os.Signal
	watch   bool

	names   []string // of the files that the pipeline names
	change  change
	problem error // why the file was refused last; nil: it was not
	looks   int   // since then
}

// run works until ctx ends.
func (r *reloader) run(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.asked:
			r.reload(ctx, true, true)
		case <-tick.C:
			if r.watch {
				r.look(ctx)
			}
		}
	}
}

// follow says whose pipelines are replaced.
func (r *reloader) follow(s *station) {
	r.station = s
	if r.file == "" {
		return
	}
	s.file.follow(r.file)
	if r.problem != nil {
		s.file.refuse(firstLine(r.problem))
	}
}

// refused notes why the file, as its mark says, cannot be used.
func (r *reloader) refused(err error, file mark) {
	r.problem, r.looks = err, 0
	r.change.taken = marks(file, r.names)
}

// taken notes that the files are, as marks say, what was read.
func (r *reloader) taken(p *configs.Pipeline, file mark) {
	r.names = slices.Compact(slices.Sorted(slices.Values(p.Files)))
	r.change, r.problem = change{taken: marks(file, r.names)}, nil
}

// look reads the file again when it was changed and then left alone.
func (r *reloader) look(ctx context.Context) {
	settled, last := r.change.look(marks(markOf(r.file), r.names))
	r.looks++
	switch {
	case settled:
		r.reload(ctx, last, false)
	case r.problem != nil && r.looks%tryAgain == 0:
		r.reload(ctx, true, false)
	}
}

// reload has the file as it is now run. tell says that a file that cannot be used is told of, not tried
// again in a moment; signalled, that an operator asked for it, and is told the same again.
func (r *reloader) reload(ctx context.Context, tell, signalled bool) {
	s, file := r.station, markOf(r.file)
	if r.read == nil {
		s.log.Warn("asked to read the pipeline file again, but none was named")
		return
	}
	d, p, err := r.read()
	if err == nil && needsC(p) && !inPlace {
		err = errApart
	}
	if err == nil {
		r.taken(p, file)
		r.have(ctx, d, p, signalled)
		return
	}
	if !tell {
		return
	}
	if signalled || r.problem == nil || r.problem.Error() != err.Error() {
		tellProblems(s.log, slog.LevelError, "the pipeline file is not taken up; what runs goes on", err)
	}
	r.refused(err, file)
	s.file.refuse(firstLine(err))
	s.statusLine()
}

// have applies a file that can be used.
func (r *reloader) have(ctx context.Context, d *document, p *configs.Pipeline, signalled bool) {
	s := r.station
	if len(p.Warnings) > 0 {
		tellProblems(s.log, slog.LevelWarn, "the pipeline file", p.Warnings)
	}
	done := s.reloading()
	report, err := s.applyPipeline(ctx, p, d, how{other: !signalled})
	defer done()
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		tellProblems(s.log, slog.LevelError, "the pipeline file is not taken up; what runs goes on", err)
		s.file.refuse(firstLine(err))
		s.statusLine()
		return
	}
	if len(report.Stages) > 0 {
		s.log.Info("the pipeline file was taken up again", "file", r.file)
		tell(s.log, report)
	}
}

// notAsTheFile says which stages are not as the file of a plan says; empty when all are.
func notAsTheFile(report supervisor.Report) string {
	var not []string
	for _, o := range report.Stages {
		if o.Action == supervisor.PutBack || o.Action == supervisor.Refused {
			not = append(not, o.Stage+" "+string(o.Action)+": "+o.Why)
		}
	}
	return strings.ReplaceAll(strings.Join(not, "; "), "\n", " ")
}

// tellProblems logs each problem by itself: a log lets equal messages through only a few times.
func tellProblems(log *slog.Logger, level slog.Level, what string, err error) {
	var all strict.Problems
	if !errors.As(err, &all) {
		log.Log(context.Background(), level, what, "err", err)
		return
	}
	for _, p := range all {
		if level == slog.LevelError && p.Warning {
			continue
		}
		log.Log(context.Background(), level, what+": "+p.String())
	}
}

// firstLine is a problem in a few words.
func firstLine(err error) string {
	text, more, _ := strings.Cut(strings.TrimSpace(err.Error()), "\n")
	if n := strings.Count(strings.TrimSpace(more), "\n"); more != "" {
		text += " … and " + plural(n+1, "more line")
	}
	return text
}
