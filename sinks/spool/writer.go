package spool

import "time"

const (
	// commitBytes is how much waits at most before it is written without further delay.
	commitBytes = 256 << 10
	// markDelay is how long an acknowledgement waits for a result to be written with.
	markDelay = time.Second
	// A group smaller than roomBelow is written with roomAhead bytes of zeros behind it: overwriting
	// them later costs the disk a block, while making a file longer costs it several more.
	roomBelow = 16 << 10
	roomAhead = 64 << 10

	segmentMost  = 4 << 20
	segmentLeast = 4 << 10
	segmentShare = 32 // segments in a full queue
)

// writer is what only the goroutine that writes uses.
type writer struct {
	file    file // of the last segment; nil: a new one is to be made
	segment *segment
	offset  int64 // where the next line goes
	room    int64 // where the file ends
	buffer  []byte
	tries   int       // that ended with an error, in a row
	next    time.Time // not before that is the disk tried again
	dirty   time.Time // when the head was first seen ahead of the mark; zero: it is not
}

// run writes until Close.
func (d *Disk) run(ended chan struct{}) {
	defer close(ended)
	alarm := time.NewTimer(0)
	defer alarm.Stop()
	for {
		now := time.Now()
		at, closing := d.due(now)
		if closing {
			d.commit(now)
			d.drain()
			return
		}
		if !at.IsZero() && !at.After(now) {
			d.commit(now)
			continue
		}
		if at.IsZero() {
			alarm.Stop()
		} else {
			alarm.Reset(at.Sub(now))
		}
		select {
		case <-alarm.C:
		case <-d.wake:
		}
	}
}

// drain writes what is left at the end, as long as the disk takes it, and closes the file.
func (d *Disk) drain() {
	for {
		d.mu.Lock()
		more := d.open.length > 0 && d.trouble == nil
		d.mu.Unlock()
		if !more {
			break
		}
		d.commit(time.Now())
	}
	if d.writer.file != nil {
		_ = d.writer.file.Close() // all that counts was synced
		d.writer.file = nil
	}
}

// due says when there is something to write; the zero time: not for now.
func (d *Disk) due(now time.Time) (at time.Time, closing bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	w := &d.writer
	switch {
	case !d.journal.behind():
		w.dirty = time.Time{}
	case w.dirty.IsZero():
		w.dirty = now
	}
	switch {
	case d.closing:
		return now, true
	case d.trouble != nil:
		return w.next, false
	case d.bytes.open >= commitBytes || len(d.journal.dead) > 0:
		return now, false
	}
	if d.open.length > 0 {
		at = d.open.at(0).came.Add(max(0, d.Delay))
	}
	if mark := w.dirty.Add(markDelay); !w.dirty.IsZero() && (at.IsZero() || mark.Before(at)) {
		at = mark
	}
	return at, false
}

// commit writes what waits, as one group.
func (d *Disk) commit(now time.Time) {
	if err := d.arrive(); err != nil {
		d.finish(group{}, err, now)
		return
	}
	g := d.gather(now)
	err := d.write(&g)
	d.finish(g, err, now)
}

// arrive enters the folder if that could not be done before.
func (d *Disk) arrive() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.files != nil {
		return nil
	}
	return d.load()
}
