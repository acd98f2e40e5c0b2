package scene

import (
	"image"
	"image/color"
	"math"

	"gocv.io/x/gocv"
)

// shift is the number of bits behind the point in OpenCV's coordinates: edges move by sixteenths of a pixel.
const shift = 4

// brush draws in metres around a foot point, x forward and y up, in a given light. It keeps the first problem in err and
// draws nothing after it.
type brush struct {
	dst  *gocv.Mat
	unit float64 // pixels per metre
	x, y float64 // the foot point, in pixels
	flip float64 // 1 when forward is right, -1 when it is left
	tint light
	err  error
}

// at gives the pixel of a point, in sixteenths.
func (b *brush) at(x, y float64) image.Point {
	return image.Pt(
		int(math.Round((b.x+b.flip*x*b.unit)*(1<<shift))),
		int(math.Round((b.y-y*b.unit)*(1<<shift))),
	)
}

// keep remembers the first problem.
func (b *brush) keep(err error) {
	if b.err == nil {
		b.err = err
	}
}

// polygon fills a polygon given as x, y, x, y …
func (b *brush) polygon(c color.RGBA, xy ...float64) {
	if b.err != nil {
		return
	}
	points := make([]image.Point, 0, len(xy)/2)
	for i := 0; i+1 < len(xy); i += 2 {
		points = append(points, b.at(xy[i], xy[i+1]))
	}
	v := gocv.NewPointsVectorFromPoints([][]image.Point{points})
	defer v.Close()
	b.keep(gocv.FillPolyWithParams(b.dst, v, b.tint.on(c), gocv.LineAA, shift, image.Point{}))
}

// box fills an upright rectangle from its lower left to its upper right corner.
func (b *brush) box(c color.RGBA, x0, y0, x1, y1 float64) {
	b.polygon(c, x0, y0, x1, y0, x1, y1, x0, y1)
}

// ellipse fills an ellipse with level axes.
func (b *brush) ellipse(c color.RGBA, x, y, rx, ry float64) {
	b.oval(c, x, y, rx, ry, 0)
}

// oval fills an ellipse that is turned, in degrees, forward upwards.
func (b *brush) oval(c color.RGBA, x, y, rx, ry, degrees float64) {
	if b.err != nil {
		return
	}
	axes := image.Pt(int(rx*b.unit*(1<<shift)), int(ry*b.unit*(1<<shift)))
	b.keep(gocv.EllipseWithParams(b.dst, b.at(x, y), axes, -degrees*b.flip, 0, 360, b.tint.on(c), -1, gocv.LineAA, shift))
}

// disc fills a circle.
func (b *brush) disc(c color.RGBA, x, y, r float64) {
	if b.err != nil {
		return
	}
	b.keep(gocv.CircleWithParams(b.dst, b.at(x, y), int(r*b.unit*(1<<shift)), b.tint.on(c), -1, gocv.LineAA, shift))
}

// ring draws a circle of a given width.
func (b *brush) ring(c color.RGBA, x, y, r, width float64) {
	if b.err != nil {
		return
	}
	pixels := max(1, int(math.Round(width*b.unit)))
	b.keep(gocv.CircleWithParams(b.dst, b.at(x, y), int(r*b.unit*(1<<shift)), b.tint.on(c), pixels, gocv.LineAA, shift))
}

// bar fills a straight line of a given width.
func (b *brush) bar(c color.RGBA, x0, y0, x1, y1, width float64) {
	long := math.Hypot(x1-x0, y1-y0)
	if long == 0 {
		return
	}
	dx, dy := -(y1-y0)/long*width/2, (x1-x0)/long*width/2
	b.polygon(c, x0+dx, y0+dy, x1+dx, y1+dy, x1-dx, y1-dy, x0-dx, y0-dy)
}

// limb is a bar with round ends.
func (b *brush) limb(c color.RGBA, x0, y0, x1, y1, width float64) {
	b.bar(c, x0, y0, x1, y1, width)
	b.disc(c, x0, y0, width/2)
	b.disc(c, x1, y1, width/2)
}

// shade blends a drawing into the picture with a share of 0 to 1; scratch has the picture's size.
func (b *brush) shade(scratch *gocv.Mat, draw func(*brush), share float64) {
	r := b.bounds()
	if b.err != nil || r.Empty() || share < 0.02 {
		return
	}
	below, above := b.dst.Region(r), scratch.Region(r)
	defer release(&below)
	defer release(&above)
	b.keep(below.CopyTo(&above))
	over := *b
	over.dst = scratch
	draw(&over)
	b.keep(over.err)
	b.keep(gocv.AddWeighted(below, 1-share, above, share, 0, &below))
}
