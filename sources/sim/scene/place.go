package scene

import (
	"image/color"
	"math"
	"math/rand/v2"
	"time"

	"gocv.io/x/gocv"
)

// place is what makes one scene's surroundings differ from another's. Positions are picture heights from the top left.
type place struct {
	sky, grass, road, paving, fence color.RGBA
	wall, roof                      color.RGBA
	house                           float64 // left end of the house
	eaves                           float64 // where its roof begins
	gate                            float64 // middle of the gate
	lamp, lampTop                   float64
	hills                           float64 // phase
	trees                           []tree
	cloudiness                      int
	wind                            float64 // of the clouds, per second
	planks                          bool    // whether the fence is of planks, else of rails
}

// tree is one that the wind moves.
type tree struct {
	x, foot, height, phase float64
	leaf                   color.RGBA
	blobs                  []blob
}

// blob is a part of a crown, in tree heights from its middle.
type blob struct{ x, y, r, shade float64 }

// newPlace draws the surroundings.
func newPlace(r *rand.Rand) place {
	p := place{
		sky:        pick(r, color.RGBA{R: 110, G: 160, B: 220}, color.RGBA{R: 140, G: 176, B: 214}, color.RGBA{R: 156, G: 170, B: 186}),
		grass:      pick(r, color.RGBA{R: 112, G: 142, B: 72}, color.RGBA{R: 140, G: 146, B: 84}, color.RGBA{R: 92, G: 130, B: 78}),
		road:       pick(r, color.RGBA{R: 96, G: 98, B: 102}, color.RGBA{R: 118, G: 114, B: 110}, color.RGBA{R: 82, G: 84, B: 90}),
		paving:     pick(r, color.RGBA{R: 168, G: 160, B: 148}, color.RGBA{R: 150, G: 150, B: 150}, color.RGBA{R: 176, G: 150, B: 128}),
		fence:      pick(r, color.RGBA{R: 124, G: 88, B: 58}, color.RGBA{R: 210, G: 206, B: 196}, color.RGBA{R: 70, G: 84, B: 72}),
		wall:       pick(r, color.RGBA{R: 214, G: 196, B: 166}, color.RGBA{R: 190, G: 120, B: 96}, color.RGBA{R: 226, G: 224, B: 216}),
		roof:       pick(r, color.RGBA{R: 134, G: 62, B: 48}, color.RGBA{R: 74, G: 76, B: 84}),
		house:      between(r, 0.05, 1.2),
		eaves:      between(r, 0.30, 0.34),
		gate:       between(r, 0.3, 1.45),
		lamp:       between(r, 0.2, 1.55),
		lampTop:    between(r, 0.18, 0.24),
		hills:      between(r, 0, 2*math.Pi),
		cloudiness: 2 + r.IntN(7),
		wind:       between(r, 0.01, 0.05),
		planks:     r.IntN(2) == 0,
	}
	for range 2 + r.IntN(3) {
		p.trees = append(p.trees, newTree(r))
	}
	return p
}

// newTree draws a tree that stands behind the fence.
func newTree(r *rand.Rand) tree {
	t := tree{
		x: between(r, 0, 1.78), foot: between(r, 0.52, 0.58), height: between(r, 0.26, 0.42), phase: between(r, 0, 6),
		leaf: pick(r, color.RGBA{R: 62, G: 104, B: 52}, color.RGBA{R: 88, G: 118, B: 56}, color.RGBA{R: 52, G: 86, B: 62}),
	}
	for range 9 {
		t.blobs = append(t.blobs, blob{
			x: between(r, -0.24, 0.24), y: between(r, -0.2, 0.2),
			r: between(r, 0.12, 0.2), shade: between(r, 0.75, 1.15),
		})
	}
	return t
}

// windows are the left ends of the house's windows.
func (p place) windows() []float64 {
	return []float64{p.house + 0.05, p.house + 0.15, p.house + 0.31}
}

// newBrush draws in a picture's own directions, y down, with so many pixels to a unit.
func newBrush(dst *gocv.Mat, pixels float64, tint light) *canvasBrush {
	return &canvasBrush{brush{dst: dst, unit: pixels, flip: 1, tint: tint}}
}

// newCanvasBrush draws in picture heights.
func newCanvasBrush(dst *gocv.Mat, tint light) *canvasBrush {
	return newBrush(dst, float64(dst.Rows()), tint)
}

// canvasBrush draws with y down from the top left, where brush draws with y up from a foot point.
type canvasBrush struct{ brush }

func (w *canvasBrush) polygon(c color.RGBA, xy ...float64) {
	for i := 1; i < len(xy); i += 2 {
		xy[i] = -xy[i]
	}
	w.brush.polygon(c, xy...)
}

func (w *canvasBrush) box(c color.RGBA, x0, y0, x1, y1 float64) { w.brush.box(c, x0, -y0, x1, -y1) }
func (w *canvasBrush) disc(c color.RGBA, x, y, r float64)       { w.brush.disc(c, x, -y, r) }
func (w *canvasBrush) ellipse(c color.RGBA, x, y, rx, ry float64) {
	w.brush.ellipse(c, x, -y, rx, ry)
}

// paintLand draws everything on the ground that does not move, from far to near.
func paintLand(w *canvasBrush, p place, r *rand.Rand) {
	wide := float64(w.dst.Cols()) / w.unit
	paintHills(w, p, wide)
	paintHedge(w, p, r, wide)
	w.box(p.grass, 0, 0.46, wide, 0.64)
	paintHouse(w, p)
	for _, t := range p.trees {
		w.box(color.RGBA{R: 84, G: 62, B: 44}, t.x-0.012, t.foot-t.height*0.5, t.x+0.012, t.foot)
	}
	paintDrive(w, p)
	paintFence(w, p, wide)
	paintRoad(w, p, r, wide)
	paintLamp(w, p)
}

// paintHills draws the far line of hills.
func paintHills(w *canvasBrush, p place, wide float64) {
	xy := []float64{wide, 0.5, 0, 0.5}
	for i := range 41 {
		x := wide * float64(i) / 40
		xy = append(xy, x, 0.385+0.022*math.Sin(3.1*x+p.hills)+0.012*math.Sin(7.7*x+2*p.hills))
	}
	w.polygon(color.RGBA{R: 128, G: 148, B: 150}, xy...)
}

// paintHedge draws a row of bushes at the end of the meadow.
func paintHedge(w *canvasBrush, p place, r *rand.Rand, wide float64) {
	dark := mix(p.grass, color.RGBA{R: 30, G: 52, B: 36}, 0.6)
	for x := 0.0; x < wide+0.05; x += between(r, 0.03, 0.06) {
		size := between(r, 0.02, 0.045)
		w.ellipse(mix(dark, p.grass, between(r, 0, 0.4)), x, 0.455, size*1.3, size)
	}
}

// paintHouse draws a house with windows and a roof.
func paintHouse(w *canvasBrush, p place) {
	x, wide := p.house, 0.42
	w.box(p.wall, x, p.eaves, x+wide, 0.53)
	w.box(mix(p.wall, color.RGBA{}, 0.18), x+wide*0.78, p.eaves, x+wide, 0.53)
	w.polygon(p.roof, x-0.03, p.eaves, x+0.07, p.eaves-0.13, x+wide-0.07, p.eaves-0.13, x+wide+0.03, p.eaves)
	w.box(mix(p.roof, color.RGBA{}, 0.3), x+0.3, p.eaves-0.17, x+0.335, p.eaves-0.09)
	for _, left := range p.windows() {
		w.box(color.RGBA{R: 236, G: 236, B: 230}, left-0.006, p.eaves+0.024, left+0.056, p.eaves+0.096)
		w.box(color.RGBA{R: 70, G: 88, B: 104}, left, p.eaves+0.03, left+0.05, p.eaves+0.09)
	}
	w.box(mix(p.roof, p.wall, 0.2), x+0.225, p.eaves+0.06, x+0.28, 0.53)
}

// paintDrive draws the way from the gate to the back.
func paintDrive(w *canvasBrush, p place) {
	c := mix(p.paving, p.grass, 0.2)
	w.polygon(c, p.gate-0.16, 0.64, p.gate-0.05, 0.48, p.gate+0.02, 0.48, p.gate+0.16, 0.64)
}

// paintFence draws the fence on both sides of the gate, its pillars and its open wings.
func paintFence(w *canvasBrush, p place, wide float64) {
	const top, foot, half = 0.545, 0.625, 0.17
	dark := mix(p.fence, color.RGBA{}, 0.35)
	step := 0.028
	if !p.planks {
		step = 0.11
	}
	for x := 0.0; x < wide; x += step {
		if math.Abs(x-p.gate) > half {
			w.box(mix(p.fence, dark, 0.5*float64(int(x/step)%2)), x, top, x+0.018, foot)
		}
	}
	for _, y := range []float64{top + 0.012, foot - 0.03} {
		w.box(dark, 0, y, math.Max(0, p.gate-half), y+0.009)
		w.box(dark, p.gate+half, y, wide, y+0.009)
	}
	for _, x := range []float64{p.gate - half, p.gate + half} {
		w.box(color.RGBA{R: 168, G: 158, B: 150}, x-0.02, top-0.035, x+0.02, foot+0.005)
		w.box(color.RGBA{R: 120, G: 112, B: 106}, x-0.026, top-0.045, x+0.026, top-0.03)
	}
}

// paintRoad draws the far kerb, the road with its line, and the near pavement.
func paintRoad(w *canvasBrush, p place, r *rand.Rand, wide float64) {
	w.box(mix(p.paving, color.RGBA{}, 0.1), 0, 0.625, wide, 0.665)
	w.box(color.RGBA{R: 190, G: 188, B: 182}, 0, 0.665, wide, 0.672)
	w.box(p.road, 0, 0.672, wide, 0.84)
	for range 14 {
		x, y := between(r, 0, wide), between(r, 0.69, 0.83)
		w.ellipse(mix(p.road, color.RGBA{}, between(r, 0.02, 0.16)), x, y, between(r, 0.03, 0.16), between(r, 0.004, 0.012))
	}
	for x := between(r, -0.2, 0); x < wide; x += 0.26 {
		w.box(color.RGBA{R: 214, G: 212, B: 200}, x, 0.742, x+0.13, 0.75)
	}
	w.box(color.RGBA{R: 196, G: 194, B: 188}, 0, 0.84, wide, 0.852)
	w.box(p.paving, 0, 0.852, wide, 1.01)
	joint := mix(p.paving, color.RGBA{}, 0.14)
	for _, y := range []float64{0.89, 0.945} {
		w.box(joint, 0, y, wide, y+0.003)
	}
	for x := -0.6; x < wide+0.6; x += 0.14 {
		far, near := x, wide/2+(x-wide/2)*1.36
		w.polygon(joint, far, 0.852, far+0.003, 0.852, near+0.004, 1.01, near, 1.01)
	}
}

// paintLamp draws the street lamp behind the road.
func paintLamp(w *canvasBrush, p place) {
	c := color.RGBA{R: 80, G: 84, B: 88}
	w.box(c, p.lamp-0.006, p.lampTop, p.lamp+0.006, 0.66)
	w.box(c, p.lamp-0.03, p.lampTop-0.014, p.lamp+0.03, p.lampTop)
}

// paintLeaves draws the crowns of the trees, which the wind moves.
func paintLeaves(w *canvasBrush, p place, at time.Duration) {
	for _, t := range p.trees {
		sway := 0.018 * math.Sin(1.7*at.Seconds()+t.phase)
		for i, b := range t.blobs {
			flutter := 0.008 * math.Sin(4.1*at.Seconds()+t.phase+float64(i))
			c := light{b.shade, b.shade, b.shade}.on(t.leaf)
			x := t.x + (b.x+sway*(1-b.y)+flutter)*t.height
			y := t.foot - t.height*0.68 + (b.y+flutter)*t.height
			w.disc(c, x, y, b.r*t.height)
		}
	}
}
