package scene

import (
	"image"
	"image/color"
	"math"
	"math/rand/v2"
	"time"
)

// horizon is the height of the eye in the picture; everything on the ground lies below it.
const horizon = 0.42

// perMetre is how large a metre is, in picture heights, on ground that lies at y. The camera hangs 2.6 m high.
func perMetre(y float64) float64 {
	return (y - horizon) / 2.6
}

// actor is an object that crosses the view once.
type actor struct {
	class     class
	ground    float64 // where it touches the ground, in picture heights from the top
	size      float64 // 1 is the usual
	slow      float64 // how much it slows down in the middle, 0 to below 1
	facing    float64 // 1 to the right, -1 to the left
	stride    float64 // phase of the legs at the beginning, in radians
	variant   int
	paint     color.RGBA // of the body or the upper clothes
	second    color.RGBA // of the box or the lower clothes
	skin      color.RGBA
	length    float64 // metres, at size 1
	lampsSeen bool    // whether it carries lights at night
}

// kind is what the actors of a class have in common.
type kind struct {
	near, far  float64 // where on the ground they move
	small, big float64 // sizes
	length     float64 // metres
	lamps      bool
}

// kindOf gives the measures of a class.
func kindOf(c class) kind {
	return [...]kind{
		empty:   {},
		person:  {far: 0.83, near: 0.97, small: 0.92, big: 1.1, length: 0.95},
		bicycle: {far: 0.80, near: 0.96, small: 0.95, big: 1.1, length: 1.8},
		car:     {far: 0.71, near: 0.82, small: 0.95, big: 1.08, length: 4.5, lamps: true},
		truck:   {far: 0.70, near: 0.78, small: 0.95, big: 1.06, length: 7, lamps: true},
		dog:     {far: 0.86, near: 0.975, small: 0.95, big: 1.3, length: 1.2},
	}[c]
}

// newActor draws who comes. It takes the same number of random values whatever the class, which keeps timelines alike.
func newActor(r *rand.Rand, c class) actor {
	k := kindOf(c)
	a := actor{
		class: c, length: k.length, lampsSeen: k.lamps,
		ground: between(r, k.far, k.near), size: between(r, k.small, k.big),
		slow: between(r, 0.5, 0.85), stride: between(r, 0, 2*math.Pi),
		facing: 1, variant: r.IntN(12),
	}
	if r.IntN(2) == 0 {
		a.facing = -1
	}
	a.paint, a.second, a.skin = paints(r), clothes(r), skins(r)
	if c == person || c == bicycle {
		a.paint = clothes(r)
	}
	if c == dog {
		a.paint = furs(r)
	}
	return a
}

// scale is the size of a metre on the actor, in picture heights.
func (a actor) scale() float64 { return perMetre(a.ground) * a.size }

// centre is the actor's middle, in picture heights from the left edge, at a progress of 0 to 1: it comes from outside one
// edge, slows down in the middle, and goes beyond the other.
func (a actor) centre(progress, aspect float64) float64 {
	way := progress + a.slow*math.Sin(2*math.Pi*progress)/(2*math.Pi)
	half := a.length * a.scale() / 2
	if a.facing < 0 {
		way = 1 - way
	}
	return -half + way*(aspect+2*half)
}

// extent is the actor's left and right end, in picture heights from the left edge.
func (a actor) extent(progress, aspect float64) (left, right float64) {
	c := a.centre(progress, aspect)
	half := a.length * a.scale() / 2
	return c - half, c + half
}

// paintActor draws who is in view on the canvas: the shadow, the light of the lamps, and the body.
func (s *Scene) paintActor(seg segment, at time.Duration, sky sky) error {
	a := seg.actor
	aspect := float64(s.opt.Width) / float64(s.opt.Height)
	x := a.centre(seg.progress(at), aspect)
	if seg.class == empty {
		return nil
	}
	high := float64(s.opt.Height)
	b := &brush{
		dst: &s.canvas, unit: a.scale() * high, x: x * high, y: a.ground * high,
		flip: a.facing, tint: sky.on(x, s.place.lamp),
	}
	walked := (x - a.centre(0, aspect)) / a.scale() * a.facing
	b.shade(&s.scratch, shadowOf(a, sky), 0.2+0.35*sky.sun)
	if a.lampsSeen {
		b.shade(&s.scratch, beamOf(a), 0.5*(1-sky.day))
	}
	switch a.class {
	case person:
		paintPerson(b, a, walked)
	case bicycle:
		paintBicycle(b, a, walked)
	case car:
		paintCar(b, a, walked, sky)
	case truck:
		paintTruck(b, a, walked, sky)
	case dog:
		paintDog(b, a, walked)
	}
	return b.err
}

// shadowOf gives the drawing of an actor's shadow: a flat ellipse that the sun pushes aside.
func shadowOf(a actor, sky sky) func(*brush) {
	return func(b *brush) {
		half := a.length / 2
		b.tint = light{}
		b.ellipse(color.RGBA{}, -sky.side*0.25*half*b.flip, 0.02, half*1.02, 0.06+half*0.07)
	}
}

// beamOf gives the drawing of the pool of light that headlamps throw on the road.
func beamOf(a actor) func(*brush) {
	return func(b *brush) {
		b.tint = light{1, 1, 1}
		b.ellipse(color.RGBA{R: 255, G: 240, B: 190}, a.length/2+1.5, 0.05, 1.6, 0.22)
	}
}

// bounds is the part of a picture that a brush may touch when it shades: as far as beams and shadows go.
func (b *brush) bounds() image.Rectangle {
	r := image.Rect(
		int(b.x-6.5*b.unit), int(b.y-1.5*b.unit),
		int(b.x+6.5*b.unit), int(b.y+0.6*b.unit),
	)
	return r.Intersect(image.Rect(0, 0, b.dst.Cols(), b.dst.Rows()))
}
