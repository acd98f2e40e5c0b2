// Package process runs boxes as child processes: the default box, which needs nothing installed.
//
// A box is a process of its own session with no environment, no privileges and limits, which sees
// the closure as its root folder and no network, as far as the kernel lets the supervisor arrange
// that; Probe says how far. As Go cannot run code between fork and exec, the supervisor's own
// program is started again to confine itself before it becomes the stage: main calls Main first.
//
// # What a stage finds
//
// Its closure as root folder, read-only; /dev with null, zero, random and urandom, and the GPU's
// devices if granted; /proc of its box alone, where the kernel lets one be mounted; the processors'
// part of /sys; and the wire's socket in WireFolder, whose path is the last argument of the
// program. It dials that path, and dials it again when the supervisor was started anew. Where no
// namespaces can be made it runs from the closure's folder, which is then its working directory,
// with the loader and the libraries of the closure.
//
// # What outlives the supervisor
//
// The box does, with its log in a pipe of which it holds both ends: it neither sees the
// supervisor go, nor waits for it before LogPipe bytes are printed. Recover adopts it. As a box may
// be a user of its own, Start and Recover let that user to the socket, so the supervisor listens on
// it before; no other user comes through Spec.Dir.
//
// Under systemd the supervisor's unit needs KillMode=process, or systemd ends the boxes with it,
// and, for limits without root, Delegate=yes and DelegateSubgroup=supervisor.
package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"sightline/runtime/driver"
	"sightline/runtime/durable"
	"sightline/runtime/outlive"
)

// Name is the driver's.
const Name = "process"

// WireFolder is where a box with its own root folder finds the wire's socket.
const WireFolder = "/wire"

// LogPipe is how much a box can print, in bytes, while no supervisor is there to read.
const LogPipe = outlive.LogPipe

// Driver runs process boxes. The zero value is ready; fields are to be set before the first use.
type Driver struct {
	// Command starts a program that calls Main first, up to and without HelperArgument; nil is
	// the running program.
	Command []string

	ways    []way // tests choose; nil is all
	unified bool  // tests choose cgroup v2 where there is v1 too

	mu    sync.Mutex
	found *host // what can be had here; nil until it was tried
}

// New returns a driver whose helper is the running program.
func New() *Driver { return &Driver{} }

var (
	_ driver.Driver  = (*Driver)(nil)
	_ driver.Checker = (*Driver)(nil)
)

// Name implements driver.Driver.
func (d *Driver) Name() string { return Name }

func (d *Driver) command() []string {
	if len(d.Command) > 0 {
		return d.Command
	}
	return []string{"/proc/self/exe"} // this program, even when its file was replaced
}

// host returns what was found to work here, trying it at the first call.
func (d *Driver) host(ctx context.Context) (*host, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.found == nil {
		found, err := d.explore(ctx)
		if err != nil {
			return nil, err
		}
		d.found = found
	}
	return d.found, nil
}

// Check implements driver.Checker.
func (d *Driver) Check(spec driver.Spec) error {
	h, err := d.host(context.Background())
	if err != nil {
		return err
	}
	return h.check(spec)
}

// Start implements driver.Driver.
func (d *Driver) Start(ctx context.Context, spec driver.Spec) (driver.Box, error) {
	h, err := d.host(ctx)
	if err != nil {
		return nil, fmt.Errorf("process box %q: %w", spec.ID, err)
	}
	if err := h.check(spec); err != nil {
		return nil, err
	}
	folder, err := spec.Files.Folder(ctx)
	if err != nil {
		return nil, fmt.Errorf("process box %q: %w", spec.ID, err)
	}
	s := &starting{host: h, spec: spec, folder: folder, command: d.command()}
	b, err := s.start(ctx)
	if err != nil {
		return nil, fmt.Errorf("process box %q: %w", spec.ID, err)
	}
	b.of = d
	return b, nil
}

// Recover implements driver.Driver.
func (d *Driver) Recover(ctx context.Context, spec driver.Spec) (driver.Box, error) {
	b, err := recoverBox(ctx, spec)
	if err != nil && !errors.Is(err, driver.ErrGone) {
		return nil, fmt.Errorf("recover process box %q: %w", spec.ID, err)
	}
	if err != nil {
		return nil, err
	}
	b.of = d
	return b, nil
}

// Names in Spec.Dir.
const (
	stateFile = "process.json"
	lockFile  = "process.lock"
	logFile   = "process.log"
	rootDir   = "process.root"
)

// tidy removes what the driver keeps in the folder of a box, the state last.
func tidy(dir string) error {
	var errs []error
	for _, name := range []string{logFile, lockFile, rootDir, stateFile + durable.Temporary, stateFile} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
