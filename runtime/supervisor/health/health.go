// Package health says from what is seen of a stage once in a while how it does. It reads no clock:
// it is told how much time has passed, so no jump of a clock makes a stage ill.
package health

import "time"

// Sample is what is seen of a stage at one time.
type Sample struct {
	Beat    time.Time // of the last heartbeat; only whether it differs from the one before counts
	In, Out uint64    // what the stage was offered, and what it was done with; they only grow
}

// Verdict is how a stage does.
type Verdict string

// The verdicts.
const (
	New     Verdict = "new"     // no heartbeat yet, and still time for it
	Working Verdict = "working" // it makes progress
	Starved Verdict = "starved" // it has nothing to do
	Hung    Verdict = "hung"    // it is offered work and finishes none
	Silent  Verdict = "silent"  // no heartbeat
)

// Limits say when a stage is no longer well.
type Limits struct {
	Patience time.Duration // from the beginning to the first heartbeat
	Silence  time.Duration // between heartbeats
	Hang     time.Duration // without anything finished, while something is offered
}

// Watch watches one box. The zero value is ready at the box's start, or when it was adopted.
type Watch struct {
	begun bool
	last  Sample
	beats bool // there was a heartbeat

	quiet   time.Duration // since the last heartbeat, or since the beginning
	stuck   time.Duration // since something was finished
	hungry  time.Duration // since something was offered
	offered bool          // something was since something was finished
}

// longest is the most time that one look adds. When the watcher itself was stopped for longer, what
// the stage did meanwhile has not been seen yet, and nothing is to be held against it.
const longest = 3 * time.Second

// Look takes the next sample, passed after the one before it.
func (w *Watch) Look(passed time.Duration, s Sample, l Limits) Verdict {
	passed = min(max(passed, 0), longest)
	if !w.begun {
		w.begun, w.last, passed = true, Sample{In: s.In, Out: s.Out}, 0
	}
	w.quiet += passed
	if !s.Beat.IsZero() && !s.Beat.Equal(w.last.Beat) {
		w.quiet, w.beats = 0, true
	}
	w.progress(passed, s)
	w.last = s
	return w.verdict(l)
}

// progress keeps what tells a stage that hangs from one that is starved.
func (w *Watch) progress(passed time.Duration, s Sample) {
	w.stuck, w.hungry = w.stuck+passed, w.hungry+passed
	switch {
	case s.In < w.last.In || s.Out < w.last.Out: // counted anew: another connection
		w.stuck, w.offered = 0, false
	case s.Out > w.last.Out:
		w.stuck, w.offered = 0, false
	case s.In > w.last.In && !w.offered:
		w.stuck, w.hungry, w.offered = 0, 0, true // it was idle until now
	case s.In > w.last.In:
		w.hungry = 0
	}
}

func (w *Watch) verdict(l Limits) Verdict {
	switch {
	case !w.beats && w.quiet < l.Patience:
		return New
	case !w.beats, w.quiet >= l.Silence:
		return Silent
	case w.offered && w.stuck >= l.Hang && w.hungry < l.Hang/2:
		return Hung
	case w.hungry >= l.Hang/2 && w.stuck >= l.Hang/2:
		return Starved
	}
	return Working
}
