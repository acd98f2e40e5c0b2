// Package prepare turns the bytes of a frame into the elements of a model's input. What happens to
// a value depends on nothing but the value and its channel, so it is looked up in a table.
package prepare

import (
	"fmt"
	"math"

	"sightline/models"
)

// Preparer fills one frame's part of an input tensor. It holds only tables and may be used from
// several goroutines.
type Preparer struct {
	pixels, channels int
	planar           bool // channels one after the other (nchw), not interleaved (nhwc)
	float32          [3]*[256]float32
	bits16           [3]*[256]uint16
	bits8            [3]*[256]uint8
}

// New makes the tables for a model. Frames come as Width×Height×3 bytes in the order of colours
// that the model wants; for models of one channel as RGB.
func New(f *models.Fit) (*Preparer, error) {
	p := &Preparer{pixels: f.Width * f.Height, channels: f.Channels, planar: f.Layout == models.NCHW}
	for c := range f.Channels {
		value := formula(f.Card, c)
		switch f.Input.Type {
		case models.Float32:
			p.float32[c] = table(func(x int) float32 { return float32(value(x)) })
		case models.Float16:
			p.bits16[c] = table(func(x int) uint16 { return Half(float32(value(x))) })
		case models.Uint8:
			p.bits8[c] = table(func(x int) uint8 { return uint8(x) })
		case models.Int8:
			p.bits8[c] = table(func(x int) uint8 { return uint8(x - 128) })
		default:
			return nil, fmt.Errorf("prepare input %s: elements of type %s", f.Input.Name, f.Input.Type)
		}
	}
	return p, nil
}

// formula is (x/scale - mean)/std of a channel.
func formula(c *models.Card, channel int) func(x int) float64 {
	scale, mean, std := 1.0, 0.0, 1.0
	if c.Scale != 0 {
		scale = c.Scale
	}
	if c.Mean != nil {
		mean = c.Mean[channel]
	}
	if c.Std != nil {
		std = c.Std[channel]
	}
	return func(x int) float64 { return (float64(x)/scale - mean) / std }
}

func table[T any](value func(x int) T) *[256]T {
	var t [256]T
	for x := range t {
		t[x] = value(x)
	}
	return &t
}

// Elements is the number of elements of one frame.
func (p *Preparer) Elements() int { return p.pixels * p.channels }

// Float32 fills dst, of Elements elements, from a frame's bytes.
func (p *Preparer) Float32(dst []float32, frame []byte) { fill(p, dst, frame, p.float32) }

// Float16 fills dst, of Elements IEEE 754 half-precision numbers, from a frame's bytes.
func (p *Preparer) Float16(dst []uint16, frame []byte) { fill(p, dst, frame, p.bits16) }

// Bytes fills dst, of Elements elements of type uint8 or int8, from a frame's bytes.
func (p *Preparer) Bytes(dst []byte, frame []byte) {
	if !p.planar && p.channels == 3 && p.bits8[0][0] == 0 {
		copy(dst[:p.Elements()], frame)
		return
	}
	fill(p, dst, frame, p.bits8)
}

func fill[T float32 | uint16 | uint8](p *Preparer, dst []T, frame []byte, tables [3]*[256]T) {
	frame, dst = frame[:3*p.pixels], dst[:p.Elements()]
	switch {
	case p.channels == 1:
		luma(dst, frame, tables[0])
	case p.planar:
		planar(dst[:p.pixels], dst[p.pixels:2*p.pixels], dst[2*p.pixels:], frame, tables)
	default:
		interleaved(dst, frame, tables)
	}
}

func planar[T any](a, b, c []T, frame []byte, tables [3]*[256]T) {
	ta, tb, tc := tables[0], tables[1], tables[2]
	b, c = b[:len(a)], c[:len(a)]
	for i := range a {
		if len(frame) < 3 {
			return
		}
		a[i], b[i], c[i] = ta[frame[0]], tb[frame[1]], tc[frame[2]]
		frame = frame[3:]
	}
}

func interleaved[T any](dst []T, frame []byte, tables [3]*[256]T) {
	ta, tb, tc := tables[0], tables[1], tables[2]
	for len(frame) >= 3 && len(dst) >= 3 {
		dst[0], dst[1], dst[2] = ta[frame[0]], tb[frame[1]], tc[frame[2]]
		frame, dst = frame[3:], dst[3:]
	}
}

// luma weighs red, green and blue as ITU-R BT.601 does, in 1/65536, rounded.
func luma[T any](dst []T, frame []byte, t *[256]T) {
	for i := range dst {
		if len(frame) < 3 {
			return
		}
		y := 19595*uint32(frame[0]) + 38470*uint32(frame[1]) + 7471*uint32(frame[2])
		dst[i] = t[uint8((y+1<<15)>>16)]
		frame = frame[3:]
	}
}

// Half converts to IEEE 754 half precision, rounding to nearest, ties to even. What is too large
// becomes infinite.
func Half(f float32) uint16 {
	bits := math.Float32bits(f)
	sign := uint16(bits >> 16 & 0x8000)
	exponent, mantissa := int(bits>>23&0xff)-127, bits&0x7fffff
	switch {
	case exponent == 128 && mantissa != 0:
		return sign | 0x7e00
	case exponent > 15:
		return sign | 0x7c00
	case exponent >= -14:
		return sign + uint16(round(uint32(exponent+15)<<23|mantissa, 13))
	case exponent >= -25:
		return sign + uint16(round(mantissa|0x800000, uint(-exponent-1)))
	}
	return sign
}

// round shifts right by n bits, to nearest, ties to even.
func round(v uint32, n uint) uint32 {
	return (v + 1<<(n-1) - 1 + v>>n&1) >> n
}

// Single converts from IEEE 754 half precision; every one has an exact float32.
func Single(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	exponent, mantissa := uint32(h>>10&0x1f), uint32(h&0x3ff)
	switch exponent {
	case 0x1f:
		return math.Float32frombits(sign | 0xff<<23 | mantissa<<13)
	case 0:
		value := float32(mantissa) / (1 << 24)
		return math.Float32frombits(sign | math.Float32bits(value))
	}
	return math.Float32frombits(sign | (exponent+112)<<23 | mantissa<<13)
}
