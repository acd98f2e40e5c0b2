package capture

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"sightline/pipeline"
	"sightline/sources"
)

// reporter tells the supervisor what state the stage is in, and the log what the operator should know.
// Its methods may be called from any goroutine.
type reporter struct {
	env    pipeline.Env
	source string

	mu     sync.Mutex
	status pipeline.Status
	losses unsteady
	slow   unsteady // times in which this machine did not keep up
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
	if before == state || state == pipeline.StateOffline || state == pipeline.StateStalled {
		return
	}
	if state == pipeline.StateOnline && !r.losses.recover(r.status.Since) {
		return
	}
	r.env.Log.Info("source "+string(state), "source", r.source)
}

// failed says that the connection is lost, and when it is tried again: the camera is away, or it was
// there to the end and sent nothing.
func (r *reporter) failed(err error, wait time.Duration) {
	state := pipeline.StateOffline
	if errors.Is(err, sources.ErrStalled) {
		state = pipeline.StateStalled
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lose(state, err.Error(), "again_in", wait.Round(100*time.Millisecond))
}

// stalled says that units arrive of which no picture can be made.
func (r *reporter) stalled(reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.status.State == pipeline.StateOnline || r.status.State == pipeline.StateStalled {
		r.lose(pipeline.StateStalled, reason)
	}
}

// lose enters a state without pictures, and logs it when it is worth a line. The mutex is held.
func (r *reporter) lose(state pipeline.State, reason string, more ...any) {
	reason = pipeline.RedactText(reason)
	r.change(state, reason)
	if !r.losses.lose(reason, time.Now()) {
		return
	}
	all := []any{"source", r.source, "reason", reason, "since", r.status.Since.Format(time.RFC3339)}
	if r.losses.losses > 1 {
		all = append(all, "times", r.losses.losses, "unsteady_since", r.losses.began.Format(time.RFC3339))
	}
	r.env.Log.Warn("source "+string(state), append(all, more...)...)
}

// keepsUp says whether this machine keeps up with what arrives: with a reason it does not, and pictures
// are dropped here. The camera is well, so the source stays online.
func (r *reporter) keepsUp(reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.status.State != pipeline.StateOnline {
		return
	}
	r.change(pipeline.StateOnline, reason)
	switch {
	case reason == "":
		if r.slow.losses > 0 && r.slow.recover(time.Now()) {
			r.env.Log.Info("source keeps up again", "source", r.source)
		}
	case r.slow.lose(reason, time.Now()):
		r.env.Log.Warn("source is too fast for this machine", "source", r.source, "reason", reason)
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
