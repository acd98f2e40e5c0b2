// Package pipeline says what flows through Sightline and who must do what with it: the contracts of
// sources, classifiers, sinks and stages, and the links between them. It imports the standard
// library only; everything else imports it.
//
//	camera ─▶ capture ──frames──▶ classify ──results──▶ publish ─▶ upstream
//
// A stage is handed everything it uses: its links, its configuration, its secrets and its network.
// It touches nothing else, so that the same stage runs in place or in a box of its own.
package pipeline

import (
	"context"
	"log/slog"
	"net"
	"os"
	"time"
)

// Stage is the smallest thing that is deployed: capture, classify or publish.
type Stage interface {
	// Run does the stage's work. It is called from one goroutine, and called again after it
	// returned an error, so it opens and closes what it needs itself and keeps nothing half-open.
	//
	// When stop closes, Run finishes what it already took (frames being classified, results waiting
	// to be delivered), takes nothing new, and returns nil. When ctx ends the grace is over: Run
	// returns at once with ctx's error. Any other error is worth a restart, unless IsPermanent.
	Run(ctx context.Context, stop <-chan struct{}) error
}

// Env is what every stage is handed apart from its links and configuration.
type Env struct {
	Device  string       // name of this device, part of every topic and result
	Stage   string       // name of the stage in the pipeline file
	Log     *slog.Logger // never nil; already carries the stage's name
	Stats   *Stats       // never nil; counters of this stage
	Network Network      // the only way out; nil for a stage without a grant
	Report  func(Status) // tells the supervisor what changed; never blocks, never nil
	// ReadFile reads a file that the stage's section of the pipeline file names: a password, a
	// certificate. A stage in a box has no files: there the supervisor has read them for it. nil is
	// os.ReadFile. Stages call File.
	ReadFile func(name string) ([]byte, error)
}

// File returns what is in a file that the stage's section of the pipeline file names. Inline it is
// read anew at each call, so that a file that was renewed counts from then on.
func (e *Env) File(name string) ([]byte, error) {
	if e.ReadFile == nil {
		return os.ReadFile(name)
	}
	return e.ReadFile(name)
}

// Network opens connections for a stage. It is the stage's grant: an address that the stage's own
// section of the pipeline file does not name is refused with ErrNotGranted.
type Network interface {
	// Dial connects like net.Dialer.DialContext. network is "tcp" or "udp".
	Dial(ctx context.Context, network, address string) (net.Conn, error)
	// ListenPacket opens a local UDP socket for media that the granted peer sends. A box that
	// cannot have one returns ErrNotGranted.
	ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error)
}

// Interrupted is a Network that can be gone as a whole, as that of a box is while it has no supervisor.
type Interrupted interface {
	// Back returns a channel that is closed when the network comes back the next time.
	Back() <-chan struct{}
}

// Back returns when a network that was gone is back; nil, which is never, for one that is always there.
// Whoever lost a connection meanwhile connects again at once then, and forgets what failed before:
// nothing was wrong with the other side.
func Back(n Network) <-chan struct{} {
	if i, ok := n.(Interrupted); ok {
		return i.Back()
	}
	return nil
}

// Source receives the encoded pictures of one camera, file or device.
type Source interface {
	// Receive connects, then calls take for every access unit in decoding order until ctx ends or
	// the connection is lost, and returns why; it never returns nil before ctx ends, except a
	// source that is finite (a file), at its end. The caller reconnects with backoff unless the
	// error IsPermanent. take never blocks for anything behind it; a Unit and what it points to
	// are only valid during the call. Receive calls take from one goroutine at a time.
	Receive(ctx context.Context, env Env, take func(*Unit)) error
}

// Classifier runs one model.
type Classifier interface {
	// Info says which model this is and what it runs on.
	Info() ModelInfo
	// Wish says what frames the model wants.
	Wish() Wish
	// Classify fills answers[i] for frames[i]; len(answers) == len(frames) ≤ Info().MaxBatch. It is called
	// from one goroutine at a time and keeps neither slice. Predictions in an answer that the
	// caller passes in are reused. An error concerns all the frames of the call.
	Classify(ctx context.Context, frames []*Frame, answers []Answer) error
	// Close frees the model. Nothing is called after it.
	Close() error
}

// Sink takes messages upstream.
type Sink interface {
	// Open makes the sink ready to accept messages. It need not be connected yet: Deliver waits.
	Open(ctx context.Context, env Env) error
	// Deliver returns nil once upstream has every message (QoS 1: acknowledged; a file: written).
	// After an error the caller delivers the same messages again, unless IsPermanent, when they are
	// counted as refused. Called from one goroutine at a time.
	Deliver(ctx context.Context, messages []Message) error
	// Close says goodbye upstream and frees the sink.
	Close(ctx context.Context) error
}

// The states of a stage, as they appear in /status, in metrics and on the status topic.
const (
	StateStarting State = "starting" // not yet working: connecting, loading a model
	StateOnline   State = "online"   // working: frames or results flow
	StateStalled  State = "stalled"  // connected, but nothing has come for longer than it should
	StateOffline  State = "offline"  // not connected; it is being tried again
	StateStopped  State = "stopped"  // asked to stop
)

// State is one of the states above.
type State string

// Status is what a stage says of itself whenever it changes.
type Status struct {
	Stage  string    `json:"stage"`            // the reporting stage
	Source string    `json:"source,omitempty"` // the source it is about; set by capture stages
	State  State     `json:"state"`
	Reason string    `json:"reason,omitempty"` // why, in words for the operator; secrets redacted
	Since  time.Time `json:"since"`            // when the state was entered
	Detail string    `json:"detail,omitempty"` // what it works with: codec and size, model and provider, broker
}
