package file

import (
	"bytes"
	"slices"

	"sightline/pipeline"
)

// maxSets bounds how many parameter sets a file can make us keep.
const maxSets = 64

// kindOf tells what a NAL unit is to parameterSets.
func kindOf(codec pipeline.Codec, unit []byte) (sequence, set bool) {
	if len(unit) == 0 {
		return false, false
	}
	if codec == pipeline.H265 {
		kind := unit[0] >> 1 & 63
		return kind == 33, kind >= 32 && kind <= 34 // SPS; VPS to PPS (ITU-T H.265 table 7-1)
	}
	kind := unit[0] & 31
	return kind == 7, kind == 7 || kind == 8 // SPS; and PPS (ITU-T H.264 table 7-1)
}

// parameterSets are those of a track that count now: of the container, or those that came in-band last.
type parameterSets struct {
	codec pipeline.Codec
	sets  [][]byte
}

// replace takes the container's.
func (p *parameterSets) replace(sets [][]byte) {
	p.sets = p.sets[:0]
	for _, s := range sets {
		p.add(s)
	}
}

func (p *parameterSets) add(set []byte) {
	known := slices.ContainsFunc(p.sets, func(s []byte) bool { return bytes.Equal(s, set) })
	if len(p.sets) < maxSets && !known {
		p.sets = append(p.sets, bytes.Clone(set))
	}
}

// keep takes note of those among a picture's NAL units, and tells whether there is a sequence parameter
// set: a picture that brings one brings all that it needs.
func (p *parameterSets) keep(units [][]byte) (complete bool) {
	found := false
	for _, u := range units {
		sequence, set := kindOf(p.codec, u)
		complete, found = complete || sequence, found || set
	}
	if !found {
		return complete
	}
	if complete {
		p.sets = p.sets[:0]
	}
	for _, u := range units {
		if _, set := kindOf(p.codec, u); set {
			p.add(u)
		}
	}
	return complete
}
