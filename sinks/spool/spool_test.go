package spool_test

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sightline/pipeline"
	"sightline/sinks"
	"sightline/sinks/sinktest"
	"sightline/sinks/spool"
)

// one is what a result of these tests takes in the queue.
func one(t testing.TB) int64 {
	q := &spool.Memory{Config: sinks.Spool{MaxBytes: 1 << 20}}
	put(t, q, 1, 1)
	_, n := q.Size()
	return n
}

func put(t testing.TB, q spool.Queue, from, to uint64) {
	t.Helper()
	for i := from; i <= to; i++ {
		if err := q.Put(sinktest.Message("gate", 100+i, "car")); err != nil {
			t.Fatal(err)
		}
	}
}

func sequences(messages []pipeline.Message) []uint64 {
	var list []uint64
	for _, m := range messages {
		list = append(list, m.Result.Sequence-100)
	}
	return list
}

func wants(t *testing.T, q spool.Queue, limit int, want ...uint64) {
	t.Helper()
	if got := sequences(q.Peek(limit, nil)); !slices.Equal(got, want) {
		t.Fatalf("peek %d gives %v, want %v", limit, got, want)
	}
}

type losses map[spool.Loss]int

func (l losses) count(why spool.Loss, n int) { l[why] += n }

func TestResultsComeOutInOrderAndStayUntilAcknowledged(t *testing.T) {
	q := &spool.Memory{Config: sinks.Spool{MaxBytes: 1 << 20, MaxAge: time.Hour}}
	wants(t, q, 4)
	put(t, q, 1, 6)
	wants(t, q, 4, 1, 2, 3, 4)
	wants(t, q, 4, 1, 2, 3, 4)
	q.Ack(3)
	wants(t, q, 10, 4, 5, 6)
	q.Ack(0)
	put(t, q, 7, 300)
	wants(t, q, 5, 4, 5, 6, 7, 8)
	q.Ack(5)
	wants(t, q, 2, 9, 10)
	q.Ack(2)
	if n, _ := q.Size(); n != 290 {
		t.Errorf("%d results wait, want 290", n)
	}
}

func TestFullQueueLetsGoByItsPolicy(t *testing.T) {
	for _, c := range []struct {
		name, full string
		want       []uint64
	}{
		{"the oldest", sinks.DropOldest, []uint64{4, 5, 6}},
		{"the newest", sinks.RejectNew, []uint64{1, 2, 3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			lost := losses{}
			q := &spool.Memory{Config: sinks.Spool{MaxBytes: pipeline.Size(3 * one(t)), Full: c.full}, Lost: lost.count}
			put(t, q, 1, 6)
			wants(t, q, 10, c.want...)
			if lost[spool.LossFull] != 3 || len(lost) != 1 {
				t.Errorf("losses %v, want 3 of spool_full", lost)
			}
			if _, bytes := q.Size(); bytes != 3*one(t) {
				t.Errorf("%d bytes, want %d", bytes, 3*one(t))
			}
		})
	}
}

func TestWhatIsHandedOutIsNotLetGo(t *testing.T) {
	lost := losses{}
	q := &spool.Memory{Config: sinks.Spool{MaxBytes: pipeline.Size(4 * one(t)), Full: sinks.DropOldest}, Lost: lost.count}
	put(t, q, 1, 4)
	wants(t, q, 2, 1, 2)
	put(t, q, 5, 6)
	q.Ack(1)
	wants(t, q, 10, 2, 5, 6)
	put(t, q, 7, 9)
	wants(t, q, 10, 2, 5, 6, 9)
	if lost[spool.LossFull] != 4 {
		t.Errorf("losses %v, want 4", lost)
	}
}

func TestResultsAgeOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lost := losses{}
		q := &spool.Memory{Config: sinks.Spool{MaxBytes: 1 << 20, MaxAge: time.Minute}, Lost: lost.count}
		put(t, q, 1, 2)
		time.Sleep(40 * time.Second)
		put(t, q, 3, 3)
		wants(t, q, 1, 1)
		time.Sleep(40 * time.Second)
		put(t, q, 4, 4)
		if lost[spool.LossAge] != 1 {
			t.Fatalf("losses %v, want only number 2, since 1 is handed out", lost)
		}
		q.Ack(0)
		wants(t, q, 10, 3, 4)
		if lost[spool.LossAge] != 2 {
			t.Errorf("losses %v, want 2 of spool_age", lost)
		}
	})
}

func TestResultWithoutAFormIsNotKept(t *testing.T) {
	q := &spool.Memory{Config: sinks.Spool{MaxBytes: 1 << 20}}
	r := sinktest.Result("gate", 1, "car")
	r.Predictions[0].Confidence = float32(math.NaN())
	if err := q.Put(pipeline.Message{Result: r}); !pipeline.IsPermanent(err) {
		t.Fatalf("error %v, want a permanent one", err)
	}
	if n, bytes := q.Size(); n != 0 || bytes != 0 {
		t.Errorf("%d results, %d bytes wait", n, bytes)
	}
}

func TestPutBesidePeekLosesNothing(t *testing.T) {
	const n = 5000
	q := &spool.Memory{Config: sinks.Spool{MaxBytes: 1 << 30}}
	var wait sync.WaitGroup
	wait.Go(func() { put(t, q, 1, n) })
	var batch []pipeline.Message
	for next := uint64(1); next <= n; {
		batch = q.Peek(64, batch[:0])
		for _, got := range sequences(batch) {
			if got != next {
				t.Fatalf("got %d, want %d", got, next)
			}
			next++
		}
		q.Ack(len(batch))
	}
	wait.Wait()
	if results, bytes := q.Size(); results != 0 || bytes != 0 {
		t.Errorf("%d results, %d bytes left", results, bytes)
	}
}

func TestPutAndAckAllocateNothing(t *testing.T) {
	q := &spool.Memory{Config: sinks.Spool{MaxBytes: 1 << 20, MaxAge: time.Hour}}
	r := sinktest.Result("gate", 1, "car")
	batch := make([]pipeline.Message, 0, 1)
	if n := testing.AllocsPerRun(1000, func() {
		if err := q.Put(pipeline.Message{Result: r}); err != nil {
			t.Fatal(err)
		}
		batch = q.Peek(1, batch[:0])
		q.Ack(1)
	}); n != 0 {
		t.Errorf("%v allocations for a result", n)
	}
}

func ExampleMemory() {
	q := &spool.Memory{Config: sinks.Spool{MaxBytes: 1 << 20, MaxAge: time.Hour, Full: sinks.DropOldest}}
	if err := q.Put(sinktest.Message("gate", 1, "car")); err != nil {
		fmt.Println(err)
	}
	batch := q.Peek(10, nil)
	fmt.Println(batch[0].Result.Source, batch[0].Result.Sequence)
	q.Ack(len(batch))
	// Output: gate 1
}
