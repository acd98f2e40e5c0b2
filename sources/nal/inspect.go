package nal

import "sightline/pipeline"

// Types of H.264 (table 7-1) and H.265 (table 7-1) that matter here.
const (
	h264SliceFirst, h264SliceLast = 1, 5
	h264IDR                       = 5
	h264SEI, h264SPS, h264PPS     = 6, 7, 8
	h264AUD                       = 9
	h264Prefix, h264Reserved18    = 14, 18

	h265SliceLast                        = 31
	h265IRAPFirst, h265IRAPLast          = 16, 23
	h265LastSubLayerN                    = 14 // even types up to it are sub-layer non-reference pictures
	h265VPS, h265SPS                     = 32, 33
	h265AUD                              = 35
	h265PrefixSEI                        = 39
	h265Reserved41, h265Reserved44       = 41, 44
	h265Unspecified48, h265Unspecified55 = 48, 55
)

// Inspector looks at the access units of one stream. Show it every unit in order, so that it sees
// the parameter sets. The zero value is ready.
type Inspector struct {
	subLayers uint8 // of H.265, as its sequence parameter set says; 0: none seen
	numbers   continuity
}

// NonReference tells whether no other picture builds on this access unit, so that leaving it out
// harms nothing else: in H.264 when nal_ref_idc is 0 in all slices (§7.4.1), in H.265 when all
// slices are of sub-layer non-reference types in the highest temporal sub-layer (§7.4.2.2). When in
// doubt it says false.
func (i *Inspector) NonReference(u *pipeline.Unit) bool {
	slices := 0
	for _, n := range u.NALs {
		var slice, needed bool
		switch u.Codec {
		case pipeline.H264:
			slice, needed = lookH264(n)
		case pipeline.H265:
			slice, needed = i.lookH265(n)
		default:
			return false
		}
		if needed {
			return false
		}
		if slice {
			slices++
		}
	}
	return slices > 0
}

func lookH264(n []byte) (slice, needed bool) {
	if len(n) < 2 {
		return false, len(n) == 1 && n[0]&31 <= h264SliceLast
	}
	kind := n[0] & 31
	if kind < h264SliceFirst || kind > h264SliceLast {
		return false, false
	}
	return true, n[0]&0x60 != 0 || kind == h264IDR
}

func (i *Inspector) lookH265(n []byte) (slice, needed bool) {
	if len(n) < 3 {
		return false, true
	}
	kind, layer := n[0]>>1&63, n[1]&7 // nuh_temporal_id_plus1
	if kind == h265SPS {
		i.subLayers = n[2]>>1&7 + 1 // sps_max_sub_layers_minus1
		return false, false
	}
	if kind > h265SliceLast {
		return false, false
	}
	return true, kind > h265LastSubLayerN || kind%2 != 0 || layer != i.subLayers
}

// Keyframe tells whether an access unit can be decoded without any earlier one: an IDR picture of
// H.264, an IRAP picture of H.265, any JPEG.
func Keyframe(u *pipeline.Unit) bool {
	for _, n := range u.NALs {
		if len(n) < 2 {
			continue
		}
		switch u.Codec {
		case pipeline.H264:
			if n[0]&31 == h264IDR {
				return true
			}
		case pipeline.H265:
			if kind := n[0] >> 1 & 63; kind >= h265IRAPFirst && kind <= h265IRAPLast {
				return true
			}
		case pipeline.MJPEG:
			return true
		}
	}
	return false
}

// AccessUnits groups the NAL units of a stream of H.264 (§7.4.1.2.3) or H.265 (§7.4.2.4.4) by
// picture. It takes a slice that begins at the first macroblock for the begin of a picture, so that
// the two fields of interlaced H.264 become two units.
func AccessUnits(codec pipeline.Codec, nals [][]byte) [][][]byte {
	var units [][][]byte
	start, slices := 0, false
	for i, n := range nals {
		slice, begins := boundary(codec, n)
		if begins && slices {
			units = append(units, nals[start:i])
			start, slices = i, false
		}
		slices = slices || slice
	}
	if slices {
		units = append(units, nals[start:])
	}
	return units
}

// boundary tells whether a NAL unit is a slice, and whether it begins a new access unit when a slice
// came before it.
func boundary(codec pipeline.Codec, n []byte) (slice, begins bool) {
	if codec == pipeline.H265 {
		if len(n) < 3 {
			return false, false
		}
		kind := n[0] >> 1 & 63
		if kind <= h265SliceLast {
			return true, n[2]&0x80 != 0 // first_slice_segment_in_pic_flag
		}
		return false, kind >= h265VPS && kind <= h265AUD || kind == h265PrefixSEI ||
			kind >= h265Reserved41 && kind <= h265Reserved44 || kind >= h265Unspecified48 && kind <= h265Unspecified55
	}
	if len(n) < 2 {
		return false, false
	}
	kind := n[0] & 31
	if kind >= h264SliceFirst && kind <= h264SliceLast {
		return true, n[1]&0x80 != 0 // first_mb_in_slice is 0
	}
	return false, kind >= h264SEI && kind <= h264AUD || kind >= h264Prefix && kind <= h264Reserved18
}
