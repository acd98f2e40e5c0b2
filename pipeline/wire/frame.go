package wire

import (
	"encoding/binary"
	"fmt"
	"time"

	"sightline/pipeline"
)

// The head of a frame, before the names of source and region and the pixels:
//
//	0 mark  1 color  2 origin  3 bits of the times that are set
//	4 width (2)  6 height (2)  8 sequence (8)  16 dropped (8)
//	24 captured (8)  32 received (8)  40 decoded (8)  48 deadline (8): nanoseconds since 1970, the host's
//	56 length of source  57 length of region  58 zero (2)  60 bytes of pixels (4)
const (
	frameHead      = 64
	frameMark byte = 'F'
	maxSource      = 255
)

// frameColors and frameOrigins are the words behind the bytes, which count from 1.
var (
	frameColors  = [...]pipeline.Color{pipeline.RGB, pipeline.BGR}
	frameOrigins = [...]pipeline.Origin{"", pipeline.OriginSenderReport, pipeline.OriginArrival}
)

// frameHeader is a frame without its pixels, its times being the host's.
type frameHeader struct {
	color                      pipeline.Color
	width, height              int
	sequence, dropped          uint64
	times                      pipeline.Times
	deadline                   time.Time
	sourceLength, regionLength int
	size                       int
}

// appendFrameHead appends head and names of a frame. toHost converts its times.
func appendFrameHead(b []byte, f *pipeline.Frame, clock *Clock) ([]byte, error) {
	color, origin := index(frameColors[:], f.Color), index(frameOrigins[:], f.Times.Origin)
	if color < 0 || origin < 0 || len(f.Data) != f.Width*f.Height*3 || f.Width > MaxSide || f.Height > MaxSide || len(f.Data) > MaxFrame {
		return b, fmt.Errorf("frame of %d×%d, %d bytes, colour %q, origin %q: %w",
			f.Width, f.Height, len(f.Data), f.Color, f.Times.Origin, ErrMalformed)
	}
	if len(f.Source) > maxSource || len(f.Region) > maxSource {
		return b, fmt.Errorf("frame of source %q, region %q: %w", f.Source, f.Region, ErrTooLarge)
	}
	captured := f.Times.Captured
	if f.Times.Origin != pipeline.OriginSenderReport { // else it is the camera's clock, not this one
		captured = clock.ToHost(captured)
	}
	times := [4]time.Time{captured, clock.ToHost(f.Times.Received), clock.ToHost(f.Times.Decoded), clock.ToHost(f.Deadline)}
	var set byte
	for i, t := range times {
		if !t.IsZero() {
			set |= 1 << i
		}
	}
	b = append(b, frameMark, byte(color+1), byte(origin+1), set)
	b = binary.BigEndian.AppendUint16(b, uint16(f.Width))
	b = binary.BigEndian.AppendUint16(b, uint16(f.Height))
	b = binary.BigEndian.AppendUint64(b, f.Sequence)
	b = binary.BigEndian.AppendUint64(b, f.Dropped)
	for _, t := range times {
		b = binary.BigEndian.AppendUint64(b, uint64(nanos(t)))
	}
	b = append(b, byte(len(f.Source)), byte(len(f.Region)), 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(len(f.Data)))
	b = append(b, f.Source...)
	return append(b, f.Region...), nil
}

func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// decodeFrameHead reads the head of a frame that was asked for by w.
func decodeFrameHead(b []byte, w *pipeline.Wish, clock *Clock) (h frameHeader, err error) {
	color, origin, set := int(b[1]), int(b[2]), b[3]
	h.width, h.height = int(binary.BigEndian.Uint16(b[4:])), int(binary.BigEndian.Uint16(b[6:]))
	h.sequence, h.dropped = binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(b[16:])
	h.sourceLength, h.regionLength = int(b[56]), int(b[57])
	size := binary.BigEndian.Uint32(b[60:])
	known := b[0] == frameMark && color >= 1 && color <= len(frameColors) && origin >= 1 && origin <= len(frameOrigins)
	if !known || set > 15 || b[58] != 0 || b[59] != 0 || h.sequence == 0 {
		return h, fmt.Errorf("head of a frame: %w", ErrMalformed)
	}
	h.color = frameColors[color-1]
	if h.width != w.Width || h.height != w.Height || h.color != w.Color || int64(size) != int64(w.Width)*int64(w.Height)*3 {
		return h, fmt.Errorf("frame of %d×%d %s, %d bytes, where %d×%d %s was wished for: %w",
			h.width, h.height, h.color, size, w.Width, w.Height, w.Color, ErrMalformed)
	}
	h.size = int(size)
	var times [4]time.Time
	for i := range times {
		if set&(1<<i) != 0 {
			times[i] = time.Unix(0, int64(binary.BigEndian.Uint64(b[24+8*i:])))
		}
	}
	h.times = pipeline.Times{Captured: times[0], Origin: frameOrigins[origin-1], Received: clock.FromHost(times[1]), Decoded: clock.FromHost(times[2])}
	if h.times.Origin != pipeline.OriginSenderReport {
		h.times.Captured = clock.FromHost(times[0])
	}
	h.deadline = clock.FromHost(times[3])
	return h, nil
}

func index[T comparable](list []T, v T) int {
	for i, known := range list {
		if known == v {
			return i
		}
	}
	return -1
}
