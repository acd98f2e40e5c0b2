// Package picture describes decoded pictures in memory, whatever their pixel format: what a decoder
// hands to the scaler. It is plain Go, so that neither needs the other.
package picture

import (
	"fmt"
	"image"
	"image/color"
	"time"

	"sightline/pipeline"
)

// Model says what the components of a picture mean.
type Model uint8

// The colour models.
const (
	Gray Model = iota // one component: luma
	YUV               // luma, blue difference, red difference
	RGB               // red, green, blue
)

// Matrix is the colour matrix of a YUV picture.
type Matrix string

// The matrices (ITU-T H.273 table 4).
const (
	BT601  Matrix = "bt601"  // standard definition, and JPEG
	BT709  Matrix = "bt709"  // high definition
	BT2020 Matrix = "bt2020" // ultra high definition, non-constant luminance
)

// Component is one component of all pixels. The sample of column x in row y is at
// Data[y×Stride + x×Step]: one byte at a depth of 8 bits, else two in little-endian order. Data may
// be memory of a decoder, and is valid as long as its documentation says.
type Component struct {
	Data   []byte
	Stride int // bytes from row to row, never negative
	Step   int // bytes from sample to sample
}

// Picture is one picture. Components beyond those of the model are unused.
type Picture struct {
	Width, Height int
	Model         Model
	Matrix        Matrix // of YUV
	FullRange     bool   // of YUV and Gray: samples from 0 to 255 instead of 16 to 235 (chroma 240)
	// SubX and SubY are the binary logarithms of how many pixels share a chroma sample across and
	// down; a chroma plane has ⌈Width/2^SubX⌉ by ⌈Height/2^SubY⌉ samples.
	SubX, SubY uint8
	Depth      uint8 // bits a sample, 8 to 16
	Shift      uint8 // bits below the sample in its two bytes; 0 at a depth of 8
	Components [3]Component

	Sequence uint64        // number of the access unit the picture was decoded from
	PTS      time.Duration // presentation time on the stream's own clock
	Captured time.Time     // when the camera took it
	Origin   pipeline.Origin
	Received time.Time // when the last packet of its access unit arrived
	Key      bool      // decoded without any other picture
	Corrupt  bool      // the decoder met damage
	Hidden   bool      // is not to be shown: see pipeline.Unit
	Partial  bool      // what it builds on was not all decoded yet: a stream that refreshes bit by bit begins so
}

// Count is the number of components of the picture's model.
func (p *Picture) Count() int {
	if p.Model == Gray {
		return 1
	}
	return 3
}

// Size returns the width and height of a component in samples.
func (p *Picture) Size(component int) (width, height int) {
	if p.Model != YUV || component == 0 {
		return p.Width, p.Height
	}
	return ceilShift(p.Width, p.SubX), ceilShift(p.Height, p.SubY)
}

func ceilShift(n int, shift uint8) int { return (n + 1<<shift - 1) >> shift }

// Check returns an error unless every sample that the description promises is there.
func (p *Picture) Check() error {
	if p.Width <= 0 || p.Height <= 0 || p.Width > 1<<15 || p.Height > 1<<15 {
		return fmt.Errorf("picture of %d×%d: each side must be between 1 and %d", p.Width, p.Height, 1<<15)
	}
	if p.Model > RGB || p.SubX > 2 || p.SubY > 2 || p.Depth < 8 || p.Depth+p.Shift > 16 || (p.Depth == 8 && p.Shift != 0) {
		return fmt.Errorf("picture of model %d, depth %d, shift %d, subsampling %d,%d: not supported", p.Model, p.Depth, p.Shift, p.SubX, p.SubY)
	}
	bytes := 1
	if p.Depth > 8 {
		bytes = 2
	}
	for i := range p.Count() {
		c := &p.Components[i]
		width, height := p.Size(i)
		if c.Step < bytes || c.Stride < 0 || len(c.Data) < (height-1)*c.Stride+(width-1)*c.Step+bytes {
			return fmt.Errorf("picture of %d×%d: component %d has %d bytes, stride %d, step %d: too few", p.Width, p.Height, i, len(c.Data), c.Stride, c.Step)
		}
	}
	return nil
}

// FromRGB describes packed RGB, 3 bytes a pixel, rows from the top without padding. The picture
// points into rgb.
func FromRGB(rgb []byte, width, height int) (*Picture, error) {
	p := &Picture{Width: width, Height: height, Model: RGB, Depth: 8}
	for i := range p.Components {
		p.Components[i] = Component{Data: rgb[min(i, len(rgb)):], Stride: width * 3, Step: 3}
	}
	return p, p.Check()
}

// FromImage copies an image of the standard library, such as a decoded JPEG, PNG or BMP, into a
// packed RGB picture. Transparency is ignored.
func FromImage(img image.Image) (*Picture, error) {
	b := img.Bounds()
	rgb := make([]byte, 0, b.Dx()*b.Dy()*3)
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			c := color.NRGBAModel.Convert(img.At(x, y)).(color.NRGBA)
			rgb = append(rgb, c.R, c.G, c.B)
		}
	}
	return FromRGB(rgb, b.Dx(), b.Dy())
}
