package spool

import "sightline/sinks"

// stored is the position of the first record that is in memory.
func (d *Disk) stored() uint64 { return d.journal.end - uint64(d.safe.length) }

// advance makes position to the head, and forgets what is before it.
func (d *Disk) advance(to uint64) {
	d.journal.advance(to)
	for d.safe.length > 0 && d.stored() < d.journal.head {
		d.evict()
	}
	n := 0
	for n < len(d.window) && d.window[n].position < d.journal.head {
		n++
	}
	d.window = d.window[n:]
	if len(d.journal.dead) > 0 || d.journal.behind() {
		signal(d.wake)
	}
}

// evict forgets the oldest that is in memory beside the disk.
func (d *Disk) evict() {
	e := d.safe.pop()
	d.bytes.safe -= e.size()
	d.release(e)
}

// pop is done with the oldest result.
func (d *Disk) pop() {
	if d.journal.head < d.journal.end {
		d.advance(d.journal.head + 1)
		return
	}
	if d.writing > 0 {
		d.writing--
		d.gone++
	}
	d.drop(0)
}

// drop takes result i of those that are not safe away.
func (d *Disk) drop(i int) {
	e := d.open.remove(i)
	d.bytes.open -= e.size()
	d.release(e)
	if i == 0 {
		d.notify()
	}
}

// oldest returns the oldest result, if it is in memory.
func (d *Disk) oldest() *entry {
	switch {
	case d.journal.head < d.stored():
		if len(d.window) > 0 {
			return &d.window[0]
		}
		return nil
	case d.safe.length > 0:
		return d.safe.at(0)
	case d.open.length > 0:
		return d.open.at(0)
	}
	return nil
}

// dropSegment lets everything in the oldest segment go. What of it is handed out is lost only when it
// is not acknowledged.
func (d *Disk) dropSegment(why Loss) {
	end := d.journal.endOf(0)
	n := d.journal.live(0, end)
	handedOut := min(n, d.flying-d.condemned)
	d.condemned += handedOut
	d.lose(why, n-handedOut)
	d.advance(end)
}

// expire lets go what is too old. Results age in order, so the oldest decides.
func (d *Disk) expire(now int64) {
	limit := d.Config.MaxAge.Milliseconds()
	if limit <= 0 {
		return
	}
	for len(d.journal.segments) > 1 && now-d.journal.segments[1].time > limit {
		d.dropSegment(LossAge)
	}
	lost := 0
	for d.flying == d.condemned {
		e := d.oldest()
		if e == nil || now-e.time <= limit {
			break
		}
		d.pop()
		lost++
	}
	d.lose(LossAge, lost)
}

// makeRoom tells whether a result of this size may come in, after letting go what the policy lets go
// for it.
func (d *Disk) makeRoom(size int64) bool {
	for d.bytes.open+size > d.room {
		if d.Config.Full == sinks.RejectNew || !d.dropOpen() {
			return false
		}
	}
	for d.journal.size+d.bytes.open+size+slack > int64(d.Config.MaxBytes) {
		if d.Config.Full == sinks.RejectNew || !d.dropOldest() {
			return false
		}
	}
	return true
}

// dropOldest lets go the oldest results that free room on disk, or failing that in memory.
func (d *Disk) dropOldest() bool {
	segments := d.journal.segments
	if len(segments) == 1 && !d.busy {
		segments[0].sealed = true
	}
	if len(segments) > 1 || len(segments) == 1 && segments[0].sealed {
		d.dropSegment(LossFull)
		return true
	}
	return d.dropOpen()
}

// dropOpen lets go the oldest result in memory that is neither being written nor handed out.
func (d *Disk) dropOpen() bool {
	handedOut := d.flying - d.condemned - d.journal.live(0, d.journal.end)
	i := max(d.writing, handedOut, 0)
	if i >= d.open.length {
		return false
	}
	d.drop(i)
	d.lose(LossFull, 1)
	return true
}

// Ack removes the n oldest of what Peek returned.
func (d *Disk) Ack(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n > d.flying {
		panic("spool: more acknowledged than handed out")
	}
	d.land(n)
}

// land ends what Peek began: n are acknowledged.
func (d *Disk) land(n int) {
	for range n - d.condemned {
		d.pop()
	}
	d.lose(LossFull, max(0, d.condemned-n))
	d.flying, d.condemned = 0, 0
}
