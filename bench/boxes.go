package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

// InPlace is the kind of box that all others are compared with: none, in sightline's own process.
const InPlace = "inline"

// Kind is a kind of box to compare with inline.
type Kind struct {
	Name     string `json:"name"`
	Engine   string `json:"engine,omitempty"`
	Skipped  string `json:"skipped,omitempty"`  // why it is not measured; empty: it is
	Emulated bool   `json:"emulated,omitempty"` // a guest without the processor's help, an order slower
}

// BoxOptions say how kinds of boxes are compared, beyond Options.
type BoxOptions struct {
	Rounds    int           `json:"rounds"`
	Idle      time.Duration `json:"idle_ns"`    // how long the idle supervisor is watched; 0: not at all
	GuestSize Size          `json:"guest_size"` // of the pictures for emulated guests, and for inline beside them
	GuestFPS  int           `json:"guest_fps"`
}

// Check returns what is wrong with the options.
func (o BoxOptions) Check() error {
	switch {
	case o.Rounds < 1 || o.Rounds > 100:
		return fmt.Errorf("%d rounds: want 1 to 100", o.Rounds)
	case o.GuestFPS < 1 || o.GuestFPS > 120:
		return fmt.Errorf("%d fps for guests: want 1 to 120", o.GuestFPS)
	case o.Idle != 0 && o.Idle < time.Second:
		return fmt.Errorf("watching the idle supervisor for %s: want at least 1s, or 0 for not at all", o.Idle)
	}
	return nil
}

// BoxState is what a running supervisor says of a stage.
type BoxState struct {
	Stage    string
	Kind     string // capture, classify or publish
	Running  bool
	Ready    bool
	Problem  string        // in words, if there is one
	Digest   string        // of its closure; empty in place
	Measured bool          // CPU and Memory are known
	CPU      time.Duration // since the start of the box
	Memory   int64         // resident bytes
}

// Sizes are of what a stage consists of, in bytes.
type Sizes struct {
	Closure int64 `json:"closure"`         // its files
	Image   int64 `json:"image,omitempty"` // what they were packed into; 0: nothing, they are used as they are
}

// Boxes compares the kinds of boxes: it has an ordinary `sightline run` run the same pipeline file
// in each, one after the other, with a run in place before and after each, so that what else goes
// on in the machine hits all alike.
//
// Nothing can be added to a program in a box, so nobody reads the clock in the pictures here. A
// latency is from the time that the result says the picture was taken, which comes from the camera's
// RTCP sender reports and so from this machine's clock, to when the result is received.
type Boxes struct {
	*Harness // with Options of the cameras and the model
	Compare  BoxOptions
	Kinds    []Kind
	// Runtime is the runtime section of the pipeline file: what boxes stand on; nil: what is found.
	Runtime map[string]any
	// Program returns the command that runs this program with arguments.
	Program func(args ...string) *exec.Cmd
	// Ask asks the supervisor of a state folder for its stages.
	Ask func(ctx context.Context, state string) ([]BoxState, error)
	// Sizes looks a closure up in a state folder.
	Sizes func(ctx context.Context, state, digest string) (Sizes, error)
	// Remove removes a state folder.
	Remove func(state string) error

	folder string
}

// Run compares.
func (b *Boxes) Run(ctx context.Context) (out *BoxReport, err error) {
	if err := errors.Join(b.Options.Check(), b.Compare.Check()); err != nil {
		return nil, err
	}
	if b.folder, err = os.MkdirTemp("", "slb"); err != nil { // short: sockets lie below it
		return nil, fmt.Errorf("folder for the bench: %w", err)
	}
	b.Options.Transport = "tcp" // a box has no UDP
	out = b.newReport()
	err = b.all(ctx, out)
	if errors.Is(err, errLeft) {
		return nil, err // boxes may still run there
	}
	if err = errors.Join(err, b.Remove(b.folder)); err != nil {
		return nil, err
	}
	out.check()
	return out, nil
}

func (b *Boxes) all(ctx context.Context, out *BoxReport) error {
	var plain, emulated []Kind
	for _, k := range b.Kinds {
		switch {
		case k.Skipped != "":
			b.Say("not measured: %s: %s", k.Name, k.Skipped)
		case k.Emulated:
			emulated = append(emulated, k)
		case k.Name != InPlace:
			plain = append(plain, k)
		}
	}
	if len(plain) > 0 || len(emulated) == 0 {
		if err := b.group(ctx, out, "a", plain, b.Options.Size, b.Options.FPS); err != nil {
			return err
		}
	}
	if len(emulated) > 0 {
		if err := b.group(ctx, out, "b", emulated, b.Compare.GuestSize, b.Compare.GuestFPS); err != nil {
			return err
		}
	}
	return b.idle(ctx, out)
}

// group measures kinds of boxes with the same cameras.
func (b *Boxes) group(ctx context.Context, out *BoxReport, name string, kinds []Kind, size Size, fps int) (err error) {
	g := &BoxGroup{Size: size, FPS: fps}
	out.Groups = append(out.Groups, g)
	of := *b.Harness
	of.Options.Size, of.Options.FPS = size, fps
	recordings, recording, err := of.record(ctx)
	if err != nil {
		return err
	}
	defer os.RemoveAll(recordings)
	g.Encoder, g.BitRate = recording.Encoder, recording.BitRate()
	site, where, err := of.startSite(recordings)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, site.stop(stopPatience)) }()
	c := &circuit{boxes: b, harness: &of, group: g, site: site, where: where, folder: filepath.Join(b.folder, name)}
	c.patience, c.late = boxPatience, of.Options.Staleness+straggling
	if slices.ContainsFunc(kinds, func(k Kind) bool { return k.Emulated }) {
		c.patience, c.late = guestPatience, of.Options.Staleness+guestStraggling
	}
	if err := c.open(); err != nil {
		return err
	}
	return c.rounds(ctx, kinds)
}

// circuit runs one pipeline file in one kind of box after the other.
type circuit struct {
	boxes   *Boxes
	harness *Harness
	group   *BoxGroup
	site    *child
	where   *Site
	folder  string // has the file and the state folders
	file    string
	listen  string
	failed  map[string]bool
	// patience is how long a first result may take, late how long the last ones are waited for.
	patience, late time.Duration
}

// open writes the pipeline file.
func (c *circuit) open() (err error) {
	c.failed = map[string]bool{}
	if err := os.MkdirAll(c.folder, 0o700); err != nil {
		return fmt.Errorf("folder for the bench: %w", err)
	}
	if c.listen, err = freeAddress(); err != nil {
		return err
	}
	c.file, err = c.boxes.writeFile(c.harness, c.folder, c.where, c.listen)
	return err
}

// rounds runs in place, in each kind of box with a run in place after it, and so on.
func (c *circuit) rounds(ctx context.Context, kinds []Kind) error {
	if err := c.run(ctx, 0, InPlace); err != nil {
		return err
	}
	for round := range c.boxes.Compare.Rounds {
		for _, k := range kinds {
			if c.failed[k.Name] {
				continue
			}
			err := c.run(ctx, round, k.Name)
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case errors.Is(err, errLeft):
				return err
			case err != nil: // the others can still be measured
				c.boxes.Say("%s boxes: %v", k.Name, err)
				c.failed[k.Name] = true
				c.group.Failed = append(c.group.Failed, Kind{Name: k.Name, Engine: k.Engine, Skipped: err.Error()})
				continue
			}
			if err := c.run(ctx, round, InPlace); err != nil {
				return err
			}
		}
	}
	return nil
}

// run measures one run, and adds it to the group.
func (c *circuit) run(ctx context.Context, round int, kind string) error {
	c.boxes.Say("round %d: %s, %s at %d fps", round+1, kind, c.group.Size, c.group.FPS)
	r := &boxRun{circuit: c, kind: kind, state: filepath.Join(c.folder, kind[:1])}
	measured, err := r.measure(ctx)
	if err != nil {
		return fmt.Errorf("measure %s boxes: %w", kind, err)
	}
	measured.Round = round
	c.group.Runs = append(c.group.Runs, *measured)
	return nil
}
