package spool

import "io"

// Damage is a part of a segment that cannot be read. What was before and behind it is kept.
type Damage struct {
	Segment string // name of the file
	Offset  int64  // of the first damaged byte
	Bytes   int64  // how many; zero: the file is gone or ends too early
	Results int    // how many results are lost by it
}

// walker goes through the records of a segment in order, and notes what is missing between them.
type walker struct {
	scan     *scanner
	expected uint64 // position of the next record
	upTo     uint64 // position of the first record that is not wanted
	damage   item   // met since the last record

	head   uint64 // the furthest that a mark says
	last   stamp  // the last one
	newest int64  // time of the newest record
	good   int64  // where the last line ends
}

// step is what a walker came across: damage, then records that are missing, then a record.
type step struct {
	damage item // bytes is zero when there is none
	lost   span
	record item
}

// next returns the next record. Where the bytes end it returns io.EOF, with what was met since the
// last record.
func (w *walker) next() (step, error) {
	for {
		found, err := w.scan.scan()
		if err == io.EOF {
			s := step{damage: w.damage, lost: span{w.expected, max(w.expected, w.upTo)}}
			if s.damage.bytes == 0 {
				s.damage.offset = w.scan.offset
			}
			w.damage = item{}
			return s, io.EOF
		}
		if err != nil {
			return step{}, err
		}
		if s, ok := w.take(found); ok {
			return s, nil
		}
	}
}

// take notes what was found, and tells whether it was a record that is wanted.
func (w *walker) take(found item) (step, bool) {
	if found.kind == "" {
		if w.damage.bytes == 0 {
			w.damage.offset = found.offset
		}
		w.damage.bytes += found.bytes
		return step{}, false
	}
	w.good = found.offset + found.bytes
	if found.kind != kindRecord && found.kind != kindEvent {
		if found.version <= version {
			w.head, w.last = max(w.head, found.head), found.stamp
		}
		return step{}, false
	}
	w.newest = max(w.newest, found.stamp.time)
	if found.position < w.expected || found.position >= w.upTo {
		return step{}, false
	}
	s := step{damage: w.damage, lost: span{w.expected, found.position}, record: found}
	if s.damage.bytes == 0 {
		s.damage.offset = found.offset
	}
	w.damage, w.expected = item{}, found.position+1
	return s, true
}
