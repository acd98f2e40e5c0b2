package join

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"sightline/cmd/program"
	"sightline/configs"
	"sightline/pipeline"
	"sightline/pipeline/grant"
	"sightline/pipeline/wire"
	"sightline/runtime/driver"
	"sightline/runtime/inline"
	"sightline/runtime/supervisor"
)

func boxed(p *configs.Pipeline, stage string) bool { return p.BoxOf(stage) != configs.Inline }

// planner makes one plan.
type planner struct {
	*Site
	p        *configs.Pipeline
	closures map[string]Closure
	encoder  program.Encoder
	stages   []supervisor.Stage
	problems []error
}

// part is what one kind of stage is made of.
type part struct {
	section json.RawMessage
	secrets map[string]pipeline.Secret
	grants  []grant.Endpoint
	links   any                            // what tells its links from others
	place   func() (pipeline.Stage, error) // in the supervisor itself
	stats   *pipeline.Stats                // of a stage in place
	ends    wire.Ends                      // of a stage in a box
	outlet  *outlet
	cross   []*crossing
}

func (b *planner) add(kind wire.Kind, name string, make func(name string) (part, error)) {
	made, err := make(name)
	if err == nil {
		err = b.stage(kind, name, made)
	}
	if err != nil {
		b.problems = append(b.problems, fmt.Errorf("%s %s: %w", kind, name, err))
	}
}

// guestPatience is how long a stage in a guest may take to its first heartbeat: without KVM, on a machine that
// does much else, most of it goes by before the guest's kernel is up.
const guestPatience = 5 * time.Minute

func (b *planner) stage(kind wire.Kind, name string, m part) error {
	in := b.p.BoxOf(name)
	box := b.p.Runtime.Stages[name]
	st := supervisor.Stage{
		Name: name, Kind: string(kind), Grace: b.p.Grace, Settings: settings(kind, in != configs.Inline, b.p.Device, m),
		Limits: driver.Limits{Memory: int64(box.Memory), CPUs: box.CPUs, PIDs: box.PIDs},
	}
	if in == configs.VM || in == configs.Unikernel {
		st.Patience = guestPatience
	}
	if in != configs.Inline {
		if st.Driver = b.Drivers[in]; st.Driver == nil {
			return fmt.Errorf("there are no %s boxes in this program", in)
		}
		st.Program = []string{program.Path}
		c, ok := b.closures[name]
		if !ok {
			return errors.New("has no closure")
		}
		st.Files, st.GPU = b.Files(c.Digest), c.GPU
	}
	j, err := b.join(kind, name, in != configs.Inline, st.Settings, m)
	if err != nil {
		return err
	}
	if p, ok := j.(*placed); ok {
		st.Driver = &p.driver
	}
	st.Wire = j
	b.stages = append(b.stages, st)
	return nil
}

// join returns the stage as it was made before, or makes it.
func (b *planner) join(kind wire.Kind, name string, boxed bool, settings string, m part) (joined, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	at := name + " " + settings
	if j, ok := b.made[at]; ok {
		return j, nil
	}
	if !boxed {
		stage, err := m.place()
		if err != nil {
			return nil, err
		}
		run := func(string) inline.Function { return stage.Run }
		return b.keep(name, at, &placed{kind: kind, name: name, stats: m.stats, outlet: m.outlet, hub: b.hub, driver: inline.Driver{Run: run}}), nil
	}
	t := talk{
		kind: kind, name: name, complain: &complaints{log: b.Log, stage: name}, ends: m.ends, outlet: m.outlet, crossings: m.cross, hub: b.hub, records: b.Records(name),
		configuration: wire.Configuration{Device: b.p.Device, Section: m.section, Secrets: m.secrets},
		refused:       func(_, address string, err error) { b.Refused(name, address, err) },
	}
	for _, e := range m.grants {
		t.grants = append(t.grants, wire.Grant{Name: e.Name, Address: e.Address})
	}
	return b.keep(name, at, &boxWire{talk: t}), nil
}

// versions is how many versions of a stage are remembered: more than can be tried and put back while
// one of them runs.
const versions = 16

// keep remembers a version of a stage, in place of its oldest. s.mu is held.
func (s *Site) keep(name, at string, j joined) joined {
	s.made[at] = j
	s.known[name] = append(s.known[name], at)
	if list := s.known[name]; len(list) > versions {
		delete(s.made, list[0])
		s.known[name] = slices.Delete(list, 0, 1)
	}
	return j
}

// settings is a digest of all that a stage is told.
func settings(kind wire.Kind, boxed bool, device string, m part) string {
	h := sha256.New()
	say := func(v any) {
		if err := json.NewEncoder(h).Encode(v); err != nil {
			fmt.Fprintf(h, "%v", err) // cannot be: all of it is plain data
		}
	}
	say([]any{kind, boxed, device, m.section, m.grants, m.links})
	for _, name := range slices.Sorted(maps.Keys(m.secrets)) {
		io.WriteString(h, name+"\x00"+m.secrets[name].Reveal()+"\x00") //nolint:errcheck // a hash takes all
	}
	return hex.EncodeToString(h.Sum(nil))
}
