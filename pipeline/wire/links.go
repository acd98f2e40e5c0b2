package wire

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/hashicorp/yamux"

	"sightline/pipeline"
)

// Ends are one side's ends of the links of a stage, by their names. They outlive the wire.
type Ends struct {
	FramesIn   map[string]*pipeline.FrameLink // where frames from the other side are put
	FramesOut  map[string]*FrameOutput        // what the other side may ask for
	ResultsIn  map[string]*Inlet              // where messages from the other side are delivered
	ResultsOut map[string]*Outbox             // what is sent to the other side
	// Direct are the frames links, by their names in FramesIn or FramesOut, whose frames go from box
	// to box where they can; of a supervisor only.
	Direct map[string]*Direct
}

// check holds the links of a stage to what its kind may have: nothing but results goes into a publish
// stage, and no stage that sees frames reaches an upstream.
func (l *Links) check(kind Kind, grants int) error {
	var may [5]bool
	switch kind {
	case Capture:
		may = [5]bool{false, true, false, false, true}
	case Classify:
		may = [5]bool{true, false, false, true, false}
	case Publish:
		may = [5]bool{false, false, true, false, true}
	default:
		return fmt.Errorf("a stage of kind %q is not known", kind)
	}
	counts := [5]int{len(l.FramesIn), len(l.FramesOut), len(l.ResultsIn), len(l.ResultsOut), grants}
	for i, what := range [5]string{"frames in", "frames out", "results in", "results out", "grants"} {
		if counts[i] > 0 && !may[i] {
			return fmt.Errorf("a %s stage cannot have %s", kind, what)
		}
	}
	return nil
}

// links are the links as the stage sees them: its in is the supervisor's out.
func (e *Ends) links() Links {
	return Links{FramesIn: names(e.FramesOut), FramesOut: names(e.FramesIn), ResultsIn: names(e.ResultsOut), ResultsOut: names(e.ResultsIn)}
}

// names are sorted, so that the same links make the same configuration.
func names[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// start opens the links that this side opens.
func (s *session) start(e *Ends, clock *Clock) {
	for name, link := range e.FramesIn {
		s.work.Go(func() { s.takeFrames(name, link, clock) })
	}
	for name, box := range e.ResultsOut {
		s.work.Go(func() { s.giveResults(name, box) })
	}
}

// giveResults keeps a results link open to the other side until the session ends.
func (s *session) giveResults(name string, box *Outbox) {
	for s.ctx.Err() == nil {
		stream, err := s.open(opening{kind: streamResults, Link: name, Epoch: box.epoch})
		if err != nil {
			return
		}
		err = box.send(s.ctx, stream)
		stream.Close()
		if breach(err) {
			s.fail(fmt.Errorf("results link %q: %w", name, err))
		}
		sleep(s.ctx, reopenAfter)
	}
}

// takeResults serves a results link that the other side opened.
func (s *session) takeResults(stream *yamux.Stream, o opening, inlets map[string]*Inlet, clock *Clock) error {
	inlet, ok := inlets[o.Link]
	if !ok || o.Epoch == "" {
		return fmt.Errorf("results link %q: %w", o.Link, ErrUnexpected)
	}
	if err := inlet.receive(s.ctx, stream, o.Epoch, clock); breach(err) {
		return fmt.Errorf("results link %q: %w", o.Link, err)
	}
	return nil
}

// breach tells an error that an honest other side never brings about from the end of a stream.
func breach(err error) bool {
	for _, e := range []error{ErrMalformed, ErrTooLarge, ErrUnexpected, ErrFlood} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
