// Package closures says which files the stages of a pipeline consist of when they run in boxes: of a
// checked pipeline it makes the closure of each stage.
//
// Inside a closure the program of the stage is /stage, and
//
//	/lib/libonnxruntime.so       ONNX Runtime, of classify stages; its providers lie beside it
//	/model/model.onnx            the model, unless the program carries it
//	/model/model.yaml            its card, if it has one, and the file of labels that it names
//	/etc/ssl/certs/…             the system's authorities, of stages that use TLS with them
//
// What the section of a stage names itself, passwords and certificates, is in no closure: the
// supervisor reads it, and the stage gets it over its wire.
package closures

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"

	"sightline/configs"
	"sightline/runtime/closure"
	"sightline/runtime/closure/store"
	"sightline/runtime/driver"
)

// The kinds of stages.
const (
	Capture  = "capture"
	Classify = "classify"
	Publish  = "publish"
)

// Builder makes closures. The zero value looks for all parts where they usually are.
type Builder struct {
	// Programs is the folder of the stages' programs. Empty: $SIGHTLINE_STAGES, else the folder of the
	// running program, else ../lib/sightline from there.
	Programs string
	// Library is ONNX Runtime's shared library; empty: found as package library does.
	Library string
	// BuiltIn are the models that the program of classify stages carries.
	BuiltIn []string
	// Authorities are where the system's certificates may be; nil: the usual places.
	Authorities []string
	// Devices are what tells of a GPU that provider auto can use; nil: those of NVIDIA's driver.
	Devices []string
	// Drivers are folders with libraries of the GPU's driver, before the usual ones.
	Drivers []string
}

// Stage is a stage with its closure.
type Stage struct {
	Name    string
	Kind    string // capture, classify or publish
	Box     string // kind of box, see configs
	Closure *closure.Closure
	Digest  closure.Digest
	// GPU says that the box must be given the GPU.
	GPU bool
	// Notes say what was left out, and why.
	Notes []string
}

// Names lists the stages of a pipeline that run in boxes, in the order of starting: from publish to
// capture.
func Names(p *configs.Pipeline) []string {
	names := slices.Concat(slices.Sorted(maps.Keys(p.Sinks)), slices.Sorted(maps.Keys(p.Models)), slices.Sorted(maps.Keys(p.Sources)))
	return slices.DeleteFunc(names, func(name string) bool { return p.BoxOf(name) == configs.Inline })
}

// Kind says of which kind a stage is; empty when there is no such stage.
func Kind(p *configs.Pipeline, stage string) string {
	if _, ok := p.Sources[stage]; ok {
		return Capture
	}
	if _, ok := p.Models[stage]; ok {
		return Classify
	}
	if _, ok := p.Sinks[stage]; ok {
		return Publish
	}
	return ""
}

// Limits returns the limits of a stage's box.
func Limits(p *configs.Pipeline, stage string) driver.Limits {
	box := p.Runtime.Stages[stage]
	return driver.Limits{Memory: int64(box.Memory), CPUs: box.CPUs, PIDs: box.PIDs}
}

// Compute finds and hashes the files of a stage, whatever its box. Nothing is kept.
func (b Builder) Compute(p *configs.Pipeline, stage string) (*Stage, error) {
	s, err := b.compute(p, stage)
	if err != nil {
		return nil, fmt.Errorf("closure of stage %q: %w", stage, err)
	}
	return s, nil
}

func (b Builder) compute(p *configs.Pipeline, stage string) (*Stage, error) {
	s := &Stage{Name: stage, Kind: Kind(p, stage), Box: p.BoxOf(stage)}
	if s.Kind == "" {
		return nil, errors.New("there is no such stage")
	}
	spec := closure.Spec{}
	var err error
	if spec.Program, err = b.Program(s.Kind); err != nil {
		return nil, err
	}
	switch s.Kind {
	case Capture:
		err = b.capture(p.Sources[stage], s, &spec)
	case Classify:
		err = b.classify(p.Models[stage], s, &spec)
	case Publish:
		err = b.publish(p.Sinks[stage], &spec)
	}
	if err != nil {
		return nil, err
	}
	if s.Closure, err = closure.Compute(spec); err != nil {
		return nil, err
	}
	s.Digest, err = s.Closure.Manifest.Digest()
	return s, err
}

// ComputeModel finds and hashes the model of a classify stage in place, with its card and labels: what
// such a stage has instead of a closure of its own. It must not be built in.
func (b Builder) ComputeModel(p *configs.Pipeline, stage string) (*Stage, error) {
	s, spec := &Stage{Name: stage, Kind: Classify, Box: p.BoxOf(stage)}, closure.Spec{}
	err := model(p.Models[stage], InPlacePath(p.Models[stage].Model), &spec)
	if err == nil {
		s.Closure, err = closure.Compute(spec)
	}
	if err == nil {
		s.Digest, err = s.Closure.Manifest.Digest()
	}
	if err != nil {
		return nil, fmt.Errorf("model of stage %q: %w", stage, err)
	}
	return s, nil
}

// InPlace lists the classify stages in place whose model is a file.
func (b Builder) InPlace(p *configs.Pipeline) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(p.Models)), func(name string) bool {
		return p.BoxOf(name) != configs.Inline || slices.Contains(b.BuiltIn, p.Models[name].Model)
	})
}

// Keep puts the closure of a stage into a store under a pin, and returns it as boxes use it: verified
// by its digests whenever it is.
func (s *Stage) Keep(in *store.Store, pin string) (store.Kept, error) {
	digest, err := in.Put(s.Closure, pin)
	if err != nil {
		return store.Kept{}, fmt.Errorf("keep the closure of stage %q: %w", s.Name, err)
	}
	return in.Kept(digest), nil
}

// KeepAll computes the closures of all stages in boxes, and the models of those in place, and puts them
// into a store, each under the Pin of its role. All that is wrong is told at once, with what could be kept.
func (b Builder) KeepAll(p *configs.Pipeline, in *store.Store, role string) (map[string]*Stage, error) {
	names, boxes := Names(p), len(Names(p))
	names = append(names, b.InPlace(p)...)
	kept, problems := make([]*Stage, len(names)), make([]error, len(names))
	var all sync.WaitGroup
	turns := make(chan struct{}, runtime.GOMAXPROCS(0)) // hashing is the work
	for i, name := range names {
		all.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			compute := b.Compute
			if i >= boxes {
				compute = b.ComputeModel
			}
			s, err := compute(p, name)
			if err == nil {
				_, err = s.Keep(in, Pin(p, name, role))
			}
			kept[i], problems[i] = s, err
		})
	}
	all.Wait()
	stages := map[string]*Stage{}
	for i, name := range names {
		if problems[i] == nil {
			stages[name] = kept[i]
		}
	}
	return stages, errors.Join(problems...)
}

// Pin names what keeps the closure of a stage in a store: "front-gate/scene/current" for the role
// current.
func Pin(p *configs.Pipeline, stage, role string) string {
	name := []byte(p.Name)
	for i, c := range name {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case i > 0 && (c == '.' || c == '_' || c == '-'):
		default:
			name[i] = 'x' // any that a pin may begin with
			if i > 0 {
				name[i] = '-'
			}
		}
	}
	if len(name) == 0 {
		name = []byte("pipeline")
	}
	return string(name[:min(len(name), 80)]) + "/" + stage + "/" + role
}

// Files is the closure for a driver's Check, which may look at what is in it. It is in no store yet, so
// nothing can be started from it.
func (s *Stage) Files() driver.Files { return unkept{s} }

type unkept struct{ stage *Stage }

var errUnkept = errors.New("the closure is in no store yet")

func (u unkept) Digest() string { return "sha256:" + string(u.stage.Digest) }

func (u unkept) Manifest(context.Context) (*closure.Manifest, error) {
	return u.stage.Closure.Manifest, nil
}

func (u unkept) Folder(context.Context) (string, error) { return "", errUnkept }

func (u unkept) Pack(context.Context, store.Packing) (store.Packed, error) {
	return store.Packed{}, errUnkept
}
