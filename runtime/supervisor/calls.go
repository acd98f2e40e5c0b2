package supervisor

import (
	"context"
	"errors"
	"io"
)

var errSkeleton = errors.New("not built yet")

// Supervisor keeps the boxes of one plan. Its methods may be called from any goroutine.
type Supervisor struct{}

// Open takes the lock of the state folder dir, which it makes if need be. One supervisor can have it.
func Open(dir string, o Options) (*Supervisor, error) { return nil, errSkeleton }

// Close leaves the boxes running, except those in place, and lets go of the state folder.
func (s *Supervisor) Close() error { return errSkeleton }

// Accepted returns the last accepted plan; nil when there was none.
func (s *Supervisor) Accepted() (*Accepted, error) { return nil, errSkeleton }

// Apply has a plan run. The first call adopts what runs of it, starts what does not, and ends what is
// not in it. Later calls replace what changed, one stage after the other, and leave the others alone;
// they change nothing when the files of any stage cannot be verified or its driver refuses it.
// Apply returns when new versions have held or were put back. When ctx ends it returns at once,
// and what it began goes on.
func (s *Supervisor) Apply(ctx context.Context, p Plan, o ApplyOptions) (Report, error) {
	return Report{}, errSkeleton
}

// Run keeps the stages healthy until ctx ends, then stops them all, from capture to publish. It also
// returns after Down and Close.
func (s *Supervisor) Run(ctx context.Context) error { return errSkeleton }

// Down stops all stages, from capture to publish, each within its grace; when ctx ends, what is left
// is ended by force.
func (s *Supervisor) Down(ctx context.Context) error { return errSkeleton }

// Restart stops a stage and starts it again, at once also if it would have waited.
func (s *Supervisor) Restart(ctx context.Context, stage string) error { return errSkeleton }

// StopStage stops a stage, which stays stopped, over restarts of the supervisor too, until StartStage.
func (s *Supervisor) StopStage(ctx context.Context, stage string) error { return errSkeleton }

// StartStage starts a stage that was stopped.
func (s *Supervisor) StartStage(ctx context.Context, stage string) error { return errSkeleton }

// List returns how the stages do, in the order of starting.
func (s *Supervisor) List(ctx context.Context) []State { return nil }

// Log takes lines for the log of a stage, beside what its boxes print.
func (s *Supervisor) Log(stage string) io.Writer { return io.Discard }

// Logs hands the last n lines of a stage's log to take, and then, if follow is set, each new one,
// until ctx ends.
func (s *Supervisor) Logs(ctx context.Context, stage string, n int, follow bool, take func(line string) error) error {
	return errSkeleton
}

// Audit adds a record to the audit log: grants and refusals of them are the caller's to know.
func (s *Supervisor) Audit(event string, fields map[string]string) error { return errSkeleton }
