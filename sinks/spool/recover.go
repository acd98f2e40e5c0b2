package spool

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"slices"
)

// survey is what a folder was found to hold.
type survey struct {
	segments []*segment
	head     uint64
	end      uint64
	last     stamp // the newest one; zero: none was found
	newest   int64 // time of the newest record
	damages  []loss
	file     file // the last segment, if it may be written to further
	offset   int64
}

// load enters the folder and takes over what waits in it, in front of what waits in memory. Only the
// last segment is read through, since the others were whole before it was begun; what happened to them
// since is found when they are read.
func (d *Disk) load() error {
	files, leave, err := d.enter(d.Folder)
	if err != nil {
		return err
	}
	found, err := look(files, d.segmentSize())
	if err != nil {
		return errors.Join(err, leave())
	}
	d.files, d.leave = files, leave
	before := d.timer.now()
	if found.last.time > 0 {
		d.timer.resume(d.clocks, found.last)
	}
	d.timer.base = max(d.timer.base, found.newest)
	for i := range d.open.length {
		d.open.at(i).time += d.timer.now() - before
	}
	d.take(found)
	return nil
}

// take makes what was found the journal.
func (d *Disk) take(found *survey) {
	d.journal = journal{segments: found.segments, head: found.head, end: found.end, marked: found.head}
	for _, s := range found.segments {
		d.journal.size += s.size
	}
	if n := len(found.segments); n > 0 {
		s := found.segments[n-1]
		s.sealed = found.file == nil
		if found.file != nil {
			d.writer = writer{file: found.file, segment: s, offset: found.offset, room: s.size}
		}
		d.takeIn(s, catch{damages: found.damages})
	}
}

// look reads what is in a folder.
func look(files folder, segmentSize int64) (*survey, error) {
	names, err := files.names()
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	f := &survey{head: 1, end: 1}
	for _, name := range names {
		first, ok := positionOf(name)
		if !ok {
			continue
		}
		s := &segment{name: name, first: first, sealed: true}
		if err := f.header(files, s); err != nil {
			return nil, err
		}
		f.segments = append(f.segments, s)
	}
	if len(f.segments) == 0 {
		return f, nil
	}
	last := f.segments[len(f.segments)-1]
	if err := f.tail(files, last, segmentSize); err != nil {
		return nil, fmt.Errorf("read %q: %w", last.name, err)
	}
	f.head = max(f.head, f.segments[0].first)
	f.end = max(f.end, f.head)
	f.ages()
	return f, nil
}

// headerMost is more than any header has.
const headerMost = 256

// header reads the first line of a segment. One that is damaged is no error: its name says enough.
func (f *survey) header(files folder, s *segment) error {
	file, size, err := files.open(s.name, toRead)
	if err != nil {
		if errors.Is(err, fs.ErrPermission) {
			return err
		}
		return nil // told when it is to be read
	}
	defer file.Close()
	s.size, s.good = size, size
	found, err := newScanner(file, min(size, headerMost)).scan()
	if err != nil || found.kind != kindHeader {
		return nil
	}
	if found.version != version {
		return fmt.Errorf("%q is of version %d, and this program knows version %d: let the program that wrote it deliver it, or move it away", s.name, found.version, version)
	}
	f.head = max(f.head, found.head)
	f.last, s.time = found.stamp, found.stamp.time
	return nil
}

// tail reads the last segment through.
func (f *survey) tail(files folder, s *segment, segmentSize int64) error {
	file, size, err := files.open(s.name, toAppend)
	appendable := err == nil
	if !appendable {
		if file, size, err = files.open(s.name, toRead); err != nil {
			return err
		}
	}
	w := walker{scan: newScanner(salvage{file}, size), expected: s.first, upTo: math.MaxUint64}
	for err == nil {
		var found step
		found, err = w.next()
		if err == io.EOF {
			found.lost = span{}
			appendable = appendable && found.damage.bytes == 0
		}
		if found.damage.bytes > 0 || found.lost.from < found.lost.to {
			f.damages = append(f.damages, loss{Damage{Segment: s.name, Offset: found.damage.offset, Bytes: found.damage.bytes}, found.lost})
		}
	}
	if err != io.EOF {
		return errors.Join(err, file.Close())
	}
	f.head, f.end = max(f.head, w.head), w.expected
	if w.last.time > 0 {
		f.last = w.last
	}
	f.newest = w.newest
	// What a process that was killed had not synced is there, but may not last yet.
	appendable = appendable && w.good > 0 && w.good < segmentSize
	if synced := errors.Join(file.Sync(), files.sync()) == nil; appendable && synced {
		f.file, f.offset, s.good = file, w.good, w.good
		return nil
	}
	return file.Close()
}

// ages gives a segment whose header is damaged the age of the one behind it.
func (f *survey) ages() {
	next := max(f.last.time, f.newest)
	for i := len(f.segments) - 1; i >= 0; i-- {
		if f.segments[i].time == 0 {
			f.segments[i].time = next
		}
		next = f.segments[i].time
	}
}
