package rtsp

import (
	"bytes"
	"slices"

	"sightline/pipeline"
	"sightline/sources/nal"
)

// maxParameterSets bounds what a camera can make us keep.
const maxParameterSets = 64

// kind is a kind of parameter set. The order is that in which they stand in a stream.
type kind uint8

const (
	videoSet    kind = iota // VPS, H.265 only
	sequenceSet             // SPS
	pictureSet              // PPS
	kinds
)

// parameterSet is one VPS, SPS or PPS, with the number that others name it by.
type parameterSet struct {
	kind kind
	id   uint32
	nal  []byte
}

// parameterSets are those that a stream has announced, in its description or in-band.
type parameterSets struct {
	sets    []parameterSet
	refused error // why no picture of the stream is to be decoded, nil mostly
}

// putSequence keeps an SPS, unless it announces pictures that are too large to be decoded.
func (p *parameterSets) putSequence(codec pipeline.Codec, id uint32, set []byte) {
	if !p.put(sequenceSet, id, set) {
		return
	}
	if err := nal.CheckSize(codec, set); err != nil {
		p.refused = err
	}
}

// put keeps a copy of a parameter set in place of the one with the same number, and tells whether that
// is another one.
func (p *parameterSets) put(k kind, id uint32, nal []byte) bool {
	i := slices.IndexFunc(p.sets, func(s parameterSet) bool { return s.kind == k && s.id == id })
	switch {
	case i >= 0 && bytes.Equal(p.sets[i].nal, nal):
		return false
	case i >= 0:
		p.sets[i].nal = bytes.Clone(nal)
	case len(p.sets) < maxParameterSets:
		p.sets = append(p.sets, parameterSet{k, id, bytes.Clone(nal)})
	}
	return true
}

// has tells whether a set of a kind is known.
func (p *parameterSets) has(k kind) bool {
	return slices.ContainsFunc(p.sets, func(s parameterSet) bool { return s.kind == k })
}

// appendMissing appends the sets of every kind that is not present to nals.
func (p *parameterSets) appendMissing(nals [][]byte, present [kinds]bool) [][]byte {
	for k, there := range present {
		if there {
			continue
		}
		for i := range p.sets {
			if p.sets[i].kind == kind(k) {
				nals = append(nals, p.sets[i].nal)
			}
		}
	}
	return nals
}
