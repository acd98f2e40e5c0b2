package pipeline

import (
	"sync"
	"sync/atomic"
	"time"
)

// Codec names how a Unit is encoded.
type Codec string

// The codecs that sources deliver.
const (
	H264  Codec = "h264"
	H265  Codec = "h265"
	MJPEG Codec = "mjpeg"
	// YUYV is one picture as it is: packed YUV 4:2:2 of 8 bits (Y Cb Y Cr), of limited range, rows from
	// the top. The Unit says its size.
	YUYV Codec = "yuyv"
)

// Origin says where a capture time comes from.
type Origin string

// The origins of capture times.
const (
	OriginSenderReport Origin = "rtcp-sr" // the camera's clock, by RTCP sender reports (RFC 3550 §6.4.1)
	OriginArrival      Origin = "arrival" // the host's clock when the first packet of the picture arrived
)

// Unit is one access unit: the encoded bytes of one picture.
type Unit struct {
	Codec Codec
	// NALs holds the units of H.264 and H.265 without start codes; of MJPEG and YUYV, one whole picture.
	// Parameter sets come in-band, at least before every keyframe.
	NALs     [][]byte
	Keyframe bool          // decodable without any earlier unit
	PTS      time.Duration // presentation time on the stream's own clock
	Captured time.Time     // when the camera took the picture
	Origin   Origin        // where Captured comes from
	Received time.Time     // when its last packet arrived, host clock with monotonic reading
	Lost     uint64        // packets known lost since the unit before; the picture may be damaged
	// Width and Height are pixels and Stride bytes from row to row, of YUYV.
	Width, Height, Stride int
	Hidden                bool // decoded for the sake of others, and not shown: a file's edit list cuts it away
}

// Color is the order of the three bytes of a pixel.
type Color string

// The colour orders.
const (
	RGB Color = "rgb"
	BGR Color = "bgr"
)

// ResizeType says how a picture is brought to the wished size, in the words of OpenVINO model_info.
type ResizeType string

// The resize types. All filter with a triangle as wide as the scale (antialiased bilinear, as
// torchvision's Resize(antialias=True) and PIL's BILINEAR do).
const (
	ResizeStandard  ResizeType = "standard"                // stretch to the size
	ResizeCrop      ResizeType = "crop"                    // shorter side to the size, then the centre
	ResizeFit       ResizeType = "fit_to_window"           // longer side to the size, padded right and below
	ResizeLetterbox ResizeType = "fit_to_window_letterbox" // longer side to the size, padded evenly
)

// Region is a named part of the picture. Coordinates are fractions of its width and height,
// 0 ≤ Left < Right ≤ 1 and 0 ≤ Top < Bottom ≤ 1.
type Region struct {
	Name                     string
	Left, Top, Right, Bottom float64
}

// Whole is the region that is the whole picture; its name is empty.
var Whole = Region{Right: 1, Bottom: 1}

// Wish is what a consumer of frames asks of their producer when the link opens.
type Wish struct {
	Width, Height int        // pixels of the frame
	Color         Color      // order of the bytes of a pixel
	Resize        ResizeType // how the picture is brought to that size
	// CropFraction applies to ResizeCrop: the size taken from the middle divided by the size that
	// the shorter side is first brought to (224/256 = 0.875 is torchvision's habit). 0 means 1.
	CropFraction float64
	Pad          uint8    // value of every byte outside the picture for the fit_ types
	Regions      []Region // parts to deliver, each as a frame of its own; empty means Whole
}

// Times are the moments in the life of a frame, on the host's clock but for Captured, which is the
// camera's when Origin is OriginSenderReport.
type Times struct {
	Captured time.Time
	Origin   Origin
	Received time.Time // last packet of the access unit
	Decoded  time.Time // decoded and scaled
}

// Frame is one decoded picture, cropped and scaled to what its consumer asked for.
//
// Data holds Height×Width×3 bytes, rows from the top, no padding between them. It belongs to a pool:
// whoever holds a frame calls Release once and does not touch it afterwards.
type Frame struct {
	Source   string // name of the source
	Region   string // name of the region, empty for the whole picture
	Sequence uint64 // number of the picture in its source, counted from 1 when capture started
	Width    int
	Height   int
	Color    Color
	Data     []byte
	Times    Times
	Deadline time.Time // after it the frame is stale; zero: never
	Dropped  uint64    // pictures of the source dropped since the frame before this one on the link

	refs atomic.Int32
	pool *FramePool
}

// Retain adds a holder; each holder calls Release once.
func (f *Frame) Retain() { f.refs.Add(1) }

// Release gives up the caller's hold; the last one returns the frame to its pool.
func (f *Frame) Release() {
	n := f.refs.Add(-1)
	switch {
	case n < 0:
		panic("pipeline: frame released more often than retained")
	case n == 0 && f.pool != nil:
		f.pool.frames.Put(f)
	}
}

// FramePool hands out frames and takes them back. The zero value is ready.
type FramePool struct{ frames sync.Pool }

// New returns a frame of the given size, held once, whose Data has the right length and any content.
func (p *FramePool) New(width, height int) *Frame {
	f, ok := p.frames.Get().(*Frame)
	if !ok {
		f = &Frame{}
	}
	data, size := f.Data, width*height*3
	if cap(data) < size {
		data = make([]byte, size)
	}
	f.Source, f.Region, f.Sequence, f.Dropped = "", "", 0, 0
	f.Times, f.Deadline = Times{}, time.Time{}
	f.Width, f.Height, f.Data, f.pool = width, height, data[:size], p
	f.refs.Store(1)
	return f
}
