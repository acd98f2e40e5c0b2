package file

/*
#cgo pkg-config: libavcodec libavutil
#cgo CFLAGS: -Wall -Wextra
#cgo linux LDFLAGS: -ldl
#include <stdlib.h>
#include "demux.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"
	"unsafe"

	"sightline/pipeline"
	"sightline/sources/libav"
)

// noTime is a time that the file does not tell.
const noTime = time.Duration(C.SL_NO_TIME)

// demuxer reads the video track of one open file. It is used from one goroutine at a time, but for stop.
type demuxer struct {
	c     *C.sl_demuxer
	codec pipeline.Codec
	extra []byte // parameter sets, in the container's form
	// interval is the time between pictures, as far as the file tells it; 0 when it does not.
	interval time.Duration
}

// packet is one packet of the track. Its bytes are valid until the next call.
type packet struct {
	data               []byte
	pts, dts, duration time.Duration // noTime where the file does not tell
	key                bool          // the container says that decoding can begin here
	damaged            bool          // bytes of it or before it are missing
	hidden             bool          // cut away by an edit list
	extra              []byte        // parameter sets from here on; nil: as before
}

// Usable returns an error when this machine lacks what files need; it says what to install.
func Usable() error {
	if why := C.sl_demux_load(); why != nil {
		return pipeline.Permanentf("files need FFmpeg's %s, which does not load: %s (Debian: install the package libavformat of that version)",
			C.GoString(C.sl_demux_library()), C.GoString(why))
	}
	return nil
}

// newDemuxer returns a demuxer that has nothing open.
func newDemuxer() (*demuxer, error) {
	if err := Usable(); err != nil {
		return nil, err
	}
	c := C.sl_demuxer_new((*C.sl_log)(libav.Log()))
	if c == nil {
		return nil, errors.New("no memory")
	}
	return &demuxer{c: c}, nil
}

// open looks at what is in a file, which stays open until close. Nothing else is opened, whatever the file
// names.
func (d *demuxer) open(f *os.File, name string) error {
	cname := C.CString(name)
	defer C.free(unsafe.Pointer(cname))
	if code := int(C.sl_demuxer_open(d.c, C.int(f.Fd()), cname)); code < 0 {
		return d.explain(code)
	}
	t := C.sl_demuxer_track(d.c)
	switch t.codec {
	case C.SL_H264:
		d.codec = pipeline.H264
	case C.SL_H265:
		d.codec = pipeline.H265
	case C.SL_MJPEG:
		d.codec = pipeline.MJPEG
	default:
		codec := C.GoString(C.sl_demuxer_codec(d.c))
		return pipeline.Permanentf("its video is %s; Sightline reads H.264, H.265 and MJPEG: convert it, such as with ffmpeg -i FILE -c:v libx264 NEW.mp4", codec)
	}
	d.extra = C.GoBytes(unsafe.Pointer(t.extra), C.int(t.extra_size))
	d.interval = time.Duration(t.interval)
	return nil
}

// explain says why a file is not opened.
func (d *demuxer) explain(code int) error {
	container := C.GoString(C.sl_demuxer_container(d.c))
	why := &libav.Error{Code: code, Detail: C.GoString(C.sl_demuxer_detail(d.c))}
	switch {
	case container == "":
		return fmt.Errorf("what it is in was not recognised: %w (Sightline reads %s)", why, containers)
	case C.sl_demuxer_known(d.c) == 0:
		return pipeline.Permanentf("it is in a container of the kind %q; Sightline reads %s", container, containers)
	}
	return fmt.Errorf("%s: %w", container, why)
}

// containers are those that are read, for people.
const containers = "MP4, MOV, Matroska, MPEG-TS, AVI, and H.264, H.265 and JPEG pictures as they are"

// next reads a packet into p; io.EOF at the end of the file.
func (d *demuxer) next(p *packet) error {
	var c C.sl_packet
	if code := int(C.sl_demuxer_next(d.c, &c)); code < 0 {
		if libav.End(code) {
			return io.EOF
		}
		return &libav.Error{Code: code, Detail: C.GoString(C.sl_demuxer_detail(d.c))}
	}
	*p = packet{
		pts: time.Duration(c.pts), dts: time.Duration(c.dts), duration: time.Duration(c.duration),
		key: c.key != 0, damaged: c.damaged != 0, hidden: c.hidden != 0,
	}
	if c.size > 0 {
		p.data = unsafe.Slice((*byte)(c.data), int(c.size))
	}
	if c.extra != nil {
		p.extra = unsafe.Slice((*byte)(c.extra), int(c.extra_size))
	}
	return nil
}

// stop ends the call in progress and those to come, until close. It may be called from any goroutine.
func (d *demuxer) stop() { C.sl_demuxer_stop(d.c) }

func (d *demuxer) close() { C.sl_demuxer_close(d.c) }
