// Package supervisor keeps boxes alive. It starts the stages of a plan in boxes of their drivers,
// serves their wires, starts again what ended, replaces what changed and puts it back when the new
// one does not hold; and when it was itself killed, at whatever point, the next one adopts what runs
// and removes what is left, without any box noticing.
//
// It knows neither what flows nor what is said over a wire: who uses it gives each stage a Wire.
//
// # What is on disk
//
// A state folder belongs to one supervisor at a time:
//
//	lock                 held while a supervisor uses the folder
//	plan.json            the last accepted plan
//	stages/<stage>.json  what held last, what failed, how often it was started again
//	boxes/<id>/box.json  the intent: written before the box is started, removed after it has ended
//	boxes/<id>/          what the box's driver keeps, and the socket of its wire
//	logs/<stage>.log     what the stage printed and said
//	audit/               the audit log, see runtime/supervisor/audit
//
// All of it is readable by the supervisor's user alone: a plan may hold what is nobody else's
// business, and an intent holds the nonce of its box.
package supervisor

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"time"

	"sightline/runtime/driver"
	"sightline/runtime/supervisor/audit"
	"sightline/runtime/supervisor/logs"
	"sightline/runtime/supervisor/restart"
)

// Plan says what shall run.
type Plan struct {
	Name string
	// Document is what the caller needs to make this plan again, and the wire of each of its stages:
	// the text of the pipeline, its variables. It is kept on disk as it is, and means nothing here.
	Document json.RawMessage
	Stages   []Stage // in the order of starting, from publish to capture; they stop in reverse
}

// Stage is one stage of a plan. What is not said to be otherwise tells one version of the stage from
// another: where it differs the box is replaced.
type Stage struct {
	Name    string // unique in the plan; lower-case letters, digits, - and _
	Kind    string
	Driver  driver.Driver
	Files   driver.Files // nil: the driver needs none
	Program []string     // path inside the closure, and arguments
	Limits  driver.Limits
	GPU     bool
	// Settings is a digest of what the stage will be told over its wire.
	Settings string

	// Grace is how long the stage may take to finish when it is stopped; 0 means 10 s. Not part of
	// the version.
	Grace time.Duration
	// Patience is how long the stage may take from its start to its first heartbeat, and, when it
	// replaces another version, until it is ready; 0 means 2 minutes. Not part of the version.
	Patience time.Duration
	// Wire talks with the stage's boxes; nil for a box that has none, whose health is that it runs.
	// Not part of the version.
	Wire Wire
}

// Wire talks with the boxes of one stage, one after the other. Its methods are called from several
// goroutines, but Serve only again after it has returned.
type Wire interface {
	// Serve talks over conn, which it owns and closes, until either end closes it or ctx ends, and
	// says why it ended. It begins with the stage's hello. It is not called for boxes in place.
	Serve(ctx context.Context, conn net.Conn, box BoxInfo) error
	// Stop asks the stage to finish within grace. It returns when that was said, not when it is done;
	// an error means that it could not be said, and the driver is asked instead. It is not called for
	// boxes in place.
	Stop(ctx context.Context, grace time.Duration) error
	// Health says how the stage does. It is called once a second and must not wait.
	Health() Health
}

// BoxInfo says whose connection it is.
type BoxInfo struct {
	ID    string
	Stage string
	// Nonce is 32 random bytes, which only this box and its supervisors know.
	Nonce []byte
	// Enroll says that the box may still have to be told the nonce: no hello with it was finished yet.
	Enroll bool
	// Greeted is to be called once the box has shown that it knows the nonce. From then on Enroll is
	// false, also for a supervisor that comes later.
	Greeted func()
}

// Health is what a stage's wire knows of it. All of it is of the connection that is being served, or
// was last; in place, of the run.
type Health struct {
	Beat    time.Time // of the last heartbeat; zero: none over this connection yet
	Ready   bool      // the stage has said that it works
	Trouble string    // what is wrong now, in its words; "" for nothing
	// In and Out only grow while the box runs: what the stage was offered, whether it took it or not,
	// and what it was done with, dropped on purpose included. While In grows and Out does not the
	// stage hangs; while neither grows it is starved, which is not its fault. Both 0 when unknown.
	In, Out uint64

	Ended     bool   // the stage has said that it ends
	Exit      string // why, in its words; "" for nothing wrong
	Permanent bool   // it would end in the same way again

	Received, Sent uint64 // bytes over the wires of the stage, from and to it
}

// InPlace is a driver whose boxes are in the supervisor's own process: no socket is made for them,
// they end with the supervisor, and Wire.Health is all that is asked of their wire.
type InPlace interface {
	// InPlace says that it is such a driver.
	InPlace() bool
}

// Options say how a supervisor works. Durations and functions that are zero have the defaults given.
type Options struct {
	// Drivers are those that boxes on disk may be of, by name, besides those of the plan's stages.
	Drivers map[string]driver.Driver
	// Files returns the closure of a digest, for boxes of an earlier plan; nil: they get none.
	Files func(digest string) driver.Files
	// Wire makes the wire of a stage of an earlier plan from that plan's document. It is needed to
	// put back, after the supervisor itself was started again, what the plan no longer says; nil:
	// such a stage then stays with what the plan says.
	Wire func(document json.RawMessage, stage string) (Wire, error)
	// Sane says what is wrong with what a stage does, nil if nothing, or nothing is known. It is asked
	// of stages that were replaced, at the end of their settling time.
	Sane func(stage string) error
	// Pin keeps a closure on disk under a name, which moves with it; Unpin lets it go.
	Pin   func(name, digest string) error
	Unpin func(name string) error

	Policy restart.Policy // when stages are started again
	Logs   logs.Limits    // of each stage's log
	Trail  audit.Options  // of the audit log

	Settle  time.Duration // how long a replaced stage is watched once it is ready; 0: 10 s
	Silence time.Duration // without a heartbeat, after which a stage is started again; 0: 30 s
	Hang    time.Duration // without progress, after which a stage is started again; 0: 1 minute

	// OnEvent is told what is also written to the audit log. It must not wait, nor call the supervisor.
	OnEvent func(Event)
	Log     *slog.Logger // nil: nothing is logged
}

// Event is something that happened.
type Event struct {
	Time   time.Time
	Name   string // one of those below, or what Audit was told
	Stage  string // "" for what is of no stage
	Fields map[string]string
}

// Names of events. Their fields are box, digest, driver, lacks (what does not protect the box), reason (a
// code of package restart), why.
const (
	Opened         = "supervisor.opened"
	Closed         = "supervisor.closed"
	AcceptedPlan   = "plan.accepted" // with the digest of each stage
	RefusedVersion = "stage.refused" // a version that did not hold before, or can't be verified
	RemovedStage   = "stage.removed"
	AskedStage     = "stage.asked" // an operator's wish
	HeldBox        = "stage.replaced"
	RolledBack     = "stage.put_back"
	StartedBox     = "box.started"
	AdoptedBox     = "box.adopted"
	EndedBox       = "box.ended"
	StartFailed    = "box.start_failed"
)

// ApplyOptions say how a plan is applied.
type ApplyOptions struct {
	Force bool // try versions of stages too that did not hold before
}

// Report says what Apply did, by stage.
type Report struct {
	Stages []Outcome // in the plan's order, then those that were removed
}

// Outcome says what was done with one stage.
type Outcome struct {
	Stage  string `json:"stage"`
	Action Action `json:"action"`
	Why    string `json:"why,omitempty"`
	Box    string `json:"box,omitempty"` // ID of the box that runs now
}

// Action is what was done with a stage.
type Action string

// Actions.
const (
	Kept     Action = "kept"     // it runs on as it did
	Adopted  Action = "adopted"  // it was running when the supervisor came
	Started  Action = "started"  // a box was started; its first attempt may have gone wrong, see Why
	Replaced Action = "replaced" // the new version runs and has held
	PutBack  Action = "put back" // the new version did not hold; the one before it runs again
	Refused  Action = "refused"  // the new version did not hold an earlier time and was not tried
	Removed  Action = "removed"  // it is no longer in the plan
	Stopped  Action = "stopped"  // it stays stopped, as it was told
)

// Accepted is the last accepted plan.
type Accepted struct {
	Name     string
	Document json.RawMessage
	At       time.Time
}

// State says how a stage does.
type State struct {
	Stage    string    `json:"stage"`
	Kind     string    `json:"kind,omitempty"`
	Driver   string    `json:"driver"`
	Phase    Phase     `json:"phase"`
	Since    time.Time `json:"since"`              // in this phase
	Box      string    `json:"box,omitempty"`      // ID
	Digest   string    `json:"digest,omitempty"`   // of the closure
	Started  time.Time `json:"started,omitzero"`   // of the box
	Adopted  bool      `json:"adopted,omitempty"`  // started by an earlier supervisor
	Trial    bool      `json:"trial,omitempty"`    // a new version that has not held yet
	Ready    bool      `json:"ready,omitempty"`    // it says that it works
	Beat     time.Time `json:"beat,omitzero"`      // last heartbeat
	Restarts int       `json:"restarts"`           // starts after an end that nobody asked for
	Last     *End      `json:"last,omitempty"`     // how its last box ended
	Next     time.Time `json:"next,omitzero"`      // when it is started, if it waits for that
	Problem  string    `json:"problem,omitempty"`  // what the operator should know, in words
	CPU      float64   `json:"cpu_seconds"`        // used by the box
	Memory   int64     `json:"memory_bytes"`       // resident now
	Measured bool      `json:"measured,omitempty"` // CPU and Memory are known
	Received uint64    `json:"wire_received_bytes"`
	Sent     uint64    `json:"wire_sent_bytes"`
	Protects []string  `json:"protects,omitempty"` // what protects the box, where its driver says so
	Lacks    []string  `json:"lacks,omitempty"`    // what does not, and why
}

// End says how a box ended.
type End struct {
	Box    string    `json:"box"`
	Reason string    `json:"reason"` // a code of package restart
	Text   string    `json:"text"`
	At     time.Time `json:"at"`
}

// Phase is what a stage is doing.
type Phase string

// Phases.
const (
	Idle     Phase = "stopped"  // no box, and none wanted
	Adopting Phase = "adopting" // looking for the box of an earlier supervisor
	Waiting  Phase = "waiting"  // no box yet: it ended, and is started again after a while
	Starting Phase = "starting"
	Running  Phase = "running"
	Stopping Phase = "stopping"
)
