package spool

import (
	"hash/fnv"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// clocks are those around the queue.
type clocks interface {
	// up is the time since the machine started, asleep or not. It never jumps.
	up() time.Duration
	// boot tells one start of the machine from another; zero: unknown.
	boot() uint64
	// wall is the wall clock, and whether somebody, such as NTP, keeps it right.
	wall() (now time.Time, trusted bool)
}

// machine is the clocks of this machine.
type machine struct{}

var _ clocks = machine{}

func (machine) up() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return 0 // there since Linux 2.6.39
	}
	return time.Duration(t.Nano())
}

func (machine) boot() uint64 {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil || len(id) == 0 {
		return 0
	}
	h := fnv.New64a()
	h.Write(id)
	return h.Sum64()
}

func (machine) wall() (time.Time, bool) {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	return time.Now(), err == nil && state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0
}

// timer is the queue's own time, by which results age. It advances with the time since the machine's
// start, which no setting of the wall clock moves, and goes on where it stood when the queue is opened
// again: after a restart of the process by exactly what has passed, after a restart of the machine by
// what the wall clock says has passed, if it was kept right before and is now. As long as it is not,
// the time in between counts as none: a result is rather kept too long than lost to a wrong clock.
type timer struct {
	clocks clocks

	base    int64 // milliseconds when it began
	began   time.Duration
	boot    uint64
	waiting bool  // for a wall clock that can be trusted
	last    stamp // the last one before the machine started again
}

// longestRest is the longest time between two starts that is believed.
const longestRest = 366 * 24 * time.Hour

// begin starts the time from nothing.
func (t *timer) begin(c clocks) {
	now, _ := c.wall()
	*t = timer{clocks: c, base: max(0, now.UnixMilli()), began: c.up(), boot: c.boot()}
}

// resume goes on from a stamp that was written at some time before.
func (t *timer) resume(c clocks, last stamp) {
	*t = timer{clocks: c, base: last.time, began: c.up(), boot: c.boot(), last: last}
	if rest := t.began.Milliseconds() - last.up; last.boot != 0 && last.boot == t.boot && rest >= 0 {
		t.base += rest
		return
	}
	t.waiting = last.trusted
	t.settle()
}

// settle counts the time that the machine was off, as soon as that is known.
func (t *timer) settle() {
	if !t.waiting {
		return
	}
	now, trusted := t.clocks.wall()
	if !trusted {
		return
	}
	t.waiting = false
	rest := time.Duration(now.UnixMilli()-t.last.wall)*time.Millisecond - (t.clocks.up() - t.began)
	if rest > 0 && rest <= longestRest {
		t.base += rest.Milliseconds()
	}
}

// now is the queue's time in milliseconds.
func (t *timer) now() int64 {
	t.settle()
	return t.base + (t.clocks.up() - t.began).Milliseconds()
}

// stamp ties the queue's time to the clocks.
func (t *timer) stamp() stamp {
	at := t.now()
	wall, trusted := t.clocks.wall()
	return stamp{time: at, wall: wall.UnixMilli(), up: t.clocks.up().Milliseconds(), boot: t.boot, trusted: trusted}
}
