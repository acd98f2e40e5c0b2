package scale

import (
	"fmt"
	"math"

	"sightline/pipeline"
)

// geometry says which part of a picture goes where in the frame, in pixels.
type geometry struct {
	x, y      span // of the source
	left, top int  // of the scaled picture in the frame
	frameW    int
	frameH    int
}

// span is how one side of the source is brought to a side of the frame: low to high are scaled to
// size pixels, of which count from skip on are wanted. Pixels outside of first to end do not count.
type span struct {
	low, high         float64
	first, end        int
	size, skip, count int
}

// arrange applies a wish to one region of a picture of width×height.
func arrange(width, height int, w *pipeline.Wish, r pipeline.Region) (geometry, error) {
	g := geometry{frameW: w.Width, frameH: w.Height}
	if w.Width < 1 || w.Height < 1 || w.Width > maxSide || w.Height > maxSide {
		return g, fmt.Errorf("frame of %d×%d: each side must be between 1 and %d", w.Width, w.Height, maxSide)
	}
	if !(r.Left >= 0 && r.Left < r.Right && r.Right <= 1 && r.Top >= 0 && r.Top < r.Bottom && r.Bottom <= 1) {
		return g, fmt.Errorf("region %q: [%g, %g, %g, %g] is not within the picture", r.Name, r.Left, r.Top, r.Right, r.Bottom)
	}
	g.x, g.y = part(width, r.Left, r.Right), part(height, r.Top, r.Bottom)
	switch w.Resize {
	case pipeline.ResizeStandard, "":
		g.x.whole(w.Width)
		g.y.whole(w.Height)
	case pipeline.ResizeCrop:
		return g, g.cover(w)
	case pipeline.ResizeFit, pipeline.ResizeLetterbox:
		g.fit(w)
	default:
		return g, fmt.Errorf("resize type %q is unknown", w.Resize)
	}
	return g, nil
}

// part is the side of a region; the pixels it cuts through belong to it. Boundaries a rounding error
// away from a pixel's are taken for the pixel's.
func part(size int, low, high float64) span {
	const near = 1e-6
	snap := func(v float64) float64 {
		if r := math.Round(v); math.Abs(v-r) < near {
			return r
		}
		return v
	}
	s := span{low: snap(low * float64(size)), high: snap(high * float64(size))}
	s.first, s.end = int(s.low), int(math.Ceil(s.high))
	return s
}

func (s *span) length() float64 { return s.high - s.low }

func (s *span) whole(size int) { s.size, s.skip, s.count = size, 0, size }

// cover brings the shorter side to the wished one, divided by the crop fraction, and takes the middle;
// sizes and offsets are rounded as torchvision's Resize and CenterCrop do.
func (g *geometry) cover(w *pipeline.Wish) error {
	fraction := w.CropFraction
	if fraction == 0 {
		fraction = 1
	}
	if !(fraction > 0 && fraction <= 1) {
		return fmt.Errorf("crop fraction %g is not above 0 and at most 1", fraction)
	}
	width, height := math.Round(float64(w.Width)/fraction), math.Round(float64(w.Height)/fraction)
	if g.x.length()*height >= g.y.length()*width {
		width = max(width, math.Floor(height*g.x.length()/g.y.length()))
	} else {
		height = max(height, math.Floor(width*g.y.length()/g.x.length()))
	}
	if width > maxScaled || height > maxScaled {
		return fmt.Errorf("crop fraction %g of %d×%d: the picture would become %g×%g", fraction, w.Width, w.Height, width, height)
	}
	g.x.middle(int(width), w.Width)
	g.y.middle(int(height), w.Height)
	return nil
}

func (s *span) middle(size, count int) {
	s.size, s.count = size, count
	s.skip = int(math.RoundToEven(float64(size-count) / 2))
}

// fit brings the longer side to the wished one.
func (g *geometry) fit(w *pipeline.Wish) {
	scale := min(float64(w.Width)/g.x.length(), float64(w.Height)/g.y.length())
	g.x.whole(min(max(int(math.Round(g.x.length()*scale)), 1), w.Width))
	g.y.whole(min(max(int(math.Round(g.y.length()*scale)), 1), w.Height))
	if w.Resize == pipeline.ResizeLetterbox {
		g.left, g.top = (w.Width-g.x.size)/2, (w.Height-g.y.size)/2
	}
}
