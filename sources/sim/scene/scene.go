// Package scene renders what a camera above a gate sees: a road with a fence, trees and a house behind it, over which
// people, dogs, bicycles, cars and trucks pass, by day and by night. It also says what is true at every moment.
//
// All of it follows from a seed: the same options give the same timeline, and the same pictures on the same OpenCV.
// The pictures have their origin at the top left; lengths on the ground are metres, lengths in the picture are
// fractions of its height, unless a name says pixels.
package scene

import (
	"fmt"
	"math/rand/v2"
	"time"

	"gocv.io/x/gocv"
)

// Options say which scene, and how large. The zero value is a scene of 640x360 pixels from seed 0.
type Options struct {
	// Seed chooses the place, its colours, and who passes when.
	Seed uint64
	// Width and Height are the size of the pictures in pixels; 640 and 360 where 0.
	Width, Height int
	// Day is the length of a day and a night together; 60 s where 0. It begins in the afternoon.
	Day time.Duration
	// Grain scales the sensor noise; 1 where 0, no noise where negative.
	Grain float64
}

// smallest and largest edge, in pixels, that a scene is drawn at.
const (
	smallestEdge = 32
	largestEdge  = 8192
)

// withDefaults fills what was left zero, and refuses sizes that nothing can be drawn at.
func (o Options) withDefaults() (Options, error) {
	if o.Width == 0 {
		o.Width = 640
	}
	if o.Height == 0 {
		o.Height = 360
	}
	if o.Day == 0 {
		o.Day = time.Minute
	}
	if o.Grain == 0 {
		o.Grain = 1
	}
	if min(o.Width, o.Height) < smallestEdge || max(o.Width, o.Height) > largestEdge {
		return o, fmt.Errorf("scene of %dx%d pixels: each edge must be %d to %d", o.Width, o.Height, smallestEdge, largestEdge)
	}
	if o.Day < 0 {
		return o, fmt.Errorf("scene with a day of %v: must be more than 0", o.Day)
	}
	return o, nil
}

// Scene is one rendered place. Render and Close are for one goroutine; Truth may be called from any, at the same time.
type Scene struct {
	opt      Options
	timeline *timeline
	place    place
	backdrop *backdrop
	grain    *grain
	canvas   gocv.Mat // BGR, the picture while it is drawn
	scratch  gocv.Mat // BGR, same size, for what is blended
}

// New draws the backdrops of the scene, which takes some tens of milliseconds. The caller closes it.
func New(opt Options) (*Scene, error) {
	opt, err := opt.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Scene{
		opt:      opt,
		timeline: newTimeline(opt.Seed, float64(opt.Width)/float64(opt.Height)),
		place:    newPlace(random(opt.Seed, streamPlace)),
		canvas:   gocv.NewMatWithSize(opt.Height, opt.Width, gocv.MatTypeCV8UC3),
		scratch:  gocv.NewMatWithSize(opt.Height, opt.Width, gocv.MatTypeCV8UC3),
	}
	if s.grain, err = newGrain(opt); err != nil {
		return nil, fmt.Errorf("scene of seed %d: grain: %w", opt.Seed, s.undo(err))
	}
	if s.backdrop, err = newBackdrop(opt, s.place, s.grain); err != nil {
		return nil, fmt.Errorf("scene of seed %d: backdrop: %w", opt.Seed, s.undo(err))
	}
	return s, nil
}

// undo closes a scene that did not come up, and hands the cause back.
func (s *Scene) undo(cause error) error {
	_ = s.Close()
	return cause
}

// Close frees the pictures; the scene is not to be used afterwards.
func (s *Scene) Close() error {
	if s.backdrop != nil {
		s.backdrop.close()
	}
	if s.grain != nil {
		s.grain.close()
	}
	return closeAll(&s.canvas, &s.scratch)
}

// Render draws the scene as it is at a time from its beginning into dst, as BGR with 8 bits a channel; dst is made the
// right size when it isn't. A time before 0 shows the beginning.
func (s *Scene) Render(at time.Duration, dst *gocv.Mat) error {
	at = max(at, 0)
	sky := skyAt(at, s.opt.Day)
	if err := s.backdrop.paint(at, sky, &s.canvas, &s.scratch); err != nil {
		return fmt.Errorf("scene at %v: backdrop: %w", at, err)
	}
	seg := s.timeline.segment(at)
	if err := s.paintActor(seg, at, sky); err != nil {
		return fmt.Errorf("scene at %v: %v: %w", at, seg.class, err)
	}
	if err := s.grain.develop(at, sky, &s.canvas, &s.scratch, dst); err != nil {
		return fmt.Errorf("scene at %v: grain: %w", at, err)
	}
	return nil
}

// Truth is what a perfect observer says of a moment.
type Truth struct {
	// Class is the class of the segment that the moment is in, one of Classes.
	Class string
	// Settled is true when the object is wholly in view (for empty: when nothing has just left or is about to come).
	Settled bool
	// Visible is the share of the object's width that is in view, 0 to 1; 0 for empty.
	Visible float64
}

// Truth says what is in view at a time from the beginning.
func (s *Scene) Truth(at time.Duration) Truth {
	return s.timeline.truth(max(at, 0))
}

// Classes lists all classes, in the order of the model's labels.
func Classes() []string {
	names := make([]string, classes)
	for c := range classes {
		names[c] = c.String()
	}
	return names
}

// streams keep the random numbers of one seed apart, so that a change of one part leaves the others as they were.
const (
	streamPlace = iota + 1
	streamGrain
	streamDevelop
	streamTimeline
	streamLandscape
	streamClouds
)

// random gives the generator of one stream of a seed. Seeds that lie close together give unlike numbers.
func random(seed uint64, stream uint64) *rand.Rand {
	return rand.New(rand.NewPCG(scatter(seed+scatter(stream)), scatter(seed^stream)))
}

// scatter is the finishing step of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
func scatter(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// between gives a random number from low to high.
func between(r *rand.Rand, low, high float64) float64 {
	return low + (high-low)*r.Float64()
}

// closeAll closes every picture and gives the first problem.
func closeAll(mats ...*gocv.Mat) error {
	var first error
	for _, m := range mats {
		if m.Ptr() == nil {
			continue
		}
		if err := m.Close(); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// release frees a picture at the end of the function that made it, where a problem with that changes nothing.
func release(m *gocv.Mat) { _ = m.Close() }
