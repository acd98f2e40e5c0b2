package capture

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"sightline/pipeline"
)

// How often a camera that stays away is mentioned in the log.
const (
	remind      = 5 * time.Minute
	maxMentions = 5 // reasons mentioned at once, between two reminders
)

// reporter tells the supervisor what state the stage is in, and the log what the operator should know.
// Its methods may be called from any goroutine.
type reporter struct {
	env    pipeline.Env
	source string

	mu        sync.Mutex
	status    pipeline.Status
	mentioned []string  // reasons in the log since it was last reminded
	reminded  time.Time // when an absence was last logged in full
}

func newReporter(env pipeline.Env, source string) *reporter {
	return &reporter{env: env, source: source, status: pipeline.Status{Stage: env.Stage, Source: source}}
}

// set enters a state, for a reason that holds no secrets.
func (r *reporter) set(state pipeline.State, reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.change(state, reason)
}

// change tells the supervisor what is new, and logs when the state is. The mutex is held.
func (r *reporter) change(state pipeline.State, reason string) {
	before := r.status.State
	if before == state && r.status.Reason == reason {
		return
	}
	if before != state {
		r.status.Since = time.Now()
	}
	r.status.State, r.status.Reason = state, reason
	r.env.Report(r.status)
	if before == state || state == pipeline.StateOffline {
		return
	}
	if state == pipeline.StateStalled {
		r.env.Log.Warn("source "+string(state), "source", r.source, "reason", reason)
		return
	}
	r.env.Log.Info("source "+string(state), "source", r.source)
}

// offline says that the connection is lost, and when it is tried again. A camera that stays away is
// logged once, then for new reasons, then every 5 minutes.
func (r *reporter) offline(err error, wait time.Duration) {
	reason := pipeline.RedactText(err.Error())
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	first := r.status.State != pipeline.StateOffline
	r.change(pipeline.StateOffline, reason)
	if due := now.Sub(r.reminded) >= remind; due {
		r.reminded, r.mentioned = now, r.mentioned[:0]
	} else if len(r.mentioned) >= maxMentions || (!first && slices.Contains(r.mentioned, reason)) {
		return
	}
	r.mentioned = append(r.mentioned, reason)
	r.env.Log.Warn("source offline", "source", r.source, "reason", reason, "again_in", wait.Round(100*time.Millisecond),
		"since", r.status.Since.Format(time.RFC3339))
}

// stalled says that units arrive of which no picture can be made.
func (r *reporter) stalled(reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.status.State == pipeline.StateOnline || r.status.State == pipeline.StateStalled {
		r.change(pipeline.StateStalled, pipeline.RedactText(reason))
	}
}

// recover says that pictures can be made again.
func (r *reporter) recover() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.status.State == pipeline.StateStalled {
		r.change(pipeline.StateOnline, "")
	}
}

// works says what the stage works with: that decides nothing, but everyone wants to know.
func (r *reporter) works(decoder string, width, height int) {
	detail := fmt.Sprintf("%d×%d %s", width, height, decoder)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.status.Detail == detail {
		return
	}
	r.status.Detail = detail
	r.env.Report(r.status)
	r.env.Log.Info("source decodes", "source", r.source, "pictures", detail)
}
