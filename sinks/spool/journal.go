package spool

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// journal is what the queue has on disk: records at positions from head on, up to end, in segments.
// It is bookkeeping only and touches no file.
type journal struct {
	segments []*segment // in order; only the last may be written to
	head     uint64     // the oldest record that is not done with; equal to end: none
	end      uint64     // the position of the next record
	holes    spans      // positions from head on whose records are damaged
	dead     []*segment // whose files are to be removed
	size     int64      // bytes of the files of segments
	marked   uint64     // head as a restart would find it
}

// segment is one file.
type segment struct {
	name   string
	first  uint64 // position of its first record
	size   int64  // of the file
	good   int64  // bytes that are written and lasting, so may be read
	time   int64  // the queue's time when it was begun
	sealed bool   // nothing more is written to it
	seen   int64  // damage before this offset has been told
}

const suffix = ".spool"

func segmentName(first uint64) string { return fmt.Sprintf("%020d%s", first, suffix) }

// positionOf reads the position from the name of a segment.
func positionOf(name string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, ok && err == nil && len(digits) == 20 && n > 0 && n < 4*largest
}

// endOf is the position behind the last record of segment i.
func (j *journal) endOf(i int) uint64 {
	if i+1 < len(j.segments) {
		return j.segments[i+1].first
	}
	return j.end
}

// live counts the records from a position, or from head when that is further, up to another one.
func (j *journal) live(from, to uint64) int {
	from = max(from, j.head)
	if from >= to {
		return 0
	}
	return int(to-from) - j.holes.count(from, to)
}

// advance makes position to, or the first good one behind it, the head. Segments wholly before it are
// to be removed.
func (j *journal) advance(to uint64) {
	j.head = j.holes.after(max(j.head, to))
	j.holes.trim(j.head)
	for len(j.segments) > 0 && j.endOf(0) <= j.head && (len(j.segments) > 1 || j.segments[0].sealed) {
		j.size -= j.segments[0].size
		j.dead = append(j.dead, j.segments[0])
		j.segments = slices.Delete(j.segments, 0, 1)
	}
}

// add puts a segment behind the others. Whatever had its name is gone.
func (j *journal) add(s *segment) {
	same := func(o *segment) bool { return o.name == s.name }
	j.dead = slices.DeleteFunc(j.dead, same)
	if i := slices.IndexFunc(j.segments, same); i >= 0 {
		j.size -= j.segments[i].size
		j.segments = slices.Delete(j.segments, i, i+1)
	}
	j.segments = append(j.segments, s)
	j.size += s.size
}

// lose takes note that the records from one position up to another are damaged, and returns how many
// of them were not known to be, and not done with. advance is to follow.
func (j *journal) lose(from, to uint64) int {
	n := j.live(from, to)
	if n > 0 {
		j.holes.add(max(from, j.head), to)
	}
	return n
}

// behind tells whether a restart would find records again that are done with.
func (j *journal) behind() bool {
	return j.marked < j.head && len(j.segments) > 0 && j.segments[0].first < j.head
}

// waiting is about how many bytes the records from head on have.
func (j *journal) waiting() int64 {
	if j.head >= j.end || len(j.segments) == 0 {
		return 0
	}
	first, end := j.segments[0], j.endOf(0)
	if first.first >= j.head || end <= first.first {
		return j.size
	}
	done := float64(j.head-first.first) / float64(end-first.first)
	return j.size - int64(done*float64(first.size))
}

// spans are ranges of positions, in order, that do not touch.
type spans []span

type span struct{ from, to uint64 }

func (s *spans) add(from, to uint64) {
	if from >= to {
		return
	}
	i := 0
	for i < len(*s) && (*s)[i].to < from {
		i++
	}
	n := i
	for n < len(*s) && (*s)[n].from <= to {
		from, to = min(from, (*s)[n].from), max(to, (*s)[n].to)
		n++
	}
	*s = slices.Replace(*s, i, n, span{from, to})
}

// trim forgets what is before a position.
func (s *spans) trim(below uint64) {
	for len(*s) > 0 && (*s)[0].to <= below {
		*s = slices.Delete(*s, 0, 1)
	}
}

// after is the first position from p on that is in none of them.
func (s spans) after(p uint64) uint64 {
	for _, o := range s {
		if o.from <= p && p < o.to {
			p = o.to
		}
	}
	return p
}

// count is how many positions from one up to another are in them.
func (s spans) count(from, to uint64) int {
	n := 0
	for _, o := range s {
		if a, b := max(from, o.from), min(to, o.to); a < b {
			n += int(b - a)
		}
	}
	return n
}
