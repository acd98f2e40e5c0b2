package decode

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h265"

	"sightline/pipeline"
)

// ErrTooLarge is returned for pictures that are refused before memory is taken for them.
var ErrTooLarge = errors.New("larger than what is decoded")

// maxKept bounds what a stream may have kept for pictures that build on each other, in pictures of
// MaxPixels: somewhat more than level 6.2 allows at its largest size, which is 5 in H.264 (table A-1,
// MaxDpbMbs) and 6 in H.265 (§A.4.2).
const maxKept = 8

// limit refuses streams that would take too much memory, by what they announce.
type limit struct {
	pixels int64
	seen   []byte // sequence parameter set looked at last
	fault  error  // what is wrong with it
}

// check returns an ErrTooLarge for a unit that announces pictures above the limit. What cannot be read
// is left to libavcodec, which has the limit too.
func (l *limit) check(u *pipeline.Unit) error {
	for _, n := range u.NALs {
		switch {
		case u.Codec == pipeline.MJPEG:
			return l.admit(jpegSize(n))
		case !isSequenceSet(u.Codec, n):
		case !bytes.Equal(n, l.seen):
			l.seen = append(l.seen[:0], n...)
			l.fault = l.admit(announced(u.Codec, n))
		}
	}
	return l.fault
}

func (l *limit) admit(width, height, kept int64) error {
	switch {
	case width > l.pixels || height > l.pixels || width*height > l.pixels:
		return fmt.Errorf("pictures of %d×%d are %w (%d pixels)", width, height, ErrTooLarge, l.pixels)
	case width*height*kept > l.pixels*maxKept:
		return fmt.Errorf("%d pictures of %d×%d to be kept are %w (%d pixels)", kept, width, height, ErrTooLarge, l.pixels*maxKept)
	}
	return nil
}

func isSequenceSet(codec pipeline.Codec, n []byte) bool {
	switch codec {
	case pipeline.H264:
		return len(n) > 0 && h264.NALUType(n[0]&31) == h264.NALUTypeSPS
	case pipeline.H265:
		return len(n) > 0 && h265.NALUType(n[0]>>1&63) == h265.NALUType_SPS_NUT
	}
	return false
}

// announced returns the size of pictures as coded, before cropping, and how many are to be kept; zeros
// when the set cannot be read.
func announced(codec pipeline.Codec, set []byte) (width, height, kept int64) {
	if codec == pipeline.H264 {
		var s h264.SPS
		if s.Unmarshal(set) != nil {
			return 0, 0, 0
		}
		width, height = (int64(s.PicWidthInMbsMinus1)+1)*16, (int64(s.PicHeightInMapUnitsMinus1)+1)*16
		if !s.FrameMbsOnlyFlag {
			height *= 2 // map units are of fields
		}
		return width, height, int64(s.MaxNumRefFrames)
	}
	var s h265.SPS
	if s.Unmarshal(set) != nil {
		return 0, 0, 0
	}
	for _, n := range s.MaxDecPicBufferingMinus1 {
		kept = max(kept, int64(n)+1)
	}
	return int64(s.PicWidthInLumaSamples), int64(s.PicHeightInLumaSamples), kept
}

// jpegSize finds the frame header of a JPEG (ITU-T T.81 §B.2.2); zeros when there is none.
func jpegSize(data []byte) (width, height, kept int64) {
	const startOfScan = 0xda
	for at := 2; at+9 <= len(data) && data[at] == 0xff; {
		kind := data[at+1]
		switch {
		case kind == 0xff: // a fill byte
			at++
			continue
		case kind == startOfScan:
			return 0, 0, 0
		case kind >= 0xc0 && kind <= 0xcf && kind != 0xc4 && kind != 0xc8 && kind != 0xcc:
			return int64(data[at+7])<<8 | int64(data[at+8]), int64(data[at+5])<<8 | int64(data[at+6]), 1
		}
		at += 2 + int(data[at+2])<<8 + int(data[at+3])
	}
	return 0, 0, 0
}
