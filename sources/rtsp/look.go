package rtsp

import (
	"github.com/bluenviron/mediacommon/v2/pkg/bits"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h265"

	"sightline/pipeline"
)

// picture is what the NAL units of one picture say without decoding them.
type picture struct {
	slices  int         // slices seen
	first   bool        // the slice that begins the picture is among them
	entry   bool        // it is an IDR, CRA or BLA picture, or a recovery point that takes effect at once
	gradual bool        // recovery begins here and takes some pictures: intra refresh
	inter   bool        // a slice needs other pictures, or may
	present [kinds]bool // parameter sets that come with it
}

// keyframe tells whether a decoder can begin here.
func (p *picture) keyframe() bool { return p.first && (p.entry || !p.inter) }

// look adds what a NAL unit says to p and keeps parameter sets in sets. It takes outside bytes.
type look func(nal []byte, p *picture, sets *parameterSets)

// lookH264 reads NAL unit headers, the beginning of slice headers, recovery points and the numbers of
// parameter sets (ITU-T H.264 §7.3.1 to §7.3.3, D.1.8).
func lookH264(nal []byte, p *picture, sets *parameterSets) {
	if len(nal) == 0 {
		return
	}
	switch h264.NALUType(nal[0] & 0x1f) {
	case h264.NALUTypeIDR:
		p.slice(number(nal[1:]) == 0)
		p.entry = true
	case h264.NALUTypeNonIDR:
		first, sliceType := pair(nal[1:])
		p.slice(first == 0)
		// 2 and 7 are I slices, 4 and 9 SI slices (table 7-6).
		p.inter = p.inter || sliceType%5 != 2 && sliceType%5 != 4
	case h264.NALUTypeDataPartitionA, h264.NALUTypeDataPartitionB, h264.NALUTypeDataPartitionC:
		p.slice(true)
		p.inter = true
	case h264.NALUTypeSEI:
		p.recovery(nal[1:])
	case h264.NALUTypeSPS:
		p.present[sequenceSet] = true
		sets.putSequence(pipeline.H264, number(tail(nal, 4)), nal)
	case h264.NALUTypePPS:
		p.present[pictureSet] = true
		sets.put(pictureSet, number(nal[1:]), nal)
	}
}

// lookH265 is lookH264 for ITU-T H.265 (§7.3.1, §7.3.2, §7.3.6, D.2.8).
func lookH265(nal []byte, p *picture, sets *parameterSets) {
	if len(nal) < 2 {
		return
	}
	switch t := h265.NALUType(nal[0] >> 1 & 0x3f); {
	case t >= h265.NALUType_BLA_W_LP && t <= h265.NALUType_CRA_NUT:
		p.slice(len(nal) > 2 && nal[2]&0x80 != 0)
		p.entry = true
	case t < 32: // every other slice
		p.slice(len(nal) > 2 && nal[2]&0x80 != 0)
		p.inter = true
	case t == h265.NALUType_VPS_NUT:
		p.present[videoSet] = true
		sets.put(videoSet, uint32(first(tail(nal, 2))>>4), nal)
	case t == h265.NALUType_SPS_NUT:
		p.present[sequenceSet] = true
		sets.putSequence(pipeline.H265, sequenceNumber(nal), nal)
	case t == h265.NALUType_PPS_NUT:
		p.present[pictureSet] = true
		sets.put(pictureSet, number(nal[2:]), nal)
	case t == h265.NALUType_PREFIX_SEI_NUT:
		p.recovery(nal[2:])
	}
}

func (p *picture) slice(first bool) {
	p.slices++
	p.first = p.first || first
}

// recovery looks for a recovery point among the messages of an SEI NAL unit (payload type 6 in both
// codecs). Both ways of writing "takes effect at once" begin with a one.
func (p *picture) recovery(sei []byte) {
	for len(sei) > 2 {
		var payload, size int
		payload, sei = extended(sei)
		size, sei = extended(sei)
		if size > len(sei) {
			return
		}
		if payload == 6 && size > 0 {
			now := sei[0]&0x80 != 0
			p.entry, p.gradual = p.entry || now, p.gradual || !now
		}
		sei = sei[size:]
	}
}

// extended reads a number written as a run of 0xff and a last byte (ITU-T H.264 §7.3.2.3.1).
func extended(b []byte) (int, []byte) {
	n := 0
	for i, v := range b {
		n += int(v)
		if v != 0xff {
			return n, b[i+1:]
		}
	}
	return n, nil
}

// sequenceNumber reads the number of an H.265 SPS. It stands after the profile, whose length depends
// on the temporal layers; streams with several (which no camera is known to send with more than one
// SPS) count as number 0.
func sequenceNumber(sps []byte) uint32 {
	if len(sps) < 3 || sps[2]>>1&7 != 0 {
		return 0
	}
	return number(tail(sps, 15))
}

// number reads one Exp-Golomb number, pair two. What cannot be read is a large number.
func number(b []byte) uint32 {
	n, _ := pair(b)
	return n
}

func pair(b []byte) (uint32, uint32) {
	const unreadable = 1 << 31
	var raw [16]byte
	rbsp, at := unescape(raw[:0], b), 0
	n, err := bits.ReadGolombUnsigned(rbsp, &at)
	if err != nil {
		return unreadable, unreadable
	}
	m, err := bits.ReadGolombUnsigned(rbsp, &at)
	if err != nil {
		return n, unreadable
	}
	return n, m
}

// unescape appends the beginning of a NAL unit without its emulation prevention bytes, as far as
// into has room.
func unescape(into, b []byte) []byte {
	zeros := 0
	for _, v := range b {
		if len(into) == cap(into) {
			break
		}
		if zeros >= 2 && v == 3 {
			zeros = 0
			continue
		}
		if v == 0 {
			zeros++
		} else {
			zeros = 0
		}
		into = append(into, v)
	}
	return into
}

func tail(b []byte, from int) []byte { return b[min(from, len(b)):] }

// first returns the first element, or the zero value of none.
func first[T any](s []T) (v T) {
	if len(s) > 0 {
		v = s[0]
	}
	return v
}
