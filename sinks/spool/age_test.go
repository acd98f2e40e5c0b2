package spool

import (
	"testing"
	"time"
)

func TestResultsAgeByTimeThatPassesAndNotByTheClock(t *testing.T) {
	const day = 24 * time.Hour
	for name, c := range map[string]struct {
		happens func(w *world)
		want    int // results left of 10, which may wait for 3 days
	}{
		"two days":                          {func(*world) { time.Sleep(2 * day) }, 10},
		"four days":                         {func(*world) { time.Sleep(4 * day) }, 0},
		"the clock goes ahead":              {func(w *world) { w.clocks.turn(3650*day, true) }, 10},
		"the clock goes back":               {func(w *world) { w.clocks.turn(-3650*day, true) }, 10},
		"the clock goes back for 4 days":    {func(w *world) { w.clocks.turn(-3650*day, true); time.Sleep(4 * day) }, 0},
		"a restart with the clock ahead":    {func(w *world) { w.clocks.turn(3650*day, true); w.reopen() }, 10},
		"a restart with the clock back":     {func(w *world) { w.clocks.turn(-3650*day, true); w.reopen() }, 10},
		"two days with a restart":           {func(w *world) { time.Sleep(day); w.reopen(); time.Sleep(day) }, 10},
		"four days with restarts":           {func(w *world) { w.away(2*day, false); w.away(2*day, false) }, 0},
		"four days off":                     {func(w *world) { w.away(4*day, true) }, 0},
		"two days off, twice":               {func(w *world) { w.away(2*day, true); w.away(2*day, true) }, 0},
		"two days off":                      {func(w *world) { w.away(2*day, true) }, 10},
		"off, and the clock years ahead":    {func(w *world) { w.clocks.turn(3650*day, true); w.away(day, true) }, 10},
		"off, and the clock years back":     {func(w *world) { w.clocks.turn(-3650*day, true); w.away(day, true) }, 10},
		"off without a clock":               {func(w *world) { w.clocks.turn(0, false); w.away(4*day, true) }, 10},
		"off, and the clock comes later":    {func(w *world) { w.offWithLateClock(4 * day) }, 0},
		"written without a clock, then off": {func(w *world) { w.offAfterWrongClock(100 * day) }, 9},
	} {
		t.Run(name, func(t *testing.T) {
			within(t, func(w *world) {
				w.config.MaxAge = 3 * day
				w.open()
				w.putSome(10)
				w.mustSync()
				c.happens(w)
				if got := len(w.q.Peek(100, nil)); got != c.want || (w.losses()[LossAge] != 0) != (c.want == 0) {
					t.Errorf("%d results are left, lost %v; want %d left", got, w.losses(), c.want)
				}
			})
		})
	}
}

// away closes the queue for a while, and the machine too if off is set.
func (w *world) away(d time.Duration, off bool) {
	if err := w.q.Close(); err != nil {
		w.fatal("close: %v", err)
	}
	time.Sleep(d)
	if off {
		w.clocks.restart()
	}
	w.open()
}

// offAfterWrongClock restarts the machine, whose clock was wrong by d and then is right.
func (w *world) offAfterWrongClock(d time.Duration) {
	w.clocks.turn(-d, false)
	w.q.Ack(len(w.q.Peek(1, nil)))
	time.Sleep(2 * time.Second)
	w.away(time.Minute, true)
	w.clocks.turn(d, true)
}

func (w *world) offWithLateClock(d time.Duration) {
	if err := w.q.Close(); err != nil {
		w.fatal("close: %v", err)
	}
	time.Sleep(d)
	w.clocks.restart()
	const wrong = 20 * 365 * 24 * time.Hour
	w.clocks.turn(-wrong, false)
	w.open()
	if got := w.q.Peek(100, nil); len(got) != 10 {
		w.fatal("%d results before the clock is right, want 10", len(got))
	}
	w.q.Ack(0)
	time.Sleep(time.Minute)
	w.clocks.turn(wrong, true)
}

func TestAgeTakesWholeSegmentsWithoutReadingThem(t *testing.T) {
	within(t, func(w *world) {
		w.config.MaxAge = time.Hour
		w.open()
		w.putSome(400)
		w.mustSync()
		time.Sleep(2 * time.Hour)
		w.disk.set(func(d *faultyDisk) { d.noRead = true })
		w.putSome(1)
		if n, _ := w.q.Size(); n > 60 {
			t.Errorf("%d results are left, want those of the last segment", n)
		}
		w.disk.set(func(d *faultyDisk) { d.noRead = false })
		if got := w.q.Peek(10, nil); len(got) != 1 || w.losses()[LossAge] != 400 {
			t.Errorf("%d results, lost %v", len(got), w.losses())
		}
	})
}
