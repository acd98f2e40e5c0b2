// Package restart says when a stage whose box has ended is started again: a pure function of how
// its boxes ended so far.
package restart

import (
	"math"
	"time"
)

// Reason is why a box ended, as a word for programs.
type Reason string

// The reasons.
const (
	Exited      Reason = "exited"        // the program ended by itself
	Crashed     Reason = "crashed"       // a signal of its own making ended it: SIGSEGV, SIGABRT, …
	Killed      Reason = "killed"        // somebody else's signal ended it, or its engine did
	OutOfMemory Reason = "out_of_memory" // the kernel ended it because of its limit
	Hung        Reason = "hung"          // it was given work and made no progress
	Silent      Reason = "silent"        // no heartbeat came
	StartFailed Reason = "start_failed"  // no box came to be
	Refused     Reason = "refused"       // the driver will not run it
	Tampered    Reason = "tampered"      // its files are not what they were
	Lost        Reason = "lost"          // it ended while no supervisor was there
	Unsettled   Reason = "unsettled"     // a new version did not hold
	Replaced    Reason = "replaced"      // another version took its place
	Asked       Reason = "asked"         // the operator wanted it so
)

// Reasons are all of them.
func Reasons() []Reason {
	return []Reason{Exited, Crashed, Killed, OutOfMemory, Hung, Silent, StartFailed, Refused, Tampered, Lost, Unsettled, Replaced, Asked}
}

// Failure says that the reason is a fault of the stage, or of what it needs: it is not what somebody
// wanted, nor unknown.
func (r Reason) Failure() bool {
	switch r {
	case Lost, Unsettled, Replaced, Asked:
		return false
	}
	return true
}

// Lasting says that another start right away would end in the same way.
func (r Reason) Lasting() bool { return r == Refused || r == Tampered }

// End is how one box ended.
type End struct {
	Reason    Reason        `json:"reason"`
	Permanent bool          `json:"permanent,omitempty"` // the stage said that it would end in the same way again
	Ran       time.Duration `json:"ran"`                 // from its start, by a clock that doesn't jump
}

// Policy has the durations. Those that are zero have the defaults given.
type Policy struct {
	First     time.Duration // wait after a first failure: 500 ms
	Most      time.Duration // longest wait ever: 5 minutes
	Permanent time.Duration // least wait after a lasting failure: 1 minute
	Steady    time.Duration // a box that ran so long makes the failures before it forgotten: 1 minute
}

// Remembered is how many ends, the latest ones, make a difference to Wait with the default policy.
const Remembered = 16

func (p Policy) filled() Policy {
	for _, d := range []struct {
		of    *time.Duration
		value time.Duration
	}{{&p.First, 500 * time.Millisecond}, {&p.Most, 5 * time.Minute}, {&p.Permanent, time.Minute}, {&p.Steady, time.Minute}} {
		if *d.of <= 0 {
			*d.of = d.value
		}
	}
	return p
}

// Failures returns how many failures in a row the history, oldest first, ends with.
func (p Policy) Failures(history []End) int {
	p = p.filled()
	failures := 0
	for i := len(history) - 1; i >= 0 && history[i].Reason.Failure(); i-- {
		failures++
		if history[i].Ran >= p.Steady {
			break // it failed, but those before it are forgotten
		}
	}
	return failures
}

// Wait returns how long to wait before the next start: nothing after an end that is no failure, else
// twice as long after each failure in a row, for ever. random from 0 to 1 spreads it by a
// fifth each way, so that stages which fell together do not rise together.
func (p Policy) Wait(history []End, random float64) time.Duration {
	p = p.filled()
	failures := p.Failures(history)
	if failures == 0 {
		return 0
	}
	wait := float64(p.First) * math.Pow(2, float64(min(failures-1, 62)))
	last := history[len(history)-1]
	if last.Permanent || last.Reason.Lasting() {
		wait = max(wait, float64(p.Permanent)*1.25) // also after spreading
	}
	if !(random >= 0 && random <= 1) {
		random = 0.5
	}
	wait = min(wait, float64(p.Most)) * (0.8 + 0.4*random)
	return time.Duration(min(wait, float64(p.Most)))
}
