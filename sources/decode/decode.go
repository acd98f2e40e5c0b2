// Package decode turns encoded access units into pictures, by libavcodec of FFmpeg 4.4 to 7, in
// software or on hardware.
package decode

/*
#cgo pkg-config: libavcodec libavutil
#include <stdlib.h>
#include "decode.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"unsafe"

	"sightline/pipeline"
	"sightline/sources/libav"
	"sightline/sources/picture"
)

// Options says what is decoded, by what.
type Options struct {
	Codec pipeline.Codec
	// Decoder is one of Names, or auto, the default: the first hardware decoder that decodes a
	// picture correctly on this machine, else software.
	Decoder string
	// MaxPixels refuses larger pictures before memory is taken for them; default 8192×4352, what
	// level 6.2 of H.264 allows.
	MaxPixels int64
}

const (
	defaultMaxPixels = 8192 * 4352
	maxUnit          = 64 << 20 // bytes of an encoded access unit
	maxPictures      = 64       // out of one unit; more means a decoder gone mad
)

// ErrDamaged is returned for a unit that could only be decoded in part.
var ErrDamaged = errors.New("the picture is damaged")

// ErrRefused is returned when a named hardware decoder does not take the stream.
var ErrRefused = errors.New("the device does not take this stream")

// Decoder decodes one stream. It is used from one goroutine at a time.
type Decoder struct {
	options Options
	how     method
	c       *C.sl_decoder
	pending table
	picture picture.Picture
	limit   limit
	harmed  bool // by a damaged unit: see Reset
}

// Open opens a decoder. A named one that does not work here is an error that says why, and what does
// work. Close frees it.
func Open(o Options) (*Decoder, error) {
	if o.MaxPixels == 0 {
		o.MaxPixels = defaultMaxPixels
	}
	if o.Codec == pipeline.YUYV {
		return &Decoder{options: o, how: method{name: asItIs}}, nil
	}
	how, err := choose(o)
	if err != nil {
		return nil, fmt.Errorf("open %s decoder: %w", o.Codec, err)
	}
	d := &Decoder{options: o, how: how, limit: limit{pixels: o.MaxPixels}}
	if err := d.open(); err != nil {
		return nil, fmt.Errorf("open %s decoder: %w", o.Codec, err)
	}
	return d, nil
}

func (d *Decoder) open() error {
	c, err := d.how.open(d.options)
	if err != nil {
		return err
	}
	d.c = c
	return nil
}

// Name says what decodes, such as "h264 (software, libavcodec 59.37.100)". It can change with the
// first picture, when hardware taken by auto refuses the stream.
func (d *Decoder) Name() string {
	how := d.how.name
	if how == asItIs {
		return fmt.Sprintf("%s (%s)", d.options.Codec, how)
	}
	if d.c != nil && how != Software && C.sl_decoder_refused(d.c) != 0 {
		how = "software, refused by " + how
	}
	return fmt.Sprintf("%s (%s, libavcodec %s)", d.options.Codec, how, libav.Version())
}

// Decode decodes one access unit, which has the number sequence, and calls take for each picture that
// comes out: of the unit itself, or of earlier ones where pictures are reordered. The picture and its
// samples are valid during the call of take only.
//
// An error concerns this unit: it gave no picture, or none that is whole (ErrDamaged). The next ones
// can still be decoded, but what builds on this one looks damaged too, and is not told. After
// ErrRefused none can.
//
// What cannot be told: libavcodec does not notice when a slice of H.265 is cut short, or bits in one
// are flipped, and in the other codecs not every flipped bit. Networks notice, and count what they
// lose (pipeline.Unit.Lost).
func (d *Decoder) Decode(unit *pipeline.Unit, sequence uint64, take func(*picture.Picture)) error {
	if d.how.name == asItIs {
		return d.raw(unit, sequence, take)
	}
	if d.c == nil {
		return fmt.Errorf("decode %s unit %d: the decoder is closed", d.options.Codec, sequence)
	}
	err := d.limit.check(unit)
	if err != nil {
		return fmt.Errorf("decode %s unit %d: %w", d.options.Codec, sequence, err)
	}
	size, err := d.fill(unit)
	if err != nil {
		return fmt.Errorf("decode %s unit %d: %w", d.options.Codec, sequence, err)
	}
	tag := d.pending.add(unit, sequence)
	code := int(C.sl_decoder_send(d.c, C.size_t(size), C.int64_t(tag)))
	if libav.Again(code) {
		if err := d.receive(take); err != nil {
			return err
		}
		code = int(C.sl_decoder_send(d.c, C.size_t(size), C.int64_t(tag)))
	}
	failed := d.outcome(code)
	lost := failed != nil && d.pending.forget(tag) // so that its picture does not come out
	err = d.receive(take)
	if failed == nil {
		failed = errors.Join(err, d.outcome(0))
	}
	d.harmed = d.harmed || failed != nil
	if lost || failed != nil && d.pending.forget(tag) {
		return fmt.Errorf("decode %s unit %d: %w", d.options.Codec, sequence, failed)
	}
	return nil
}

// outcome returns what a return code, or what libav said, means for the unit in hand.
func (d *Decoder) outcome(code int) error {
	switch {
	case code < 0:
		return d.wrap(code)
	case C.sl_decoder_damaged(d.c) != 0:
		return fmt.Errorf("%w: %s", ErrDamaged, C.GoString(C.sl_decoder_detail(d.c)))
	}
	return nil
}

// fill copies the unit into libav's input: as a byte stream (Annex B), or a JPEG as it is.
func (d *Decoder) fill(unit *pipeline.Unit) (int, error) {
	const startCode = 4
	size := 0
	for _, n := range unit.NALs {
		size += startCode + len(n)
	}
	if size == 0 || size > maxUnit {
		return 0, fmt.Errorf("%d bytes, want 1 to %d", size, maxUnit)
	}
	input := C.sl_decoder_input(d.c, C.size_t(size))
	if input == nil {
		return 0, fmt.Errorf("no memory for %d bytes", size)
	}
	buffer := unsafe.Slice((*byte)(input), size)
	if d.options.Codec == pipeline.MJPEG {
		return copy(buffer, unit.NALs[0]), nil
	}
	at := 0
	for _, n := range unit.NALs {
		at += copy(buffer[at:], "\x00\x00\x00\x01")
		at += copy(buffer[at:], n)
	}
	return at, nil
}

// receive gives take the pictures that are ready.
func (d *Decoder) receive(take func(*picture.Picture)) error {
	for range maxPictures {
		code := int(C.sl_decoder_receive(d.c))
		switch {
		case libav.Again(code), libav.End(code):
			return nil
		case code < 0:
			return d.wrap(code)
		}
		out := C.sl_decoder_picture(d.c)
		if d.pending.answer(int64(out.tag), &d.picture) {
			describe(out, &d.picture)
			take(&d.picture)
		}
	}
	return fmt.Errorf("more than %d pictures out of one unit", maxPictures)
}

func (d *Decoder) wrap(code int) error {
	switch {
	case C.sl_decoder_refused(d.c) != 0 && d.how.strict:
		return fmt.Errorf("%s: %w", d.how.name, ErrRefused)
	case code == int(C.sl_unsupported_format()):
		return fmt.Errorf("pixel format %s is not supported", C.GoString(C.sl_decoder_format(d.c)))
	}
	return &libav.Error{Code: code, Detail: C.GoString(C.sl_decoder_detail(d.c))}
}

func describe(c *C.sl_picture, p *picture.Picture) {
	p.Width, p.Height = int(c.width), int(c.height)
	p.Model = [...]picture.Model{C.SL_GRAY: picture.Gray, C.SL_YUV: picture.YUV, C.SL_RGB: picture.RGB}[c.model]
	p.Matrix = [...]picture.Matrix{C.SL_BT601: picture.BT601, C.SL_BT709: picture.BT709, C.SL_BT2020: picture.BT2020}[c.matrix]
	p.FullRange = c.full_range != 0
	p.SubX, p.SubY, p.Depth, p.Shift = uint8(c.sub_x), uint8(c.sub_y), uint8(c.depth), uint8(c.shift)
	p.Key, p.Corrupt, p.Partial = c.key != 0, c.corrupt != 0, c.partial != 0
	for i := range p.Count() {
		from := &c.components[i]
		p.Components[i] = picture.Component{
			Data:   unsafe.Slice((*byte)(from.data), int(from.size)),
			Stride: int(from.stride), Step: int(from.step),
		}
	}
}

// Missing returns how many units, since it was last called, turned out to give no picture although
// Decode reported no error: a second field, or a picture the decoder could not or need not make.
// Whether one does is known 32 units later, or at Drain and Reset.
func (d *Decoder) Missing() int { return d.pending.takeMissing() }

// Drain gives take the pictures that are still inside. The next unit must be a keyframe.
func (d *Decoder) Drain(take func(*picture.Picture)) error {
	if d.c == nil {
		return nil
	}
	var err error
	if code := int(C.sl_decoder_end(d.c)); code < 0 && !libav.End(code) {
		err = d.wrap(code)
	} else {
		err = d.receive(take)
	}
	if resetErr := d.Reset(); err == nil {
		err = resetErr
	}
	if err != nil {
		return fmt.Errorf("drain %s decoder: %w", d.options.Codec, err)
	}
	return nil
}

// Reset forgets what is inside. The next unit must be a keyframe.
//
// After damage it opens libavcodec's decoder anew: that of H.264 keeps coefficients of a broken
// macroblock, beyond a flush, and adds them to the next picture without a word.
func (d *Decoder) Reset() error {
	d.pending.clear()
	if d.c == nil {
		return nil
	}
	if !d.how.reopens && !d.harmed {
		C.sl_decoder_reset(d.c)
		return nil
	}
	C.sl_decoder_close(d.c)
	d.c, d.harmed = nil, false
	return d.open()
}

// Close frees the decoder. It may be called again.
func (d *Decoder) Close() error {
	C.sl_decoder_close(d.c)
	d.c = nil
	return nil
}
