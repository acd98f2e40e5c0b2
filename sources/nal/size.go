package nal

import (
	"fmt"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h265"

	"sightline/pipeline"
)

// MaxPixels is the largest picture that is decoded: what level 6.2 of H.264 allows.
const MaxPixels = 8192 * 4352

// SizeError is returned for pictures that are refused before memory is taken for them.
type SizeError struct{ Width, Height uint64 }

func (e *SizeError) Error() string {
	return fmt.Sprintf("pictures of %d×%d are larger than the %d pixels that are decoded (8192×4352)", e.Width, e.Height, MaxPixels)
}

// CheckSize returns a *SizeError when a sequence parameter set announces pictures of more than
// MaxPixels, as coded, before cropping. A set that cannot be read is left to the decoder.
func CheckSize(codec pipeline.Codec, set []byte) error {
	var width, height uint64
	switch codec {
	case pipeline.H264:
		var s h264.SPS
		if s.Unmarshal(set) == nil {
			width, height = (uint64(s.PicWidthInMbsMinus1)+1)*16, (uint64(s.PicHeightInMapUnitsMinus1)+1)*16
			if !s.FrameMbsOnlyFlag {
				height *= 2 // map units are of fields
			}
		}
	case pipeline.H265:
		var s h265.SPS
		if s.Unmarshal(set) == nil {
			width, height = uint64(s.PicWidthInLumaSamples), uint64(s.PicHeightInLumaSamples)
		}
	}
	if width > MaxPixels || height > MaxPixels || width*height > MaxPixels {
		return &SizeError{width, height}
	}
	return nil
}
