package spool

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"time"

	"sightline/pipeline"
)

// giveUp is how long a segment may be unreadable before its results are let go, so that those behind
// them go upstream.
const giveUp = time.Minute

// Peek appends up to limit of the oldest results, after letting go those that waited too long. It may
// read from disk, without holding up Put. While the disk does not give the oldest ones, there is
// nothing to hand out, for a minute at most: then those are given up, as damage.
func (d *Disk) Peek(limit int, into []pipeline.Message) []pipeline.Message {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.land(0)
	for {
		d.expire(d.timer.now())
		if !d.running || len(d.window) >= limit || !d.fetch(limit-len(d.window)) {
			break
		}
	}
	before := len(into)
	for i := range min(limit, len(d.window)) {
		into = append(into, d.window[i].message)
	}
	if d.unreadFrom() == d.stored() {
		into = d.memory(limit-(len(into)-before), into)
	}
	d.flying = len(into) - before
	return into
}

// memory appends results that are behind those which are only on disk.
func (d *Disk) memory(limit int, into []pipeline.Message) []pipeline.Message {
	for _, q := range []*deque[entry]{&d.safe, &d.open} {
		for i := range min(limit, q.length) {
			into = append(into, q.at(i).message)
			limit--
		}
	}
	return into
}

// unreadFrom is the position of the first record that is neither in memory nor in window; that of the
// first one in memory if there is none.
func (d *Disk) unreadFrom() uint64 {
	return min(d.journal.holes.after(max(d.journal.head, d.reader.next)), d.stored())
}

// fetch reads up to limit records into window, and tells whether it is worth trying for more.
func (d *Disk) fetch(limit int) bool {
	from := d.unreadFrom()
	if from >= d.stored() {
		return false
	}
	i := d.segmentOf(from)
	s := d.journal.segments[i]
	upTo := min(d.journal.endOf(i), d.stored())
	files, good := d.files, s.good
	d.mu.Unlock()
	caught, err := d.reader.read(files, s, good, from, upTo, limit)
	d.mu.Lock()
	if err != nil && !d.hopeless(err) {
		return false
	}
	if err != nil {
		caught.damages = append(caught.damages, loss{Damage{Segment: s.name}, span{from, upTo}})
		d.reader.next = upTo
	}
	d.takeIn(s, caught)
	return true
}

// segmentOf is the number of the segment that holds a position.
func (d *Disk) segmentOf(position uint64) int {
	i, found := slices.BinarySearchFunc(d.journal.segments, position, func(s *segment, p uint64) int {
		return int(min(s.first, p+1)) - int(min(p, s.first+1))
	})
	if found {
		return i
	}
	return max(0, i-1)
}

// hopeless takes note of an error of reading, and tells whether it has lasted for too long.
func (d *Disk) hopeless(err error) bool {
	if d.unread.cause == nil {
		d.unread.since = time.Now()
	}
	d.unread.cause = err
	d.tell()
	if time.Since(d.unread.since) < giveUp {
		return false
	}
	d.unread.cause = nil
	return true
}

// takeIn adds what was read to window, and takes note of what is missing.
func (d *Disk) takeIn(s *segment, c catch) {
	for _, l := range c.damages {
		n := d.journal.lose(l.span.from, l.span.to)
		if n == 0 && (l.Bytes == 0 || l.Offset < s.seen) {
			continue
		}
		s.seen = max(s.seen, l.Offset+l.Bytes)
		l.Results = n
		d.lose(LossDamaged, n)
		if d.Damaged != nil {
			d.Damaged(l.Damage)
		}
	}
	d.window = append(d.window, c.entries...)
	d.advance(d.journal.head) // past what is missing, and what went while reading
	if d.unread.cause != nil {
		d.unread.cause = nil
		d.tell()
	}
}

// reader reads records back. Only Peek uses it, unlocked; next is read under the lock.
type reader struct {
	segment *segment
	file    file
	walk    walker
	next    uint64 // position behind the last one read
}

// catch is what was read.
type catch struct {
	entries []entry
	damages []loss
}

// loss is damage with the positions lost by it.
type loss struct {
	Damage
	span span
}

// read reads up to limit records of a segment between two positions.
func (r *reader) read(files folder, s *segment, good int64, from, upTo uint64, limit int) (catch, error) {
	var c catch
	if err := r.turn(files, s); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			c.damages = append(c.damages, loss{Damage{Segment: s.name}, span{from, upTo}})
			r.next = upTo
			return c, nil
		}
		return c, err
	}
	r.walk.scan.limit, r.walk.upTo, r.walk.expected = good, upTo, max(from, r.walk.expected)
	for len(c.entries) < limit && r.walk.expected < upTo {
		found, err := r.walk.next()
		if err != nil && err != io.EOF {
			return c, errors.Join(fmt.Errorf("read %q: %w", s.name, err), r.close())
		}
		if found.damage.bytes > 0 || found.lost.from < found.lost.to {
			c.damages = append(c.damages, loss{Damage{Segment: s.name, Offset: found.damage.offset, Bytes: found.damage.bytes}, found.lost})
		}
		if err == io.EOF {
			r.walk.expected = upTo
			break
		}
		c.add(s.name, found.record)
	}
	r.next = r.walk.expected
	return c, nil
}

// add decodes a record.
func (c *catch) add(segment string, found item) {
	m, err := decode(found.kind, found.json)
	if err != nil {
		c.damages = append(c.damages, loss{
			Damage{Segment: segment, Offset: found.offset, Bytes: found.bytes},
			span{found.position, found.position + 1},
		})
		return
	}
	c.entries = append(c.entries, entry{message: m, time: found.stamp.time, position: found.position})
}

// turn opens a segment unless it is open.
func (r *reader) turn(files folder, s *segment) error {
	if r.segment == s {
		return nil
	}
	if err := r.close(); err != nil {
		return err
	}
	f, _, err := files.open(s.name, toRead)
	if err != nil {
		return err
	}
	r.segment, r.file, r.walk = s, f, walker{scan: newScanner(salvage{f}, 0)}
	return nil
}

func (r *reader) close() error {
	f := r.file
	r.segment, r.file, r.walk = nil, nil, walker{}
	if f == nil {
		return nil
	}
	return f.Close()
}
