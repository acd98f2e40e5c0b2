// Package container runs boxes as containers of Docker Engine or of Podman, which are driven alike
// over the API that both have.
//
// A box is a container whose image is made of the closure and nothing else, without a registry or a
// builder. Before each start the files that the engine has laid out for the container are compared
// with the closure's manifest, one by one.
//
// # What a stage finds
//
// Its closure as root folder, read-only; /proc, /sys and /dev as the engine makes them, without
// /dev/shm (message queues it can make, of its own, in /dev/mqueue); files of the engine's own, such as /etc/hosts; and the wire's socket in WireFolder, whose
// path is the last argument of the program. It dials that path, and dials it again when the
// supervisor was started anew: the folder is mounted, not the socket. The one network is its own
// loopback.
//
// # What outlives the supervisor
//
// The container does, as its engine's. It is known by its name and its labels; the engine keeps the
// last LogSize bytes of what it prints. How far the log was read is noted in Spec.Dir, so that the
// next supervisor goes on from there.
//
// # When the engine goes
//
// A box is not given up because its engine can't be asked: only what the engine says of it counts. An
// engine without live restore ends its containers when it ends; the reason of their end says so.
package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"sightline/runtime/driver"
)

// Name is the driver's.
const Name = "container"

// WireFolder is where a box finds the wire's socket.
const WireFolder = "/wire"

// LogSize is how much of a box's log the engine keeps at most, in bytes, in LogFiles files.
const (
	LogSize  = 8 << 20
	LogFiles = 2
)

// prefix begins the names of the containers.
const prefix = "sightline-"

// Labels by which containers and images are known.
const (
	LabelBox     = "sightline.box"     // of a container: the box's ID
	LabelDir     = "sightline.dir"     // of a container: Spec.Dir
	LabelStage   = "sightline.stage"   // of a container: Spec.Stage
	LabelClosure = "sightline.closure" // of both: the closure's digest
	LabelPacking = "sightline.packing" // of an image: how it was made
)

// Times that the driver allows the engine.
const (
	callTime  = 30 * time.Second // for one call
	startTime = 2 * time.Minute  // to load an image, and to lay out a container
	leftTime  = 15 * time.Second // to remove what it says it can't
	keptTime  = time.Minute      // for which what was found of an engine counts
	fateTime  = time.Second      // in which a container appears that a killed supervisor has asked for
)

// Driver runs container boxes. The zero value is ready; fields are to be set before the first use.
type Driver struct {
	// Host is the engine's address, unix:///path/of/its.sock. If it is empty, DOCKER_HOST counts, and
	// then the first socket that is there of those in Sockets.
	Host string
	// TrialDir is a folder that the engine sees under the same path, for Probe; "" is os.TempDir().
	TrialDir string

	mu     sync.Mutex
	found  *engine // nil until it was looked at
	asked  time.Time
	answer *driver.Probe
	tried  time.Time
}

var (
	_ driver.Driver   = (*Driver)(nil)
	_ driver.Checker  = (*Driver)(nil)
	_ driver.Preparer = (*Driver)(nil)
)

// Name implements driver.Driver.
func (d *Driver) Name() string { return Name }

// Check implements driver.Checker.
func (d *Driver) Check(spec driver.Spec) error {
	ctx, cancel := context.WithTimeout(context.Background(), callTime)
	defer cancel()
	e, err := d.engine(ctx)
	if err != nil {
		return err
	}
	return e.check(ctx, spec)
}

// Prepare implements driver.Preparer: the engine then has the image.
func (d *Driver) Prepare(ctx context.Context, spec driver.Spec) error {
	e, err := d.engine(ctx)
	if err != nil {
		return fmt.Errorf("prepare container box: %w", err)
	}
	if _, _, _, err := e.ready(ctx, spec); err != nil {
		d.doubt(err)
		return fmt.Errorf("prepare container box: %w", err)
	}
	return nil
}

// Start implements driver.Driver.
func (d *Driver) Start(ctx context.Context, spec driver.Spec) (driver.Box, error) {
	e, err := d.engine(ctx)
	if err != nil {
		return nil, fmt.Errorf("container box %q: %w", spec.ID, err)
	}
	if err := e.check(ctx, spec); err != nil {
		return nil, err
	}
	b, err := e.start(ctx, spec)
	if err != nil {
		d.doubt(err)
		return nil, fmt.Errorf("container box %q: %w", spec.ID, err)
	}
	return b, nil
}

// Recover implements driver.Driver. When the box has ended meanwhile, what it printed is handed to
// spec.Log first, and the error, which is driver.ErrGone, says how it ended. An engine that can't be
// asked is another error.
func (d *Driver) Recover(ctx context.Context, spec driver.Spec) (driver.Box, error) {
	e, err := d.engine(ctx)
	if err != nil {
		return nil, fmt.Errorf("recover container box %q: %w", spec.ID, err)
	}
	b, err := e.recover(ctx, spec)
	if err == nil {
		return b, nil
	}
	d.doubt(err)
	if errors.Is(err, driver.ErrGone) {
		return nil, err
	}
	return nil, fmt.Errorf("recover container box %q: %w", spec.ID, err)
}

// engine returns the engine, and looks at it again from time to time: it may have been replaced.
func (d *Driver) engine(ctx context.Context) (*engine, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.found != nil && time.Since(d.asked) < keptTime {
		return d.found, nil
	}
	found, err := explore(ctx, d.Host)
	if err != nil {
		return nil, err
	}
	if found.trialDir = d.TrialDir; found.trialDir == "" {
		found.trialDir = os.TempDir()
	}
	if d.found != nil && d.found.facts.same(found.facts) {
		found.gpu = d.found.gpu
	}
	d.found, d.asked = found, time.Now()
	return found, nil
}

// doubt has the engine looked at again after an error that may have come of its change.
func (d *Driver) doubt(err error) {
	if errors.Is(err, driver.ErrGone) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = time.Time{}
}

// logFile is the driver's in Spec.Dir: how far the log was read. It is there before the container is.
const logFile = "container.log"

// tidy removes what the driver keeps in the folder of a box.
func tidy(dir string) error {
	if err := os.Remove(filepath.Join(dir, logFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
