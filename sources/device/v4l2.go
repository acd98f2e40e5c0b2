package device

import (
	"fmt"
	"unsafe"
)

// The part of V4L2's user interface that is used here (linux/videodev2.h), as it is on 64-bit machines. A
// test compares it with the header.

const (
	queryCap  = 0x80685600
	enumFmt   = 0xc0405602
	getFmt    = 0xc0d05604
	setFmt    = 0xc0d05605
	reqBufs   = 0xc0145608
	queryBuf  = 0xc0585609
	qBuf      = 0xc058560f
	dqBuf     = 0xc0585611
	streamOn  = 0x40045612
	streamOff = 0x40045613
	setParm   = 0xc0cc5616
)

const (
	typeCapture = 1 // V4L2_BUF_TYPE_VIDEO_CAPTURE
	memoryMMAP  = 1
	fieldAny    = 0

	capCapture      = 0x1        // V4L2_CAP_VIDEO_CAPTURE
	capCapturePlane = 0x1000     // V4L2_CAP_VIDEO_CAPTURE_MPLANE
	capStreaming    = 0x04000000 // V4L2_CAP_STREAMING
	capDeviceCaps   = 0x80000000 // V4L2_CAP_DEVICE_CAPS

	flagError     = 0x40
	flagMonotonic = 0x2000
	flagTimestamp = 0xe000
)

// fourCC names a pixel format.
type fourCC uint32

const (
	fmtMJPEG fourCC = 0x47504a4d
	fmtJPEG  fourCC = 0x4745504a
	fmtH264  fourCC = 0x34363248
	fmtYUYV  fourCC = 0x56595559
)

func (f fourCC) String() string {
	b := [4]byte{byte(f), byte(f >> 8), byte(f >> 16), byte(f >> 24)}
	for _, c := range b {
		if c < ' ' || c > '~' {
			return fmt.Sprintf("%#x", uint32(f))
		}
	}
	return string(b[:])
}

type v4l2Capability struct {
	driver       [16]byte
	card         [32]byte
	bus          [32]byte
	version      uint32
	capabilities uint32
	deviceCaps   uint32
	_            [3]uint32
}

type v4l2FmtDesc struct {
	index       uint32
	kind        uint32
	flags       uint32
	description [32]byte
	pixelFormat fourCC
	_           [4]uint32
}

type v4l2PixFormat struct {
	width, height uint32
	pixelFormat   fourCC
	field         uint32
	bytesPerLine  uint32
	sizeImage     uint32
	colorspace    uint32
	priv          uint32
	flags         uint32
	encoding      uint32
	quantization  uint32
	transfer      uint32
}

type v4l2Format struct {
	kind uint32
	_    uint32
	pix  v4l2PixFormat
	_    [200 - unsafe.Sizeof(v4l2PixFormat{})]byte
}

type v4l2RequestBuffers struct {
	count, kind, memory uint32
	_                   [2]uint32
}

type v4l2Buffer struct {
	index     uint32
	kind      uint32
	bytesUsed uint32
	flags     uint32
	field     uint32
	_         uint32
	seconds   int64
	micros    int64
	_         [16]byte // timecode
	sequence  uint32
	memory    uint32
	offset    uint64 // a union; of mapped buffers 32 bits
	length    uint32
	_         [3]uint32
}

type v4l2StreamParm struct {
	kind        uint32
	capability  uint32
	mode        uint32
	numerator   uint32
	denominator uint32
	_           [200 - 16]byte
}

// text returns what a fixed field holds, without what is not print.
func text(b []byte) string {
	var out []byte
	for _, c := range b {
		if c == 0 {
			break
		}
		if c >= ' ' && c <= '~' {
			out = append(out, c)
		}
	}
	return string(out)
}
