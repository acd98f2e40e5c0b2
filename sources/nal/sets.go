package nal

import (
	"bytes"

	"github.com/bluenviron/mediacommon/v2/pkg/bits"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"

	"sightline/pipeline"
)

// How many parameter sets of H.264 there can be (§7.4.2.1.1, §7.4.2.2).
const (
	h264SequenceSets = 32
	h264PictureSets  = 256
)

// sequence is what a sequence parameter set of H.264 says that matters here.
type sequence struct {
	known     bool
	frameBits int  // of frame_num
	colours   bool // separate_colour_plane_flag
	gaps      bool // numbers may be left out on purpose
}

// continuity follows the numbers of the reference pictures of H.264 (frame_num, §7.4.3).
type continuity struct {
	raw       [h264SequenceSets][]byte // as it came, so that an equal one is not read again
	sequences [h264SequenceSets]sequence
	of        [h264PictureSets]uint8 // the sequence set of a picture set, plus 1

	begun bool
	last  uint32 // frame_num of the last reference picture
	gaps  int    // seen; 0 again after steady pictures without one
	run   int    // pictures since the last gap
}

// After so many gaps without a steady run of pictures between them the numbers are not believed any
// more, until another sequence parameter set comes: there are encoders that count wrongly.
const (
	disbelieved = 32
	steady      = 64
)

// Follows tells whether a picture of H.264 follows what Follows was shown before, by the numbers that
// reference pictures carry: false means that at least one which others build on is missing. When in
// doubt, and for other codecs, it says true. H.265 names the pictures each one needs; its decoder
// tells when one is not there.
func (i *Inspector) Follows(u *pipeline.Unit) bool {
	if u.Codec != pipeline.H264 {
		return true
	}
	c := &i.numbers
	for _, n := range u.NALs {
		if len(n) < 2 {
			continue
		}
		switch kind := n[0] & 31; {
		case kind == h264SPS:
			c.sequenceSet(n)
		case kind == h264PPS:
			c.pictureSet(n)
		case kind == h264IDR:
			c.begun, c.last = true, 0
			return true
		case kind == h264SliceFirst || kind == h264SliceFirst+1:
			return c.slice(n)
		}
	}
	return true
}

func (c *continuity) sequenceSet(n []byte) {
	id, ok := golombs(n, 4, 1)
	if !ok || id[0] >= h264SequenceSets || bytes.Equal(c.raw[id[0]], n) {
		return
	}
	c.raw[id[0]] = append(c.raw[id[0]][:0], n...)
	s := &c.sequences[id[0]]
	*s, c.gaps = sequence{}, 0
	var set h264.SPS
	if set.Unmarshal(n) != nil || set.Log2MaxFrameNumMinus4 > 12 {
		return
	}
	*s = sequence{
		known: true, frameBits: int(set.Log2MaxFrameNumMinus4) + 4,
		colours: set.SeparateColourPlaneFlag, gaps: set.GapsInFrameNumValueAllowedFlag,
	}
}

func (c *continuity) pictureSet(n []byte) {
	if ids, ok := golombs(n, 1, 2); ok && ids[0] < h264PictureSets && ids[1] < h264SequenceSets {
		c.of[ids[0]] = uint8(ids[1]) + 1
	}
}

// slice takes note of the picture that a slice belongs to. Its number is that of the last reference
// picture for a second field, else one more. (A picture that sets the numbers back to 0 by
// memory_management_control_operation 5 makes the next one look as if some were missing.)
func (c *continuity) slice(n []byte) bool {
	number, most, ok := c.frameNumber(n)
	if !ok {
		c.begun = false
		return true
	}
	step := (number - c.last) & most
	follows := !c.begun || step <= 1
	c.count(follows)
	if n[0]&0x60 != 0 { // a reference picture
		c.begun, c.last = true, number
	}
	return follows || c.gaps > disbelieved
}

func (c *continuity) count(follows bool) {
	if c.run++; c.run >= steady {
		c.gaps = 0
	}
	if !follows {
		c.gaps++
		c.run = 0
	}
}

// frameNumber reads frame_num of a slice header (§7.3.3) and tells the largest that there can be.
func (c *continuity) frameNumber(n []byte) (number, most uint32, ok bool) {
	var room [24]byte
	header, at := unescape(room[:0], n[1:]), 0
	set := uint32(0)
	for range 3 { // first_mb_in_slice, slice_type, pic_parameter_set_id
		var err error
		if set, err = bits.ReadGolombUnsigned(header, &at); err != nil {
			return 0, 0, false
		}
	}
	if set >= h264PictureSets || c.of[set] == 0 {
		return 0, 0, false
	}
	s := c.sequences[c.of[set]-1]
	if !s.known || s.gaps {
		return 0, 0, false
	}
	if s.colours {
		at += 2 // colour_plane_id
	}
	v, err := bits.ReadBits(header, &at, s.frameBits)
	return uint32(v), 1<<s.frameBits - 1, err == nil
}

// golombs reads the first Exp-Golomb numbers behind skip bytes of a NAL unit.
func golombs(n []byte, skip, count int) (numbers [2]uint32, ok bool) {
	if len(n) <= skip {
		return numbers, false
	}
	var room [24]byte
	raw, at := unescape(room[:0], n[skip:]), 0
	for i := range count {
		var err error
		if numbers[i], err = bits.ReadGolombUnsigned(raw, &at); err != nil {
			return numbers, false
		}
	}
	return numbers, true
}

// unescape appends the begin of a NAL unit's payload to into, up to its capacity, without the bytes
// that keep start codes away (§7.4.1).
func unescape(into, n []byte) []byte {
	zeros := 0
	for _, b := range n {
		if len(into) == cap(into) {
			break
		}
		if zeros >= 2 && b == 3 {
			zeros = 0
			continue
		}
		if zeros++; b != 0 {
			zeros = 0
		}
		into = append(into, b)
	}
	return into
}
