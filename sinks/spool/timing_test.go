package spool

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

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
		if syncs, _, _ := w.disk.count(); syncs != 3 {
			t.Errorf("%d syncs, want 3", syncs)
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
		if syncs, _, _ := w.disk.count(); syncs > 12 {
			t.Errorf("%d syncs for 1000 results in a second on a disk that does 10 a second", syncs)
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
		if syncs, _, _ := w.disk.count(); syncs != 1 {
			t.Errorf("%d syncs, want 1", syncs)
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
		if _, written, _ := w.disk.count(); written != 0 {
			t.Errorf("%d bytes were written", written)
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
		if err := w.q.Put(sinktest.Message("gate", 9, "car")); !errors.Is(err, errNotOpen) {
			t.Errorf("put behind Close: error %v", err)
		}
	})
}

func TestAcknowledgementIsWrittenWithinASecondWithoutASync(t *testing.T) {
	within(t, func(w *world) {
		w.open()
		w.putSome(10)
		w.mustSync()
		before, _, _ := w.disk.count()
		for range 10 {
			w.q.Peek(1, nil)
			w.q.Ack(1)
			time.Sleep(50 * time.Millisecond)
		}
		time.Sleep(time.Second)
		if syncs, _, _ := w.disk.count(); syncs != before {
			t.Errorf("%d syncs for acknowledgements", syncs-before)
		}
		w.die(false)
		w.open()
		if n, _ := w.q.Size(); n != 0 {
			t.Errorf("%d results are back after a kill", n)
		}
	})
}
