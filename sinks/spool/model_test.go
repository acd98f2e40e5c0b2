package spool

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sightline/sinks"
	"sightline/sinks/sinktest"
)

// world is a queue, the disk below it, and what a test knows of both.
type world struct {
	t      *testing.T
	random *rand.Rand
	disk   *faultyDisk
	clocks *fakeClocks
	config sinks.Spool
	memory int64
	delay  time.Duration
	q      *Disk

	put       uint64          // numbers 1 to put were put
	since     uint64          // the first of them in this life
	taken     map[uint64]bool // Sync said that they are safe
	delivered map[uint64]bool // acknowledged
	done      map[uint64]bool // and may not come again, for the process was not killed since
	life      int             // number of this life
	newest    uint64          // delivered in this life
	story     []string        // what was done

	mu      sync.Mutex
	lost    map[Loss]int // in this life
	missing int          // results that Damaged was told of
	told    []string     // what State was told
}

func (w *world) losses() map[Loss]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.lost)
}

func (w *world) damaged() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.missing
}

func newWorld(t *testing.T, seed uint64) *world {
	return &world{
		t: t, random: rand.New(rand.NewPCG(seed, 2)), disk: newFaultyDisk(seed), clocks: newFakeClocks(),
		config: sinks.Spool{MaxBytes: 1 << 20, MaxAge: 1000 * time.Hour, Full: sinks.DropOldest},
		taken:  map[uint64]bool{}, delivered: map[uint64]bool{}, done: map[uint64]bool{}, lost: map[Loss]int{},
	}
}

func (w *world) open() {
	w.t.Helper()
	w.disk.set(func(d *faultyDisk) { d.slow = time.Duration(w.random.IntN(3)*w.random.IntN(10)) * time.Millisecond })
	w.q = &Disk{
		Config: w.config, Memory: w.memory, Delay: w.delay, enter: w.disk.enter, clocks: w.clocks,
		Lost: func(why Loss, n int) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.lost[why] += n
		},
		Damaged: func(d Damage) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.missing += d.Results
		},
		State: func(err error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			if err == nil {
				err = errors.New("well")
			}
			w.told = append(w.told, err.Error())
		},
	}
	w.newest, w.since = 0, w.put+1
	w.disk.set(func(d *faultyDisk) { w.life = d.life })
	if err := w.q.Open(); err != nil {
		w.fatal("open: %v", err)
	}
}

func (w *world) fatal(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("%s\nafter %v\n%v", fmt.Sprintf(format, args...), w.story, w.disk)
}

func (w *world) tell(format string, args ...any) {
	w.story = append(w.story, fmt.Sprintf(format, args...))
}

func (w *world) putSome(n int) {
	w.tell("put %d", n)
	for range n {
		w.put++
		m := sinktest.Message([]string{"gate", "yard"}[w.random.IntN(2)], w.put, "car")
		if err := w.q.Put(m); err != nil {
			w.fatal("put: %v", err)
		}
	}
}

// sync waits for a moment until all is safe.
func (w *world) sync() {
	ctx, cancel := context.WithTimeout(w.t.Context(), 5*time.Second)
	defer cancel()
	err := w.q.Sync(ctx)
	w.tell("sync %v", err)
	if err == nil {
		w.take()
	}
}

// take takes note that everything put in this life is safe.
func (w *world) take() {
	for i := w.since; i <= w.put; i++ {
		w.taken[i] = true
	}
}

// deliver takes up to n and acknowledges some of them.
func (w *world) deliver(n int) (got int) {
	w.t.Helper()
	batch := w.q.Peek(n, nil)
	accept := w.random.IntN(len(batch) + 1)
	if n > 1000 {
		accept = len(batch)
	}
	w.tell("peek %d of %d, accept %d", len(batch), n, accept)
	last := w.newest
	for i, m := range batch {
		number := m.Result.Sequence
		if number <= last {
			w.fatal("%d comes after %d", number, last)
		}
		last = number
		if w.done[number] {
			w.fatal("%d comes again", number)
		}
		if i < accept {
			w.delivered[number], w.done[number], w.newest = true, true, number // as of Ack
		}
	}
	if n <= 1000 {
		w.meanwhile()
	}
	w.q.Ack(accept)
	return len(batch)
}

// meanwhile is what happens while a batch is on its way.
func (w *world) meanwhile() {
	if w.random.IntN(3) == 0 {
		w.putSome(1 + w.random.IntN(60))
	}
	if w.random.IntN(2) == 0 {
		time.Sleep(time.Duration(w.random.IntN(20)) * time.Millisecond)
	}
}

// die ends the queue as a process ends that is killed.
func (w *world) die(power bool) {
	w.tell("die, power %v", power)
	w.disk.set(func(d *faultyDisk) { d.kill() })
	_ = w.q.Close() // ends its goroutine; nothing of it reaches the disk
	if power {
		w.disk.cut()
		w.clocks.restart()
	}
	clear(w.done)
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.lost)
}

func (w *world) reopen() {
	w.disk.set(func(d *faultyDisk) { d.left, d.full, d.readOnly, d.noSync = -1, 0, false, 0 })
	if w.killed() {
		return
	}
	w.tell("close")
	if err := w.q.Close(); err != nil {
		w.fatal("close: %v", err)
	}
	w.take() // or else Close would have said so
	w.open()
}

// killed tells whether the disk has killed the process.
func (w *world) killed() bool {
	w.disk.mu.Lock()
	defer w.disk.mu.Unlock()
	return w.disk.life != w.life
}

// weather changes what the disk does.
func (w *world) weather() {
	w.disk.set(func(d *faultyDisk) {
		switch w.random.IntN(6) {
		case 0:
			d.full = d.size() + int64(w.random.IntN(8000))
			w.tell("full at %d", d.full)
		case 1:
			d.readOnly = true
			w.tell("read-only")
		case 2:
			d.noSync = 1 + w.random.IntN(3)
			w.tell("%d syncs fail", d.noSync)
		default:
			d.full, d.readOnly = 0, false
			w.tell("disk is well")
		}
	})
}

// settled waits until the disk has been well for long enough to be tried again.
func (w *world) settled() {
	w.disk.set(func(d *faultyDisk) { d.left, d.full, d.readOnly, d.noSync = -1, 0, false, 0 })
	time.Sleep(time.Minute)
}

// drain delivers everything.
func (w *world) drain() {
	w.t.Helper()
	for w.deliver(1001) > 0 {
	}
	if n, bytes := w.q.Size(); n != 0 || bytes != 0 {
		w.fatal("%d results, %d bytes wait after all were delivered", n, bytes)
	}
}

func (w *world) step() {
	switch w.random.IntN(12) {
	case 0, 1, 2:
		w.putSome(1 + w.random.IntN(30))
	case 3, 4:
		w.sync()
	case 5, 6, 7:
		w.deliver(1 + w.random.IntN(64))
	case 8:
		time.Sleep(time.Duration(w.random.IntN(3000)) * time.Millisecond)
	case 9:
		w.weather()
	case 10:
		w.disk.set(func(d *faultyDisk) { d.left = 1 + w.random.IntN(12) })
		w.tell("kill soon")
	case 11:
		if w.random.IntN(3) == 0 {
			w.reopen()
		} else {
			w.die(w.random.IntN(2) == 0)
			w.open()
		}
	}
	if w.killed() {
		w.die(false)
		w.open()
	}
}

// Whatever happens, what was taken is delivered, in order, and what was delivered comes again only
// after an end that nobody could prepare for.
func TestNothingTakenIsLost(t *testing.T) {
	for seed := range uint64(seeds(120)) {
		if !t.Run(fmt.Sprint(seed), func(t *testing.T) { synctest.Test(t, func(t *testing.T) { nothingTakenIsLost(t, seed) }) }) {
			return
		}
	}
}

// FuzzLife is TestNothingTakenIsLost for as long as one likes.
func FuzzLife(f *testing.F) {
	f.Add(uint64(1000))
	f.Fuzz(func(t *testing.T, seed uint64) {
		synctest.Test(t, func(t *testing.T) { nothingTakenIsLost(t, seed) })
	})
}

func nothingTakenIsLost(t *testing.T, seed uint64) {
	w := newWorld(t, seed)
	w.open()
	defer func() { w.q.Close() }()
	for range 120 {
		w.step()
	}
	w.settled()
	w.sync()
	if lost := w.losses(); lost[LossFull]+lost[LossAge] > 0 {
		w.fatal("lost %v", lost)
	}
	w.drain()
	w.reopen()
	if n := w.deliver(10); n != 0 {
		w.fatal("%d come after all were delivered", n)
	}
	if err := w.q.Close(); err != nil {
		w.fatal("close: %v", err)
	}
	var missing []uint64
	for i := range w.taken {
		if !w.delivered[i] {
			missing = append(missing, i)
		}
	}
	slices.Sort(missing)
	if len(missing) > 0 {
		w.fatal("never delivered: %v", missing)
	}
}

func seeds(n int) int {
	if testing.Short() {
		return n / 10
	}
	return n
}

// ledger holds the queue to: put = delivered + waiting + lost.
func (w *world) ledger() {
	w.t.Helper()
	waiting, _ := w.q.Size()
	lost := 0
	for _, n := range w.losses() {
		lost += n
	}
	if got := len(w.delivered) + waiting + lost; got != int(w.put) {
		w.fatal("%d delivered, %d waiting and lost %v are %d, of %d put", len(w.delivered), waiting, w.losses(), got, w.put)
	}
}

// As long as the process lives, each result is delivered, waits, or is counted as lost, and the disk
// holds no more than it may.
func TestEachResultIsAccountedForWithinTheLimits(t *testing.T) {
	for seed := range uint64(seeds(60)) {
		if !t.Run(fmt.Sprint(seed), func(t *testing.T) { synctest.Test(t, func(t *testing.T) { accountedFor(t, seed) }) }) {
			return
		}
	}
}

func accountedFor(t *testing.T, seed uint64) {
	w := newWorld(t, seed)
	w.config = sinks.Spool{MaxBytes: 64 << 10, MaxAge: 20 * time.Second, Full: sinks.DropOldest}
	w.memory = 20 << 10
	if seed%2 == 1 {
		w.config.Full = sinks.RejectNew
	}
	w.open()
	defer func() { w.q.Close() }()
	for range 150 {
		switch w.random.IntN(10) {
		case 0, 1, 2, 3:
			w.putSome(1 + w.random.IntN(60))
		case 4, 5, 6:
			w.deliver(1 + w.random.IntN(64))
		case 7:
			w.sync()
		case 8:
			time.Sleep(time.Duration(w.random.IntN(6000)) * time.Millisecond)
		case 9:
			w.weather()
		}
		w.ledger()
	}
	w.settled()
	w.drain()
	w.ledger()
	if _, _, most := w.disk.count(); most > int64(w.config.MaxBytes) {
		w.fatal("%d bytes were on disk, of %d allowed", most, w.config.MaxBytes)
	}
}
