// Package driver is the contract between the supervisor and the ways to run a stage: the boxes.
//
// A box is given a closure (its files), one stream (its wire) and limits, and nothing else: no
// network, no environment, no files outside its closure. runtime/drivertest is the suite that every
// driver passes.
package driver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"sightline/runtime/closure"
	"sightline/runtime/closure/store"
)

// Driver runs boxes of one kind. Its methods may be called from any goroutine.
type Driver interface {
	// Name is the word for this kind of box in a pipeline file: process, container, vm, unikernel.
	Name() string
	// Probe tries whether boxes of this kind run here, by starting what it takes, not by looking for
	// files. It is quick enough to be asked for each plan (seconds) and may keep its answer.
	Probe(ctx context.Context) Probe
	// Start starts a box. The supervisor has written spec.ID to disk before; a box with this ID does
	// not exist. A limit that the driver cannot enforce is refused with a *RefusedError, as is all
	// that Check refuses. After an error nothing is left behind.
	Start(ctx context.Context, spec Spec) (Box, error)
	// Recover finds the box that Start was called for with this spec, perhaps by a supervisor that
	// was killed in the middle of it. It returns ErrGone when there is none, having removed all
	// that was left of it.
	Recover(ctx context.Context, spec Spec) (Box, error)
}

// Checker is a driver that knows beforehand what it would refuse.
type Checker interface {
	// Check returns a *RefusedError for a spec that Start would refuse, without starting anything.
	Check(spec Spec) error
}

// Preparer is a driver whose boxes want the closure in another shape than a folder. Before one box
// takes the place of another it is asked to do all that is slow about the start, or may go wrong.
type Preparer interface {
	// Prepare verifies the closure of a spec that Check takes and packs it as a box wants it, so that
	// Start finds it packed, and only verifies again. There is nothing in spec.Dir, nor such a folder.
	Prepare(ctx context.Context, spec Spec) error
}

// Box is a box that was started. Its methods may be called from any goroutine.
type Box interface {
	// ID is the spec's.
	ID() string
	// Done is closed when the box has ended and all that belonged to it is removed.
	Done() <-chan struct{}
	// Exit says how it ended; only after Done.
	Exit() Exit
	// Stop asks the box to end, and ends it by force after grace. It returns when the box is done,
	// or with ctx's error. It may be called more than once.
	Stop(ctx context.Context, grace time.Duration) error
}

// Sampler is a box that can be measured.
type Sampler interface {
	// Sample returns what the box has used since it started.
	Sample(ctx context.Context) (Usage, error)
}

// Guarded is a box that says what it is protected by.
type Guarded interface {
	// Protection returns what boxes of its kind are protected by here, and what not, and why. It is
	// asked for often, and must be quick.
	Protection(ctx context.Context) (protects, lacks []string)
}

// Usage is what a box uses.
type Usage struct {
	CPU    time.Duration // processor time since the start
	Memory int64         // resident bytes now
}

// Probe is a driver's answer to whether it can work here.
type Probe struct {
	Err     error    // why it cannot, and how to get what is missing, in words for the operator; nil: it can
	Engine  string   // what it stands on, with its version: "Docker Engine 20.10.24", "QEMU 7.2 (TCG)"
	Protect []string // what a box of this kind is protected by, here: "no_new_privs", "network none"
	Lacks   []string // what it is not protected by here, and why
}

// Spec says what to run.
type Spec struct {
	ID    string // unique for ever; lower-case letters, digits and -, at most 63 bytes
	Stage string // name of the stage, for people
	Files Files  // the closure
	// Program is the path of the program inside the closure, and its arguments. The driver adds one
	// more: the address of the wire as the box sees it, the absolute path of a unix socket or of a
	// device, or host:port.
	Program []string
	// Dir is a folder of this box alone, for the driver's state. It exists with mode 0700; a driver
	// whose box has a user of its own may let that user's group through.
	Dir string
	// Socket is the unix socket in Dir on which the supervisor listens for the box's wire, before it
	// calls Start or Recover and for as long as the box runs. The driver may let the box's user in.
	Socket string
	Limits Limits
	GPU    bool      // give the box the GPU
	Log    io.Writer // takes what the box prints, line by line; never nil
}

// Files is a closure in a store. Each method checks what it returns by its digest first; the paths
// that it returns are the same for the same closure, read-only, and stay until the store collects it.
type Files interface {
	// Digest is the closure's, "sha256:…".
	Digest() string
	// Manifest lists the closure's files.
	Manifest(ctx context.Context) (*closure.Manifest, error)
	// Folder returns a folder with the closure's files.
	Folder(ctx context.Context) (string, error)
	// Pack returns the closure packed into one file in the way that a box wants it.
	Pack(ctx context.Context, way store.Packing) (store.Packed, error)
}

var _ Files = store.Kept{}

// Limits are the most that a box may use. Zero values set no limit.
type Limits struct {
	Memory int64   // bytes
	CPUs   float64 // processors
	PIDs   int     // processes and threads
}

// Exit says how a box ended.
type Exit struct {
	Code   int    // of the program; -1 when it is not known
	Signal string // name of the signal that ended it, empty for none
	Reason string // what is known beyond that: "out of memory", "killed by force"
}

// String says it in words.
func (e Exit) String() string {
	text := fmt.Sprintf("exit status %d", e.Code)
	switch {
	case e.Signal != "":
		text = "killed by " + e.Signal
	case e.Code < 0:
		text = "ended, exit status not known"
	}
	if e.Reason != "" {
		text += " (" + e.Reason + ")"
	}
	return text
}

// RefusedError says that a driver will not run a spec, and what would be the nearest that works.
type RefusedError struct {
	Driver  string
	What    string // what it refuses: "a limit of 2 processors"
	Why     string // "cgroup v2 without the cpu controller"
	Instead string // "leave cpus out, or use in: container"
}

// Error says all of it.
func (e *RefusedError) Error() string {
	text := fmt.Sprintf("%s box refuses %s: %s", e.Driver, e.What, e.Why)
	if e.Instead != "" {
		text += " (" + e.Instead + ")"
	}
	return text
}

// ErrGone is returned by Recover when there is no such box.
var ErrGone = errors.New("box is gone")
