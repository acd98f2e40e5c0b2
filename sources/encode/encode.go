// Package encode makes encoded pictures for the simulated camera, the bench and the tests, by
// libavcodec. No pipeline uses it.
package encode

/*
#cgo pkg-config: libavcodec libavutil
#include <stdlib.h>
#include "encode.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"strings"
	"unsafe"

	"sightline/pipeline"
	"sightline/sources/libav"
	"sightline/sources/nal"
)

// Clock is the rate of presentation times in ticks a second: that of RTP video (RFC 6184 §5.1).
const Clock = 90000

// Options says what to encode. Zero fields take the defaults.
type Options struct {
	Codec  pipeline.Codec // default H264
	Width  int            // even, at least 16
	Height int            // even, at least 16
	FPS    int            // pictures a second, for the rate control; default 25
	// BitRate is in bit/s; 0 leaves the encoder at its constant quality.
	BitRate int
	GOP     int    // pictures from keyframe to keyframe; default 2×FPS. 1 makes every picture a keyframe.
	BFrames int    // bidirectional pictures between two others; they delay the output
	Preset  string // of x264 and x265; default "veryfast"
	// FullRange says that samples go from 0 to 255 instead of 16 to 235. MJPEG is always so.
	FullRange bool
}

// Matrix is the colour matrix that the stream states: BT.709 from 720 lines up, below it and for
// MJPEG BT.601.
func (o Options) Matrix() Matrix {
	if o.Codec == pipeline.MJPEG || o.Height < 720 {
		return BT601
	}
	return BT709
}

// Full tells whether the stream states that samples use the whole range.
func (o Options) Full() bool { return o.FullRange || o.Codec == pipeline.MJPEG }

// Encoder encodes pictures of one size. It is used from one goroutine at a time.
type Encoder struct {
	options Options
	name    string
	c       *C.sl_encoder
	nals    [][]byte
}

// candidates lists the encoders of a codec, best first.
func candidates(codec pipeline.Codec) []string {
	switch codec {
	case pipeline.H264:
		return []string{"libx264", "libopenh264", "h264_v4l2m2m", "h264_nvenc"}
	case pipeline.H265:
		return []string{"libx265", "libkvazaar", "hevc_v4l2m2m", "hevc_nvenc"}
	case pipeline.MJPEG:
		return []string{"mjpeg"}
	}
	return nil
}

// Open opens the first encoder of the codec that works on this machine. Close frees it.
func Open(options Options) (*Encoder, error) {
	options, err := options.complete()
	if err != nil {
		return nil, fmt.Errorf("open encoder: %w", err)
	}
	names := candidates(options.Codec)
	var refused []error
	for _, name := range names {
		c, err := open(name, options)
		if err == nil {
			return &Encoder{options: options, name: name, c: c}, nil
		}
		refused = append(refused, fmt.Errorf("%s: %w", name, err))
	}
	return nil, fmt.Errorf("open %s encoder: none of %s works: %w", options.Codec, strings.Join(names, ", "), errors.Join(refused...))
}

func (o Options) complete() (Options, error) {
	if o.Codec == "" {
		o.Codec = pipeline.H264
	}
	if o.FPS == 0 {
		o.FPS = 25
	}
	if o.GOP == 0 {
		o.GOP = 2 * o.FPS
	}
	if o.Preset == "" {
		o.Preset = "veryfast"
	}
	switch {
	case candidates(o.Codec) == nil:
		return o, fmt.Errorf("codec %q is unknown (h264, h265 or mjpeg)", o.Codec)
	case o.Width < 16 || o.Height < 16 || o.Width > 8192 || o.Height > 8192 || o.Width%2 != 0 || o.Height%2 != 0:
		return o, fmt.Errorf("size %d×%d is not even and between 16 and 8192", o.Width, o.Height)
	case o.FPS < 0 || o.GOP < 0 || o.BFrames < 0 || o.BFrames > 16 || o.BitRate < 0:
		return o, fmt.Errorf("fps %d, gop %d, b-frames %d or bit rate %d is out of range", o.FPS, o.GOP, o.BFrames, o.BitRate)
	}
	return o, nil
}

func open(name string, o Options) (*C.sl_encoder, error) {
	cname, preset := C.CString(name), C.CString(o.Preset)
	defer C.free(unsafe.Pointer(cname))
	defer C.free(unsafe.Pointer(preset))
	var full C.int
	if o.FullRange {
		full = 1
	}
	options := C.sl_encoder_options{
		name: cname, preset: preset, width: C.int(o.Width), height: C.int(o.Height), fps: C.int(o.FPS),
		bit_rate: C.int64_t(o.BitRate), gop: C.int(o.GOP), b_frames: C.int(o.BFrames), full_range: full,
	}
	options.log = (*C.sl_log)(libav.Log())
	options.detail = (*C.char)(C.calloc(1, C.SL_DETAIL))
	defer C.free(unsafe.Pointer(options.detail))
	var c *C.sl_encoder
	if code := C.sl_encoder_open(&c, &options); code < 0 {
		return nil, &libav.Error{Code: int(code), Detail: C.GoString(options.detail)}
	}
	return c, nil
}

// Name is the name of libavcodec's encoder in use, such as "libx264".
func (e *Encoder) Name() string { return e.name }

// Options returns what the encoder was opened with, defaults filled in.
func (e *Encoder) Options() Options { return e.options }

// PictureSize is the number of bytes of one picture given to Encode.
func (o Options) PictureSize() int { return o.Width * o.Height * 3 / 2 }

// Encode encodes one picture: the planes Y, U and V of 4:2:0, packed, PictureSize bytes. pts is its
// presentation time in ticks of Clock and grows from call to call. take is called for every picture
// that comes out (with BFrames some calls give none): its NAL units without start codes, parameter
// sets before every keyframe (of MJPEG one whole JPEG), whether it is a keyframe, and its pts. The
// NAL units are valid during the call of take only. An error of take ends the call and is returned.
func (e *Encoder) Encode(i420 []byte, pts int64, take func(nals [][]byte, key bool, pts int64) error) error {
	if len(i420) != e.options.PictureSize() {
		return fmt.Errorf("encode picture: %d bytes, want %d", len(i420), e.options.PictureSize())
	}
	return e.encode((*C.uint8_t)(&i420[0]), pts, take)
}

// Drain gives take the pictures that are still inside. Nothing can be encoded afterwards.
func (e *Encoder) Drain(take func(nals [][]byte, key bool, pts int64) error) error {
	return e.encode(nil, 0, take)
}

func (e *Encoder) encode(i420 *C.uint8_t, pts int64, take func(nals [][]byte, key bool, pts int64) error) error {
	if e.c == nil {
		return errors.New("encode picture: the encoder is closed")
	}
	if code := C.sl_encoder_send(e.c, i420, C.int64_t(pts)); code < 0 {
		return fmt.Errorf("encode picture: %w", &libav.Error{Code: int(code)})
	}
	for {
		var out C.sl_encoded
		code := int(C.sl_encoder_receive(e.c, &out))
		if libav.Again(code) || libav.End(code) {
			return nil
		}
		if code < 0 {
			return fmt.Errorf("encode picture: %w", &libav.Error{Code: code})
		}
		data := unsafe.Slice((*byte)(out.data), int(out.size))
		if e.options.Codec == pipeline.MJPEG {
			e.nals = append(e.nals[:0], data)
		} else {
			e.nals = nal.Split(data, e.nals[:0])
		}
		if err := take(e.nals, out.key != 0, int64(out.pts)); err != nil {
			return err
		}
	}
}

// Close frees the encoder. It may be called again.
func (e *Encoder) Close() error {
	C.sl_encoder_close(e.c)
	e.c = nil
	return nil
}
