package spool

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sightline/sinks"
	"sightline/sinks/sinktest"
)

// within runs a test in a world with a clock of its own.
func within(t *testing.T, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		defer func() {
			if w.q != nil {
				w.q.Close()
			}
		}()
		test(w)
	})
}

// start opens the queue of a world whose syncs take a while.
func (w *world) start(sync time.Duration) {
	w.open()
	w.disk.set(func(d *faultyDisk) { d.slow = sync })
}

func (w *world) mustSync() {
	w.t.Helper()
	if err := w.q.Sync(w.t.Context()); err != nil {
		w.fatal("sync: %v", err)
	}
}

func TestLoneResultIsSafeAfterTheDelayAndOneSync(t *testing.T) {
	within(t, func(w *world) {
		w.start(20 * time.Millisecond)
		for range 3 {
			time.Sleep(time.Minute)
			put := time.Now()
			w.putSome(1)
			w.mustSync()
			if took := time.Since(put); took != 25*time.Millisecond {
				t.Errorf("safe after %v, want 5 ms of delay and 20 ms of the disk", took)
			}
		}
		if w.disk.syncs != 3 {
			t.Errorf("%d syncs, want 3", w.disk.syncs)
		}
	})
}

func TestResultsShareASync(t *testing.T) {
	within(t, func(w *world) {
		w.config.MaxBytes = 64 << 20
		w.start(100 * time.Millisecond)
		for range 1000 {
			w.putSome(1)
			time.Sleep(time.Millisecond)
		}
		w.mustSync()
		if w.disk.syncs > 12 {
			t.Errorf("%d syncs for 1000 results in a second on a disk that does 10 a second", w.disk.syncs)
		}
	})
}

func TestManyBytesDoNotWaitForTheDelay(t *testing.T) {
	within(t, func(w *world) {
		w.config.MaxBytes = 64 << 20
		w.delay = time.Hour
		w.open()
		w.putSome(commitBytes / 500)
		time.Sleep(time.Second)
		if w.disk.syncs != 1 {
			t.Errorf("%d syncs, want 1", w.disk.syncs)
		}
	})
}

func TestWhatIsAcknowledgedSoonIsNeverWritten(t *testing.T) {
	within(t, func(w *world) {
		w.delay = 100 * time.Millisecond
		w.open()
		for range 50 {
			w.putSome(2)
			time.Sleep(30 * time.Millisecond)
			w.q.Ack(len(w.q.Peek(64, nil)))
			w.mustSync() // at once, for they are delivered
		}
		time.Sleep(time.Minute)
		if w.disk.written != 0 {
			t.Errorf("%d bytes were written", w.disk.written)
		}
	})
}

func TestResultIsHandedOutBeforeItIsSafe(t *testing.T) {
	within(t, func(w *world) {
		w.start(time.Hour)
		w.putSome(3)
		time.Sleep(time.Second)
		if got := w.q.Peek(10, nil); len(got) != 3 {
			t.Errorf("%d handed out while the disk is busy, want 3", len(got))
		}
		w.disk.set(func(d *faultyDisk) { d.slow = 0 })
	})
}

func TestSyncEndsWithItsContextAndWithTheQueue(t *testing.T) {
	within(t, func(w *world) {
		w.delay = time.Hour
		w.open()
		w.putSome(1)
		ctx, cancel := context.WithTimeout(w.t.Context(), time.Second)
		defer cancel()
		if err := w.q.Sync(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want that of the context", err)
		}
		done := make(chan error)
		go func() { done <- w.q.Sync(w.t.Context()) }()
		synctest.Wait()
		if err := w.q.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Errorf("error %v, though Close has written it", err)
		}
		if err := w.q.Put(sinktest.Result("gate", 9, "car")); !errors.Is(err, errNotOpen) {
			t.Errorf("put behind Close: error %v", err)
		}
	})
}

func TestAcknowledgementIsWrittenWithinASecondWithoutASync(t *testing.T) {
	within(t, func(w *world) {
		w.open()
		w.putSome(10)
		w.mustSync()
		syncs := w.disk.syncs
		for range 10 {
			w.q.Peek(1, nil)
			w.q.Ack(1)
			time.Sleep(50 * time.Millisecond)
		}
		time.Sleep(time.Second)
		if w.disk.syncs != syncs {
			t.Errorf("%d syncs for acknowledgements", w.disk.syncs-syncs)
		}
		w.die(false)
		w.open()
		if n, _ := w.q.Size(); n != 0 {
			t.Errorf("%d results are back after a kill", n)
		}
	})
}

// states collects what State is told.
func (w *world) states() *[]string {
	list := &[]string{}
	w.q.State = func(err error) {
		if err == nil {
			err = errors.New("well")
		}
		*list = append(*list, err.Error())
	}
	return list
}

func TestDiskThatDoesNotTakeResultsIsSaidAndTriedAgain(t *testing.T) {
	for name, c := range map[string]struct {
		break_, mend func(*faultyDisk)
		want         string
	}{
		"full":      {func(d *faultyDisk) { d.full = d.size() + 1 }, func(d *faultyDisk) { d.full = 0 }, "no space left on device"},
		"read-only": {func(d *faultyDisk) { d.readOnly = true }, func(d *faultyDisk) { d.readOnly = false }, "read-only file system"},
		"failing":   {func(d *faultyDisk) { d.noSync = 1 << 30 }, func(d *faultyDisk) { d.noSync = 0 }, "input/output error"},
	} {
		t.Run(name, func(t *testing.T) {
			within(t, func(w *world) {
				w.open()
				states := w.states()
				w.putSome(3)
				w.mustSync()
				w.disk.set(c.break_)
				for range 100 {
					w.putSome(1)
					if err := w.q.Sync(w.t.Context()); err != nil && !strings.Contains(err.Error(), c.want) {
						t.Errorf("sync: %v", err)
					}
					time.Sleep(time.Minute)
				}
				if got := w.q.Peek(200, nil); len(got) != 103 {
					t.Errorf("%d results are handed out, want 103", len(got))
				}
				w.q.Ack(0)
				w.disk.set(c.mend)
				time.Sleep(10 * time.Second)
				w.mustSync()
				if len(*states) > 4 || len(*states) < 2 || !strings.Contains((*states)[0], c.want) || (*states)[len(*states)-1] != "well" {
					t.Errorf("told %q", *states)
				}
				w.die(true)
				w.open()
				if n, _ := w.q.Size(); n != 103 {
					t.Errorf("%d results after a power cut, want 103", n)
				}
			})
		})
	}
}

func TestBrokenDiskIsNotedAndMendedWithoutNewResults(t *testing.T) {
	within(t, func(w *world) {
		w.open()
		states := w.states()
		w.disk.set(func(d *faultyDisk) { d.readOnly = true })
		w.putSome(1)
		time.Sleep(time.Second)
		w.q.Ack(len(w.q.Peek(1, nil)))
		w.disk.set(func(d *faultyDisk) { d.readOnly = false })
		time.Sleep(10 * time.Second)
		if len(*states) != 2 || (*states)[1] != "well" {
			t.Errorf("told %q", *states)
		}
	})
}

func TestMemoryForABrokenDiskIsBounded(t *testing.T) {
	for _, full := range []string{sinks.DropOldest, sinks.RejectNew} {
		within(t, func(w *world) {
			w.config.Full = full
			const size = 800 // about that of one
			w.memory = 20 * size
			w.open()
			w.putSome(1)
			w.disk.set(func(d *faultyDisk) { d.readOnly = true })
			w.putSome(99)
			got := w.q.Peek(200, nil)
			if len(got) < 15 || len(got)+w.lost[LossFull] != 100 || got[0].Result.Sequence != 1 && full == sinks.RejectNew || (got[len(got)-1].Result.Sequence == 100) != (full == sinks.DropOldest) {
				t.Errorf("%s: %d results from %d to %d, lost %v", full, len(got), got[0].Result.Sequence, got[len(got)-1].Result.Sequence, w.lost)
			}
			w.disk.set(func(d *faultyDisk) { d.readOnly = false })
		})
	}
}

func TestDiskFilledByOthersKeepsTheNewest(t *testing.T) {
	within(t, func(w *world) {
		w.memory = 40 << 10
		w.open()
		for range 30 {
			w.putSome(10)
			w.mustSync()
		}
		w.disk.set(func(d *faultyDisk) { d.full = d.size() })
		for range 300 {
			w.putSome(1)
			time.Sleep(time.Second)
		}
		w.disk.set(func(d *faultyDisk) { d.full = 0 })
		time.Sleep(time.Minute)
		w.mustSync()
		got := w.q.Peek(1000, nil)
		if last := got[len(got)-1].Result.Sequence; last != 600 || len(got)+w.lost[LossFull] != 600 {
			t.Errorf("%d results up to %d, lost %v", len(got), last, w.lost)
		}
		if w.lost[LossFull] > 330 {
			t.Errorf("lost %v, more than the new ones needed", w.lost)
		}
	})
}

func TestFolderThatCannotBeMadeYet(t *testing.T) {
	within(t, func(w *world) {
		w.disk.missing = true
		w.open()
		states := w.states()
		w.putSome(5)
		if err := w.q.Sync(w.t.Context()); err == nil || !strings.Contains(err.Error(), "cannot be made") {
			t.Errorf("sync: %v", err)
		}
		if got := w.q.Peek(10, nil); len(got) != 5 {
			t.Errorf("%d results handed out", len(got))
		}
		w.q.Ack(2)
		w.disk.set(func(d *faultyDisk) { d.missing = false })
		time.Sleep(time.Minute)
		w.mustSync()
		w.die(true)
		w.open()
		if n, _ := w.q.Size(); n != 3 || len(*states) != 1 {
			t.Errorf("%d results, told %q; want 3", n, *states)
		}
	})
}

func TestDiskThatCannotBeReadForAMomentKeepsTheOrder(t *testing.T) {
	within(t, func(w *world) {
		w.open()
		w.putSome(100)
		w.reopen()
		states := w.states()
		w.putSome(5)
		w.disk.set(func(d *faultyDisk) { d.noRead = true })
		if got := w.q.Peek(10, nil); len(got) != 0 {
			t.Errorf("%d results overtook those on disk", len(got))
		}
		time.Sleep(30 * time.Second)
		w.disk.set(func(d *faultyDisk) { d.noRead = false })
		w.drain()
		if len(w.delivered) != 105 || len(*states) != 2 || (*states)[1] != "well" {
			t.Errorf("%d results were delivered, told %q", len(w.delivered), *states)
		}
	})
}

func TestDiskThatCannotBeReadHoldsUpNoLongerThanAMinute(t *testing.T) {
	within(t, func(w *world) {
		w.open()
		w.putSome(100)
		w.reopen()
		told := 0
		w.q.Damaged = func(d Damage) { told += d.Results }
		w.putSome(5)
		w.disk.set(func(d *faultyDisk) { d.noRead = true })
		for i := 0; len(w.q.Peek(10, nil)) == 0; i++ {
			if i > 400 {
				w.fatal("nothing is handed out")
			}
			w.q.Ack(0)
			time.Sleep(time.Second)
		}
		w.drain()
		if len(w.delivered) != 5 || w.lost[LossDamaged] != 100 || told != 100 {
			t.Errorf("%d delivered, lost %v, told of %d; want the 5 new ones and 100 lost", len(w.delivered), w.lost, told)
		}
	})
}

func TestFullSpoolLetsGoByItsPolicy(t *testing.T) {
	for full, first := range map[string]bool{sinks.DropOldest: false, sinks.RejectNew: true} {
		within(t, func(w *world) {
			w.config.MaxBytes, w.config.Full = 64<<10, full
			w.open()
			for range 300 {
				w.putSome(1)
				w.mustSync()
			}
			w.ledger()
			got := w.q.Peek(300, nil)
			w.q.Ack(0)
			if len(got) < 40 || (got[0].Result.Sequence == 1) != first || (got[len(got)-1].Result.Sequence == 300) == first {
				t.Errorf("%s: %d results from %d to %d", full, len(got), got[0].Result.Sequence, got[len(got)-1].Result.Sequence)
			}
			if w.disk.most > 64<<10 {
				t.Errorf("%s: %d bytes were on disk", full, w.disk.most)
			}
		})
	}
}

func TestResultsAgeByTimeThatPassesAndNotByTheClock(t *testing.T) {
	const day = 24 * time.Hour
	for name, c := range map[string]struct {
		happens func(w *world)
		want    int // results left of 10, which may wait for 3 days
	}{
		"two days":                          {func(*world) { time.Sleep(2 * day) }, 10},
		"four days":                         {func(*world) { time.Sleep(4 * day) }, 0},
		"the clock goes ahead":              {func(w *world) { w.clocks.offset += 3650 * day }, 10},
		"the clock goes back":               {func(w *world) { w.clocks.offset -= 3650 * day }, 10},
		"the clock goes back for 4 days":    {func(w *world) { w.clocks.offset -= 3650 * day; time.Sleep(4 * day) }, 0},
		"a restart with the clock ahead":    {func(w *world) { w.clocks.offset += 3650 * day; w.reopen() }, 10},
		"a restart with the clock back":     {func(w *world) { w.clocks.offset -= 3650 * day; w.reopen() }, 10},
		"two days with a restart":           {func(w *world) { time.Sleep(day); w.reopen(); time.Sleep(day) }, 10},
		"four days with restarts":           {func(w *world) { w.away(2*day, false); w.away(2*day, false) }, 0},
		"four days off":                     {func(w *world) { w.away(4*day, true) }, 0},
		"two days off, twice":               {func(w *world) { w.away(2*day, true); w.away(2*day, true) }, 0},
		"two days off":                      {func(w *world) { w.away(2*day, true) }, 10},
		"off, and the clock years ahead":    {func(w *world) { w.clocks.offset += 3650 * day; w.away(day, true) }, 10},
		"off, and the clock years back":     {func(w *world) { w.clocks.offset -= 3650 * day; w.away(day, true) }, 10},
		"off without a clock":               {func(w *world) { w.clocks.kept = false; w.away(4*day, true) }, 10},
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
				if got := len(w.q.Peek(100, nil)); got != c.want || (w.lost[LossAge] != 0) != (c.want == 0) {
					t.Errorf("%d results are left, lost %v; want %d left", got, w.lost, c.want)
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
	w.clocks.kept, w.clocks.offset = false, -d
	w.q.Ack(len(w.q.Peek(1, nil)))
	time.Sleep(2 * time.Second)
	w.away(time.Minute, true)
	w.clocks.kept, w.clocks.offset = true, 0
}

func (w *world) offWithLateClock(d time.Duration) {
	if err := w.q.Close(); err != nil {
		w.fatal("close: %v", err)
	}
	time.Sleep(d)
	w.clocks.restart()
	w.clocks.kept = false
	offset := w.clocks.offset
	w.clocks.offset = -20 * 365 * 24 * time.Hour
	w.open()
	if got := w.q.Peek(100, nil); len(got) != 10 {
		w.fatal("%d results before the clock is right, want 10", len(got))
	}
	w.q.Ack(0)
	time.Sleep(time.Minute)
	w.clocks.offset, w.clocks.kept = offset, true
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
		if got := w.q.Peek(10, nil); len(got) != 1 || w.lost[LossAge] != 400 {
			t.Errorf("%d results, lost %v", len(got), w.lost)
		}
	})
}
