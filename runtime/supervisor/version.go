package supervisor

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"time"

	"sightline/runtime/driver"
)

const (
	defaultGrace    = 10 * time.Second
	defaultPatience = 2 * time.Minute
)

// version is what tells one version of a stage from another.
type version struct {
	Kind     string        `json:"kind,omitempty"`
	Driver   string        `json:"driver"`
	Digest   string        `json:"digest,omitempty"` // of the closure
	Program  []string      `json:"program,omitempty"`
	Limits   driver.Limits `json:"limits"`
	GPU      bool          `json:"gpu,omitempty"`
	Settings string        `json:"settings,omitempty"`
}

// key names a version.
func (v version) key() string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("supervisor: a version can't be encoded: %v", err)) // it holds nothing that can't
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// edition is a version of a stage with all that it takes to run it.
type edition struct {
	version
	key      string
	driver   driver.Driver
	files    driver.Files
	wire     Wire
	grace    time.Duration
	patience time.Duration
	document json.RawMessage
	prepared bool // its files were verified
}

func editionOf(s Stage, document json.RawMessage) *edition {
	e := &edition{
		version:  version{Kind: s.Kind, Driver: s.Driver.Name(), Program: s.Program, Limits: s.Limits, GPU: s.GPU, Settings: s.Settings},
		driver:   s.Driver,
		files:    s.Files,
		wire:     s.Wire,
		grace:    s.Grace,
		patience: s.Patience,
		document: document,
	}
	if s.Files != nil {
		e.Digest = s.Files.Digest()
	}
	if e.grace <= 0 {
		e.grace = defaultGrace
	}
	if e.patience <= 0 {
		e.patience = defaultPatience
	}
	e.key = e.version.key()
	return e
}

// inPlace says that boxes of the edition are in this process.
func (e *edition) inPlace() bool { return inPlace(e.driver) }

func inPlace(d driver.Driver) bool {
	p, ok := d.(InPlace)
	return ok && p.InPlace()
}

// name is what a stage may be called: it becomes part of paths and IDs.
var name = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

// check refuses a plan that can't be run.
func (p Plan) check() error {
	seen := map[string]bool{}
	for i, s := range p.Stages {
		switch {
		case !name.MatchString(s.Name):
			return fmt.Errorf("plan %q: stage %d: %q is no name: 1 to 63 lower-case letters, digits, - and _", p.Name, i+1, s.Name)
		case seen[s.Name]:
			return fmt.Errorf("plan %q: there are two stages %q", p.Name, s.Name)
		case s.Driver == nil:
			return fmt.Errorf("plan %q: stage %q has no driver", p.Name, s.Name)
		}
		seen[s.Name] = true
	}
	if len(p.Document) > 0 && !json.Valid(p.Document) {
		return fmt.Errorf("plan %q: its document is not JSON", p.Name)
	}
	return nil
}
