package scene

import (
	"fmt"
	"image"
	"math"
	"time"

	"gocv.io/x/gocv"
)

// spare is how many pixels the noise picture is larger than the scene in each direction, so that it can be moved.
const spare = 64

// grain is the noise of the camera's sensor, drawn once and moved from picture to picture.
type grain struct {
	seed  uint64
	share float64
	size  image.Point
	noise gocv.Mat // BGR around 128, larger than the scene by spare
}

// newGrain draws the noise of a scene.
func newGrain(opt Options) (*grain, error) {
	r := random(opt.Seed, streamGrain)
	cols, rows := opt.Width+spare, opt.Height+spare
	data := make([]byte, cols*rows*3)
	for i := 0; i < len(data); i += 3 {
		luma := r.NormFloat64() * 24
		for c := range 3 {
			data[i+c] = uint8(clamp(math.Round(128+luma+r.NormFloat64()*14), 0, 255))
		}
	}
	m, err := gocv.NewMatFromBytes(rows, cols, gocv.MatTypeCV8UC3, data)
	if err != nil {
		return nil, fmt.Errorf("noise of %dx%d pixels: %w", cols, rows, err)
	}
	defer release(&m)
	return &grain{
		seed: opt.Seed, share: max(opt.Grain, 0),
		size: image.Pt(opt.Width, opt.Height), noise: m.Clone(),
	}, nil
}

// close frees the noise.
func (g *grain) close() { _ = g.noise.Close() }

// piece gives a part of the noise of the scene's size; the caller closes it.
func (g *grain) piece(x, y int) gocv.Mat {
	return g.noise.Region(image.Rectangle{Max: g.size}.Add(image.Pt(x, y)))
}

// develop turns the drawn canvas into the camera's picture: lens, exposure and noise, of which the night has more.
func (g *grain) develop(at time.Duration, sky sky, canvas, scratch, dst *gocv.Mat) error {
	if err := gocv.GaussianBlur(*canvas, scratch, image.Pt(3, 3), 0.6, 0.6, gocv.BorderReplicate); err != nil {
		return err
	}
	r := random(g.seed+uint64(at), streamDevelop)
	noise := g.piece(r.IntN(spare), r.IntN(spare))
	defer release(&noise)
	share := g.share * (0.07 + 0.08*(1-sky.day))
	return gocv.AddWeighted(*scratch, sky.gain, noise, share, -128*share, dst)
}

// texture roughens a picture once, as asphalt and leaves do.
func (g *grain) texture(m *gocv.Mat, share float64) error {
	noise := g.piece(0, 0)
	defer release(&noise)
	return gocv.AddWeighted(*m, 1, noise, share, -128*share, m)
}
