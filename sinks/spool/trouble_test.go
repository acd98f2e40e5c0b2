package spool

import (
	"slices"
	"strings"
	"testing"
	"time"

	"sightline/sinks"
)

// states is what State was told.
func (w *world) states() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.told)
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
				if states := w.states(); len(states) > 4 || len(states) < 2 || !strings.Contains(states[0], c.want) || states[len(states)-1] != "well" {
					t.Errorf("told %q", states)
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
		w.disk.set(func(d *faultyDisk) { d.readOnly = true })
		w.putSome(1)
		time.Sleep(time.Second)
		w.q.Ack(len(w.q.Peek(1, nil)))
		w.disk.set(func(d *faultyDisk) { d.readOnly = false })
		time.Sleep(10 * time.Second)
		if states := w.states(); len(states) != 2 || states[1] != "well" {
			t.Errorf("told %q", states)
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
			if len(got) < 15 || len(got)+w.losses()[LossFull] != 100 || got[0].Result.Sequence != 1 && full == sinks.RejectNew || (got[len(got)-1].Result.Sequence == 100) != (full == sinks.DropOldest) {
				t.Errorf("%s: %d results from %d to %d, lost %v", full, len(got), got[0].Result.Sequence, got[len(got)-1].Result.Sequence, w.losses())
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
		if last := got[len(got)-1].Result.Sequence; last != 600 || len(got)+w.losses()[LossFull] != 600 {
			t.Errorf("%d results up to %d, lost %v", len(got), last, w.losses())
		}
		if w.losses()[LossFull] > 330 {
			t.Errorf("lost %v, more than the new ones needed", w.losses())
		}
	})
}

func TestFolderThatCannotBeMadeYet(t *testing.T) {
	within(t, func(w *world) {
		w.disk.set(func(d *faultyDisk) { d.missing = true })
		w.open()
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
		states := w.states()
		if n, _ := w.q.Size(); n != 3 || len(states) != 2 {
			t.Errorf("%d results, told %q; want 3", n, states)
		}
	})
}

func TestDiskThatCannotBeReadForAMomentKeepsTheOrder(t *testing.T) {
	within(t, func(w *world) {
		w.open()
		w.putSome(100)
		w.reopen()
		w.putSome(5)
		w.disk.set(func(d *faultyDisk) { d.noRead = true })
		if got := w.q.Peek(10, nil); len(got) != 0 {
			t.Errorf("%d results overtook those on disk", len(got))
		}
		time.Sleep(30 * time.Second)
		w.disk.set(func(d *faultyDisk) { d.noRead = false })
		w.drain()
		if states := w.states(); len(w.delivered) != 105 || len(states) != 2 || states[1] != "well" {
			t.Errorf("%d results were delivered, told %q", len(w.delivered), states)
		}
	})
}

func TestDiskThatCannotBeReadHoldsUpNoLongerThanAMinute(t *testing.T) {
	within(t, func(w *world) {
		w.open()
		w.putSome(100)
		w.reopen()
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
		if len(w.delivered) != 5 || w.losses()[LossDamaged] != 100 || w.damaged() != 100 {
			t.Errorf("%d delivered, lost %v, told of %d; want the 5 new ones and 100 lost", len(w.delivered), w.losses(), w.damaged())
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
			if _, _, most := w.disk.count(); most > 64<<10 {
				t.Errorf("%s: %d bytes were on disk", full, most)
			}
		})
	}
}
