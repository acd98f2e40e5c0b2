package decode

/*
#include <stdlib.h>
#include "decode.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"strings"
	"unsafe"

	"sightline/pipeline"
	"sightline/sources/libav"
)

// The names of decoders that Options.Decoder takes.
const (
	Auto     = "auto"
	Software = "software"
	V4L2M2M  = "v4l2m2m" // memory-to-memory devices of the Linux kernel, such as the Raspberry Pi 4's
	VAAPI    = "vaapi"   // Intel and AMD graphics
	CUDA     = "cuda"    // NVIDIA graphics
	NVV4L2   = "nvv4l2"  // NVIDIA Jetson
)

// Names returns the names of all decoders in the order in which auto tries them.
func Names() []string { return []string{NVV4L2, CUDA, VAAPI, V4L2M2M, Software} }

// method is one way to decode a codec.
type method struct {
	name    string // one of Names
	decoder string // decoder of libavcodec; empty: the codec's native one
	device  string // device type of libavutil; empty: none
	strict  bool   // asked for by name: never in software instead
	reopens bool   // cannot be flushed, so is opened anew
}

// methods returns the ways that a named decoder stands for, most likely first.
func methods(codec pipeline.Codec, name string) []method {
	native := nativeCodec(codec)
	switch name {
	case Software:
		return []method{{name: name}}
	case VAAPI, CUDA:
		return []method{{name: name, device: name}}
	case V4L2M2M:
		return []method{{name: name, decoder: native + "_v4l2m2m", reopens: true}}
	case NVV4L2:
		return []method{
			{name: name, decoder: native + "_nvv4l2dec", reopens: true},
			{name: name, decoder: native + "_nvmpi", reopens: true},
		}
	}
	return nil
}

// nativeCodec is libavcodec's name of a codec, empty for an unknown one.
func nativeCodec(codec pipeline.Codec) string {
	switch codec {
	case pipeline.H264:
		return "h264"
	case pipeline.H265:
		return "hevc"
	case pipeline.MJPEG:
		return "mjpeg"
	}
	return ""
}

// choose returns the way to decode that the options ask for, proved to work.
func choose(o Options) (method, error) {
	if nativeCodec(o.Codec) == "" {
		return method{}, pipeline.Permanentf("codec %q is unknown (h264, h265 or mjpeg)", o.Codec)
	}
	if o.Decoder == "" || o.Decoder == Auto {
		for _, name := range Names() {
			if m, err := prove(o, name, false); err == nil {
				return m, nil
			}
		}
		return prove(o, Software, false)
	}
	m, err := prove(o, o.Decoder, true)
	if err != nil {
		return m, fmt.Errorf("decoder %q: %w; there is %s", o.Decoder, err, strings.Join(working(o.Codec), ", "))
	}
	return m, nil
}

// prove finds the way to decode that a name stands for and makes sure that it works: hardware, by
// decoding a picture that is known.
func prove(o Options, name string, strict bool) (method, error) {
	ways := methods(o.Codec, name)
	if ways == nil {
		return method{}, pipeline.Permanentf("unknown (%s or %s)", Auto, strings.Join(Names(), ", "))
	}
	var refused error
	for _, m := range ways {
		m.strict = strict
		err := m.exists(o.Codec)
		if err == nil && name != Software {
			err = m.try(o.Codec)
		}
		if err == nil {
			return m, nil
		}
		refused = errors.Join(refused, err)
	}
	return method{}, refused
}

// exists returns an error when this libavcodec was built without what the method needs.
func (m method) exists(codec pipeline.Codec) error {
	native := C.CString(nativeCodec(codec))
	defer C.free(unsafe.Pointer(native))
	part := C.CString(m.decoder + m.device)
	defer C.free(unsafe.Pointer(part))
	switch {
	case m.decoder != "" && C.sl_decoder_exists(part) == 0:
		return fmt.Errorf("libavcodec %s has no decoder %s", libav.Version(), m.decoder)
	case m.device != "" && C.sl_device_serves(native, part) == 0:
		return fmt.Errorf("libavcodec %s does not decode %s by %s", libav.Version(), codec, m.device)
	case m.decoder == "" && C.sl_codec_exists(native) == 0:
		return fmt.Errorf("libavcodec %s has no decoder for %s", libav.Version(), codec)
	}
	return nil
}

func (m method) open(o Options) (*C.sl_decoder, error) {
	options := C.sl_decoder_options{codec: C.CString(nativeCodec(o.Codec)), max_pixels: C.int64_t(o.MaxPixels)}
	defer C.free(unsafe.Pointer(options.codec))
	if m.decoder != "" {
		options.name = C.CString(m.decoder)
		defer C.free(unsafe.Pointer(options.name))
	}
	if m.device != "" {
		options.device = C.CString(m.device)
		defer C.free(unsafe.Pointer(options.device))
	}
	if m.strict {
		options.strict = 1
	}
	options.log = (*C.sl_log)(libav.Log())
	var c *C.sl_decoder
	code := int(C.sl_decoder_open(&c, &options))
	switch {
	case c == nil:
		return nil, errors.New("no memory")
	case code < 0:
		err := &libav.Error{Code: code, Detail: C.GoString(C.sl_decoder_detail(c))}
		C.sl_decoder_close(c)
		return nil, err
	}
	return c, nil
}

// Availability says whether a decoder works on this machine.
type Availability struct {
	Codec   pipeline.Codec
	Decoder string // one of Names
	Err     error  // why it does not; nil when it does
}

// Available tries every decoder with every codec.
func Available() []Availability {
	var all []Availability
	for _, codec := range []pipeline.Codec{pipeline.H264, pipeline.H265, pipeline.MJPEG} {
		for _, name := range Names() {
			_, err := prove(Options{Codec: codec, MaxPixels: defaultMaxPixels}, name, true)
			all = append(all, Availability{Codec: codec, Decoder: name, Err: err})
		}
	}
	return all
}

func working(codec pipeline.Codec) []string {
	var names []string
	for _, a := range Available() {
		if a.Codec == codec && a.Err == nil {
			names = append(names, a.Decoder)
		}
	}
	return names
}

// Version is the version of the libavcodec in use.
func Version() string { return libav.Version() }
