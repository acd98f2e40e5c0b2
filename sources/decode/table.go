package decode

import (
	"sightline/pipeline"
	"sightline/sources/picture"
)

// depth is how many units can be inside a decoder before the oldest is taken for lost: more than the
// 16 pictures that H.264 (§A.3) and H.265 (§A.4) let a decoder hold back.
const depth = 32

// table remembers what is known of the units inside the decoder, so that the pictures get it back
// after they were reordered.
type table struct {
	entries [depth]entry
	last    int64 // tag given last; tags count from 1
	missing int
}

type entry struct {
	tag  int64
	open bool // no picture came out of it yet
	of   picture.Picture
}

// add remembers a unit and returns its tag.
func (t *table) add(u *pipeline.Unit, sequence uint64) int64 {
	t.last++
	e := &t.entries[t.last%depth]
	if e.open {
		t.missing++
	}
	e.tag, e.open = t.last, true
	e.of.Sequence, e.of.PTS = sequence, u.PTS
	e.of.Captured, e.of.Origin, e.of.Received, e.of.Hidden = u.Captured, u.Origin, u.Received, u.Hidden
	return t.last
}

// answer fills p with what is known of the unit, and tells whether it still waited for its picture.
func (t *table) answer(tag int64, p *picture.Picture) bool {
	if tag < 1 || tag > t.last {
		return false
	}
	e := &t.entries[tag%depth]
	if e.tag != tag || !e.open {
		return false
	}
	e.open = false
	*p = e.of
	return true
}

// forget stops waiting for a unit's picture, and tells whether there was none yet.
func (t *table) forget(tag int64) bool {
	e := &t.entries[tag%depth]
	waited := e.tag == tag && e.open
	if waited {
		e.open = false
	}
	return waited
}

// clear stops waiting for all pictures; they are missing.
func (t *table) clear() {
	for i := range t.entries {
		if t.entries[i].open {
			t.entries[i].open = false
			t.missing++
		}
	}
}

func (t *table) takeMissing() int {
	n := t.missing
	t.missing = 0
	return n
}
