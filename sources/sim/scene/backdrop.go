package scene

import (
	"image"
	"image/color"
	"math"
	"time"

	"gocv.io/x/gocv"
)

// backdrop is all that does not pass: painted once in three lights, and mixed for each picture. Sun, moon and clouds
// move behind it, leaves in front of it.
type backdrop struct {
	place  place
	size   image.Point
	lights [3]gocv.Mat // by night, at dusk, by day
	clouds gocv.Mat    // BGR, twice as wide as the picture and periodic, as high as the sky
	free   gocv.Mat    // one channel, as high as the sky: 255 where the sky is seen
}

// skyline is the part of the height that the sky may fill.
const skyline = horizon + 0.02

// newBackdrop paints a place. The caller closes it.
func newBackdrop(opt Options, p place, g *grain) (*backdrop, error) {
	b := &backdrop{place: p, size: image.Pt(opt.Width, opt.Height)}
	for i, tint := range []light{nightLight(), duskLight(), dayLight()} {
		b.lights[i] = gocv.NewMatWithSize(opt.Height, opt.Width, gocv.MatTypeCV8UC3)
		if err := b.paintLight(opt, &b.lights[i], i, tint); err != nil {
			b.close()
			return nil, err
		}
		if err := g.texture(&b.lights[i], 0.10*tint.g); err != nil {
			b.close()
			return nil, err
		}
	}
	if err := b.paintMask(opt); err != nil {
		b.close()
		return nil, err
	}
	if err := b.paintClouds(opt); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

// close frees the pictures.
func (b *backdrop) close() {
	_ = closeAll(&b.lights[0], &b.lights[1], &b.lights[2], &b.clouds, &b.free)
}

// paintLight paints the place in one of its lights: the sky, the land, and by night the lamps.
func (b *backdrop) paintLight(opt Options, dst *gocv.Mat, which int, tint light) error {
	if err := b.paintSky(dst, which); err != nil {
		return err
	}
	w := newCanvasBrush(dst, tint)
	paintLand(w, b.place, random(opt.Seed, streamLandscape))
	if w.err != nil {
		return w.err
	}
	if which == 2 {
		return nil
	}
	return b.paintGlow(dst, []float64{0.34, 0.2}[which])
}

// paintSky paints the gradient of the sky, darker above.
func (b *backdrop) paintSky(dst *gocv.Mat, which int) error {
	above := []color.RGBA{{R: 8, G: 12, B: 30}, {R: 70, G: 76, B: 120}, b.place.sky}[which]
	below := []color.RGBA{{R: 26, G: 34, B: 62}, {R: 240, G: 150, B: 100}, {R: 214, G: 228, B: 238}}[which]
	rows := b.size.Y
	for y := range rows {
		c := mix(above, below, math.Min(1, float64(y)/(horizon*float64(rows))))
		if err := gocv.Rectangle(dst, image.Rect(0, y, b.size.X, y+1), c, -1); err != nil {
			return err
		}
	}
	return nil
}

// paintGlow adds the cone of the street lamp and the light in the windows.
func (b *backdrop) paintGlow(dst *gocv.Mat, share float64) error {
	glow := gocv.NewMatWithSize(b.size.Y, b.size.X, gocv.MatTypeCV8UC3)
	defer release(&glow)
	w := newCanvasBrush(&glow, light{1, 1, 1})
	warm := color.RGBA{R: 255, G: 214, B: 140}
	p := b.place
	w.polygon(warm, p.lamp-0.02, p.lampTop, p.lamp+0.02, p.lampTop, p.lamp+0.28, 0.86, p.lamp-0.28, 0.86)
	w.ellipse(warm, p.lamp, 0.86, 0.28, 0.05)
	w.disc(warm, p.lamp, p.lampTop, 0.035)
	for _, x := range p.windows() {
		w.box(warm, x, p.eaves+0.03, x+0.05, p.eaves+0.09)
	}
	if w.err != nil {
		return w.err
	}
	odd := int(float64(b.size.Y)*0.03)*2 + 1
	if err := gocv.GaussianBlur(glow, &glow, image.Pt(odd, odd), 0, 0, gocv.BorderReplicate); err != nil {
		return err
	}
	return gocv.AddWeighted(*dst, 1, glow, share, 0, dst)
}

// paintMask finds where the sky is seen: white that no land covers.
func (b *backdrop) paintMask(opt Options) error {
	whole := gocv.NewMatWithSize(opt.Height, opt.Width, gocv.MatTypeCV8UC1)
	defer release(&whole)
	whole.SetTo(gocv.NewScalar(255, 0, 0, 0))
	w := newCanvasBrush(&whole, light{})
	paintLand(w, b.place, random(opt.Seed, streamLandscape))
	if w.err != nil {
		return w.err
	}
	part := whole.Region(b.skyRect(0))
	defer release(&part)
	b.free = part.Clone()
	return nil
}

// skyRect is the part of a picture where the sky may be, moved to the right.
func (b *backdrop) skyRect(right int) image.Rectangle {
	return image.Rect(right, 0, right+b.size.X, int(skyline*float64(b.size.Y)))
}

// paintClouds draws soft heaps, each twice, one picture width apart.
func (b *backdrop) paintClouds(opt Options) error {
	r := random(opt.Seed, streamClouds)
	b.clouds = gocv.NewMatWithSize(b.skyRect(0).Dy(), 2*b.size.X, gocv.MatTypeCV8UC3)
	b.clouds.SetTo(gocv.NewScalar(0, 0, 0, 0))
	w := newBrush(&b.clouds, float64(b.size.Y), light{1, 1, 1})
	aspect := float64(b.size.X) / float64(b.size.Y)
	white := color.RGBA{R: 255, G: 255, B: 255}
	for range b.place.cloudiness {
		x, y := between(r, 0, aspect), between(r, 0.08, 0.3)
		for range 5 {
			dx, dy := between(r, -0.12, 0.12), between(r, -0.02, 0.02)
			rx, ry := between(r, 0.06, 0.13), between(r, 0.018, 0.04)
			for _, at := range []float64{x + dx - aspect, x + dx, x + dx + aspect} {
				w.ellipse(white, at, y+dy, rx, ry)
			}
		}
	}
	if w.err != nil {
		return w.err
	}
	odd := int(float64(b.size.Y)*0.02)*2 + 1
	return gocv.GaussianBlur(b.clouds, &b.clouds, image.Pt(odd, odd), 0, 0, gocv.BorderReplicate)
}

// paint mixes the backdrop of a moment into dst, which has the picture's size, as scratch has.
func (b *backdrop) paint(at time.Duration, s sky, dst, scratch *gocv.Mat) error {
	low, share := 0, s.day*2
	if s.day >= 0.5 {
		low, share = 1, s.day*2-1
	}
	if err := gocv.AddWeighted(b.lights[low], 1-share, b.lights[low+1], share, 0, dst); err != nil {
		return err
	}
	if err := b.paintHeaven(at, s, dst, scratch); err != nil {
		return err
	}
	w := newCanvasBrush(dst, s.ambient())
	paintLeaves(w, b.place, at)
	return w.err
}

// paintHeaven draws sun or moon and the clouds where the sky is seen.
func (b *backdrop) paintHeaven(at time.Duration, s sky, dst, scratch *gocv.Mat) error {
	aspect := float64(b.size.X) / float64(b.size.Y)
	seen, work := dst.Region(b.skyRect(0)), scratch.Region(b.skyRect(0))
	defer release(&seen)
	defer release(&work)
	if err := seen.CopyTo(&work); err != nil {
		return err
	}
	w := newBrush(&work, float64(b.size.Y), light{1, 1, 1})
	disc := mix(color.RGBA{R: 226, G: 230, B: 240}, color.RGBA{R: 255, G: 246, B: 200}, s.day)
	w.disc(disc, s.turn*aspect, 0.40-0.28*math.Sin(math.Pi*s.turn), 0.032)
	if w.err != nil {
		return w.err
	}
	along := int(b.place.wind*at.Seconds()*float64(b.size.Y)) % b.size.X
	moved := b.clouds.Region(b.skyRect(along))
	defer release(&moved)
	if err := gocv.AddWeighted(work, 1, moved, 0.06+0.5*s.day, 0, &work); err != nil {
		return err
	}
	return work.CopyToWithMask(&seen, b.free)
}
