package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"syscall"
	"time"

	"sightline/sinks"
)

// group is what is written and synced at once.
type group struct {
	results int
	first   uint64   // position of the first of them
	fresh   *segment // to be made; nil: the last segment is written to
	shut    bool     // the file at hand is not written to any more
	lines   int      // bytes to write that are no room
	head    uint64
	marked  bool // head is written
	lasting bool // is to be synced
	dead    []*segment
}

// gather takes what is to be written next.
func (d *Disk) gather(now time.Time) group {
	d.mu.Lock()
	defer d.mu.Unlock()
	w := &d.writer
	g := group{first: d.journal.end, head: d.journal.head, dead: append(d.journal.dead, d.stuck...)}
	d.journal.dead, d.stuck = nil, nil
	full := d.count(&g, now)
	g.marked = d.journal.behind() && (g.results > 0 || d.closing || !w.dirty.IsZero() && now.Sub(w.dirty) >= markDelay)
	g.shut = w.file != nil && (full || w.segment.sealed)
	w.buffer = w.buffer[:0]
	if g.results == 0 && !g.marked && d.trouble == nil {
		return g
	}
	g.lasting = g.results > 0 || d.closing || d.trouble != nil
	if g.shut || w.file == nil {
		stamp := d.timer.stamp()
		g.fresh = &segment{name: segmentName(g.first), first: g.first, time: stamp.time}
		g.marked, g.lasting = true, true
		w.buffer = appendHeader(w.buffer, g.first, g.head, stamp)
	} else if g.marked {
		w.buffer = appendMark(w.buffer, g.head, d.timer.stamp())
	}
	for i := range g.results {
		e := d.open.at(i)
		w.buffer = appendRecord(w.buffer, e.kind, g.first+uint64(i), e.time, e.json)
	}
	g.lines = len(w.buffer)
	d.addRoom(&g)
	d.writing, d.busy = g.results, true
	return g
}

// count decides how many results are written next, and tells whether the segment is full for them.
func (d *Disk) count(g *group, now time.Time) (full bool) {
	late := func() bool { return !d.open.at(0).came.Add(max(0, d.Delay)).After(now) }
	if d.open.length == 0 || !d.closing && d.trouble == nil && d.bytes.open < commitBytes && !late() {
		return false
	}
	size, most := int64(0), d.segmentSize()
	for g.results < d.open.length {
		next := d.open.at(g.results).size()
		if g.results > 0 && size+next > most {
			break
		}
		size += next
		g.results++
	}
	return d.writer.offset+size > most
}

// addRoom adds zeros behind a small group.
func (d *Disk) addRoom(g *group) {
	w := &d.writer
	start, room := w.offset, w.room
	if g.fresh != nil {
		start, room = 0, 0
	}
	end := start + int64(g.lines)
	if !g.lasting || g.lines >= roomBelow || end <= room || d.trouble != nil {
		return
	}
	add := (min(end+roomAhead, d.segmentSize()) &^ (block - 1)) - end
	left := int64(d.Config.MaxBytes) - d.journal.size - d.bytes.open - slack
	if add > 0 && add <= left {
		w.buffer = append(w.buffer, make([]byte, add)...)
	}
}

// segmentSize is how large a segment may become.
func (d *Disk) segmentSize() int64 {
	return min(max(int64(d.Config.MaxBytes)/segmentShare, segmentLeast), segmentMost)
}

// write brings a group to disk. Files that are not needed any more go first, to make room.
func (d *Disk) write(g *group) error {
	w := &d.writer
	if g.shut {
		_ = w.file.Close() // what counts of it was synced
		w.file = nil
	}
	g.dead = slices.DeleteFunc(g.dead, func(s *segment) bool {
		err := d.files.remove(s.name)
		return err == nil || errors.Is(err, fs.ErrNotExist)
	})
	if len(w.buffer) == 0 {
		return nil
	}
	if g.fresh != nil {
		f, _, err := d.files.open(g.fresh.name, toCreate)
		if err != nil {
			return fmt.Errorf("begin a segment: %w", err)
		}
		w.file, w.segment, w.offset, w.room = f, g.fresh, 0, 0
	}
	if _, err := w.file.WriteAt(w.buffer, w.offset); err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	if g.lasting {
		if err := w.file.Sync(); err != nil {
			return fmt.Errorf("write results: %w", err)
		}
	}
	if g.fresh != nil {
		if err := d.files.sync(); err != nil {
			return fmt.Errorf("begin a segment: %w", err)
		}
	}
	w.room = max(w.room, w.offset+int64(len(w.buffer)))
	w.offset += int64(g.lines)
	return nil
}

// finish takes note of how writing a group went.
func (d *Disk) finish(g group, err error, now time.Time) {
	if err != nil {
		d.abandon(&g)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.busy = false
	d.stuck = slices.DeleteFunc(g.dead, func(s *segment) bool { return g.fresh != nil && s.name == g.fresh.name })
	if err != nil {
		d.failed(&g, err, now)
	} else {
		d.written(&g)
	}
	d.writing, d.gone = 0, 0
	d.advance(d.journal.head)
}

// abandon closes a file that could not be written to. What was synced before stays in it; what was not
// goes to a new segment, since nobody knows what of it is on disk.
func (d *Disk) abandon(g *group) {
	w := &d.writer
	if w.file == nil {
		return
	}
	_ = w.file.Close() // it does not count any more
	w.file = nil
	if g.fresh != nil {
		_ = d.files.remove(g.fresh.name) // it is made anew under the same name
	}
}

// failed plans the next try.
func (d *Disk) failed(g *group, err error, now time.Time) {
	w := &d.writer
	if n := len(d.journal.segments); n > 0 {
		d.journal.segments[n-1].sealed = true // its file is closed
	}
	w.tries++
	w.next = now.Add(d.Retry.Wait(w.tries))
	if errors.Is(err, syscall.ENOSPC) && d.Config.Full != sinks.RejectNew &&
		d.bytes.open > d.room*3/4 && len(d.journal.segments) > 0 {
		d.dropSegment(LossFull) // which makes room on a disk that others have filled
		w.next = now
	}
	d.fail(err)
}

// written moves the results of a group to those that are safe.
func (d *Disk) written(g *group) {
	w := &d.writer
	if g.fresh != nil {
		if n := len(d.journal.segments); n > 0 {
			d.journal.segments[n-1].sealed = true
		}
		d.journal.add(g.fresh)
	}
	if w.segment != nil && g.lines > 0 {
		d.journal.size += w.room - w.segment.size
		w.segment.size, w.segment.good = w.room, w.offset
	}
	if g.marked {
		d.journal.marked = g.head
		w.dirty = time.Time{}
	}
	for range d.writing {
		e := d.open.pop()
		d.bytes.open -= e.size()
		d.safe.push(e)
		d.bytes.safe += e.size()
	}
	d.journal.end += uint64(g.results)
	if d.gone > 0 {
		d.advance(g.first + uint64(d.gone))
	}
	for d.bytes.safe > cacheLimit {
		d.evict()
	}
	w.tries = 0
	d.fail(nil)
}
