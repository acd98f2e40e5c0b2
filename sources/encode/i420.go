package encode

import (
	"fmt"
	"math"
)

// Matrix is a colour matrix: how RGB becomes luma and chroma.
type Matrix string

// The matrices of ITU-R BT.601 (standard definition, JPEG) and BT.709 (high definition).
const (
	BT601 Matrix = "bt601"
	BT709 Matrix = "bt709"
)

// weights returns the shares of red, green and blue in the luma.
func (m Matrix) weights() (red, green, blue float64) {
	if m == BT709 {
		return 0.2126, 0.7152, 0.0722
	}
	return 0.299, 0.587, 0.114
}

// Converter brings RGB pictures of one size to the planes that Encode takes.
type Converter struct {
	width, height int
	luma          [4]int32 // weights of red, green, blue and an offset, in 1/65536
	cb, cr        [4]int32 // the same for the sum of four pixels
}

// NewConverter returns a converter for what an encoder with these options takes.
func NewConverter(o Options) (*Converter, error) {
	if o.Width <= 0 || o.Height <= 0 || o.Width%2 != 0 || o.Height%2 != 0 {
		return nil, fmt.Errorf("convert pictures of %d×%d: the size is not even", o.Width, o.Height)
	}
	red, green, blue := o.Matrix().weights()
	y, c, black := 219.0/255, 224.0/255, 16.0
	if o.Full() {
		y, c, black = 1, 1, 0
	}
	b, r := c/(2*(1-blue)), c/(2*(1-red))
	return &Converter{
		width: o.Width, height: o.Height,
		luma: fixed(y, black, red, green, blue),
		cb:   fixed(b/4, 128, -red, -green, 1-blue),
		cr:   fixed(r/4, 128, 1-red, -green, -blue),
	}, nil
}

// fixed returns weights and an offset in 1/65536; the offset rounds to nearest.
func fixed(scale, offset float64, weights ...float64) (f [4]int32) {
	for i, w := range weights {
		f[i] = int32(math.Round(w * scale * 65536))
	}
	f[3] = int32(offset*65536) + 32768
	return f
}

// Convert fills i420, PictureSize bytes, from rgb, Width×Height×3 bytes, rows from the top.
func (c *Converter) Convert(i420, rgb []byte) error {
	size := c.width * c.height
	if len(rgb) != size*3 || len(i420) != size*3/2 {
		return fmt.Errorf("convert picture of %d×%d: %d bytes of RGB into %d of I420", c.width, c.height, len(rgb), len(i420))
	}
	luma, cb, cr := i420[:size], i420[size:size+size/4], i420[size+size/4:]
	stride := c.width * 3
	for y := 0; y < c.height; y += 2 {
		above, below := rgb[y*stride:(y+1)*stride], rgb[(y+1)*stride:(y+2)*stride]
		c.lumaRow(luma[y*c.width:], above)
		c.lumaRow(luma[(y+1)*c.width:], below)
		at := y / 2 * (c.width / 2)
		c.chromaRow(cb[at:at+c.width/2], cr[at:at+c.width/2], above, below)
	}
	return nil
}

func (c *Converter) lumaRow(luma, rgb []byte) {
	for x, i := 0, 0; i < len(rgb); x, i = x+1, i+3 {
		luma[x] = weigh(&c.luma, int32(rgb[i]), int32(rgb[i+1]), int32(rgb[i+2]))
	}
}

func (c *Converter) chromaRow(cb, cr, above, below []byte) {
	for x := range cb {
		i := x * 6
		r := int32(above[i]) + int32(above[i+3]) + int32(below[i]) + int32(below[i+3])
		g := int32(above[i+1]) + int32(above[i+4]) + int32(below[i+1]) + int32(below[i+4])
		b := int32(above[i+2]) + int32(above[i+5]) + int32(below[i+2]) + int32(below[i+5])
		cb[x], cr[x] = weigh(&c.cb, r, g, b), weigh(&c.cr, r, g, b)
	}
}

func weigh(w *[4]int32, r, g, b int32) byte {
	return byte(min(max(w[0]*r+w[1]*g+w[2]*b+w[3], 0)>>16, 255))
}
