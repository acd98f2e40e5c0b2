package capture

import (
	"sync"

	"sightline/pipeline"
)

// Limits of what waits for the decoder. At a camera's usual rate the staleness budget lets much less
// pile up.
const (
	maxWaiting      = 256      // units
	maxWaitingBytes = 32 << 20 // of their encoded pictures
	maxPatient      = 8        // units, when the source waits for the decoder
)

// item is a copy of a unit on its way to the decoder.
type item struct {
	unit     pipeline.Unit
	sequence uint64
	gap      bool // units before it are missing: dropped here, or between two connections
	memory   []byte
}

// queue is between the source, which never waits, and the decoder. When full it drops all that waits,
// and then everything up to the next keyframe, since nothing else could be decoded.
type queue struct {
	drops pipeline.Drops

	mu       sync.Mutex
	waiting  []*item
	bytes    int
	free     []*item
	gap      bool   // something is missing before the next unit that comes
	stuck    bool   // dropping up to the next keyframe
	passed   uint64 // units that were dropped so
	closed   bool
	signal   chan struct{}
	capacity int // units; tests make it small
	// patience is closed when a source that waits for the decoder stops doing so; nil: it never waits.
	patience <-chan struct{}
	room     chan struct{} // tells such a source that something was taken
}

func newQueue(drops pipeline.Drops) *queue {
	return &queue{drops: drops, signal: make(chan struct{}, 1), room: make(chan struct{}, 1), capacity: maxWaiting}
}

// await returns when little waits, for a source that has the patience.
func (q *queue) await() {
	for q.patience != nil {
		q.mu.Lock()
		enough := len(q.waiting) < min(maxPatient, q.capacity) && q.bytes < maxWaitingBytes/2
		enough = enough || q.closed
		q.mu.Unlock()
		if enough {
			return
		}
		select {
		case <-q.room:
		case <-q.patience:
			return
		}
	}
}

// put copies a unit into the queue, or drops it. It waits only for a source that has the patience.
func (q *queue) put(u *pipeline.Unit, sequence uint64) {
	q.await()
	size := 0
	for _, n := range u.NALs {
		size += len(n)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		q.drops.Add(pipeline.DropStopping, 1)
		return
	}
	if len(q.waiting) >= q.capacity || q.bytes+size > maxWaitingBytes {
		q.clear(pipeline.DropBehind)
		q.stuck = true
	}
	if q.stuck && (!u.Keyframe || size > maxWaitingBytes) {
		q.passed++
		q.drops.Add(pipeline.DropAwaitKeyframe, 1)
		return
	}
	it := q.take()
	it.copy(u, size)
	it.sequence, it.gap = sequence, q.gap || q.stuck
	q.gap, q.stuck = false, false
	q.waiting = append(q.waiting, it)
	q.bytes += size
	notify(q.signal)
}

// spare is how many items are kept for use again: what a queue needs that keeps up. After a jam the
// others are given back to memory.
const spare = 8

// keep takes items back, as far as there is use for them. The mutex is held.
func (q *queue) keep(items []*item) {
	q.free = append(q.free, items[:min(len(items), max(0, spare-len(q.free)))]...)
}

// take returns an item that is not in use.
func (q *queue) take() *item {
	if n := len(q.free); n > 0 {
		it := q.free[n-1]
		q.free = q.free[:n-1]
		return it
	}
	return &item{}
}

func (it *item) copy(u *pipeline.Unit, size int) {
	nals := it.unit.NALs[:0]
	if cap(it.memory) < size {
		it.memory = make([]byte, 0, size+size/2)
	}
	it.memory = it.memory[:0]
	for _, n := range u.NALs {
		from := len(it.memory)
		it.memory = append(it.memory, n...)
		nals = append(nals, it.memory[from:len(it.memory):len(it.memory)])
	}
	it.unit = *u
	it.unit.NALs = nals
}

// clear drops all that waits. The mutex is held.
func (q *queue) clear(why pipeline.Reason) {
	q.drops.Add(why, uint64(len(q.waiting)))
	q.keep(q.waiting)
	clear(q.waiting)
	q.waiting, q.bytes = q.waiting[:0], 0
}

// interrupt notes that the next unit does not follow the one before it.
func (q *queue) interrupt() {
	q.mu.Lock()
	q.gap = true
	q.mu.Unlock()
}

// next waits for a unit. It returns nil once the queue is closed and empty. The caller gives the item
// back.
func (q *queue) next() *item {
	for {
		q.mu.Lock()
		if len(q.waiting) > 0 {
			it := q.waiting[0]
			q.waiting = append(q.waiting[:0], q.waiting[1:]...)
			q.bytes -= len(it.memory)
			q.mu.Unlock()
			notify(q.room)
			return it
		}
		closed := q.closed
		q.mu.Unlock()
		if closed {
			return nil
		}
		<-q.signal
	}
}

// length is how many units wait.
func (q *queue) length() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting)
}

// over is how many units were dropped up to a keyframe, after what waited was.
func (q *queue) over() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.passed
}

// catchUp drops what waits before the last keyframe; without one it drops all if all is set, else
// nothing. It tells whether it dropped up to a keyframe or everything.
func (q *queue) catchUp(all bool) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	keep := len(q.waiting) - 1
	for keep >= 0 && !q.waiting[keep].unit.Keyframe {
		keep--
	}
	if keep < 0 {
		if !all {
			return false
		}
		q.clear(pipeline.DropBehind)
		q.stuck = true
		return true
	}
	for _, it := range q.waiting[:keep] {
		q.bytes -= len(it.memory)
	}
	q.drops.Add(pipeline.DropBehind, uint64(keep))
	q.keep(q.waiting[:keep])
	left := copy(q.waiting, q.waiting[keep:])
	clear(q.waiting[left:])
	q.waiting = q.waiting[:left]
	q.waiting[0].gap = true
	return true
}

// release takes an item back.
func (q *queue) release(it *item) {
	q.mu.Lock()
	if len(q.free) < spare {
		q.free = append(q.free, it)
	}
	q.mu.Unlock()
}

// close lets next return nil; what waits is dropped when drop is set, and still handed out when not.
func (q *queue) close(drop bool) {
	q.mu.Lock()
	q.closed = true
	if drop {
		q.clear(pipeline.DropStopping)
	}
	q.mu.Unlock()
	notify(q.signal)
	notify(q.room)
}

func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
