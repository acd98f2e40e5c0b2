package mqtt_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"sightline/pipeline"
	"sightline/sinks"
	"sightline/sinks/publish"
	"sightline/sinks/sinktest"
	"sightline/sinks/spool"
)

// stage is a publish stage in front of a bench's sink.
type stage struct {
	*publish.Stage
	way   *spool.Way
	bench *bench
	stop  chan struct{}
	grace context.CancelFunc // ends the grace
	ended chan error
	sent  uint64
}

func newStage(t *testing.T, b *bench) *stage {
	env := b.env()
	env.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	way, err := spool.Open(spool.Options{
		Config: sinks.Spool{MaxBytes: 64 << 20, MaxAge: time.Hour, Full: sinks.DropOldest}, Stage: env.Stage, Stats: env.Stats, Log: env.Log,
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{way: way, bench: b, stop: make(chan struct{}), ended: make(chan error, 1), Stage: &publish.Stage{
		Input: way, Sink: b.sink, Env: env,
		Retry: pipeline.Backoff{Least: 5 * time.Millisecond, Most: 50 * time.Millisecond},
	}}
	ctx, cancel := context.WithCancel(context.Background())
	s.grace = cancel
	t.Cleanup(cancel)
	go func() { s.ended <- s.Run(ctx, s.stop) }()
	return s
}

// send sends n more results, which never waits for the broker.
func (s *stage) send(t *testing.T, n int) {
	t.Helper()
	for range n {
		s.sent++
		s.way.Put(sinktest.Message("gate", s.sent, "car"), nil)
	}
}

func (s *stage) finish(t *testing.T) {
	t.Helper()
	close(s.stop)
	if err := <-s.ended; err != nil {
		t.Errorf("run: %v", err)
	}
}

func (s *stage) taken() int {
	return int(s.Env.Stats.Counter(pipeline.ResultsTaken, "stage", "cloud").Value())
}

// unique are the identifiers received, without those that came before, and how many did.
func unique(t *testing.T, l *log) (list []string, again int) {
	seen := map[string]bool{}
	for _, id := range ids(t, l) {
		if seen[id] {
			again++
			continue
		}
		seen[id] = true
		list = append(list, id)
	}
	return list, again
}

func (s *stage) arrivedInOrder(t *testing.T, l *log) (again int) {
	t.Helper()
	var list []string
	l.await(t, "all results", func() bool {
		if l.resultCount() < int(s.sent) {
			return false
		}
		list, again = unique(t, l)
		return len(list) >= int(s.sent)
	})
	for i, id := range list {
		if want := fmt.Sprintf("porch-gate-%d", i+1); id != want {
			t.Fatalf("result %d is %s", i+1, id)
		}
	}
	return again
}

// The broker is killed in the middle of a stream and comes back, having forgotten everything.
func TestStageLosesNothingWhenTheBrokerIsKilled(t *testing.T) {
	withPeers(t, wanted{}, func(t *testing.T, p *peer) {
		b := newBench(sinks.MQTT{URL: p.url, QoS: 1})
		p.subscribe(t, b.log)
		s := newStage(t, b)
		s.send(t, 300)
		b.log.await(t, "first results", func() bool { return b.log.resultCount() >= 100 })
		b.network.cut()
		s.send(t, 300)
		b.log.await(t, "what the broker has acknowledged", func() bool {
			list, _ := unique(t, b.log)
			return len(list) >= s.taken()
		})
		p.kill()
		p.start(t)
		p.subscribe(t, b.log)
		b.network.mend()
		s.send(t, 300)
		s.finish(t)
		if again := s.arrivedInOrder(t, b.log); again > 64 {
			t.Errorf("%d results came twice, more than were on their way", again)
		}
		b.log.last(t, "porch/available", "stopped")
		if n := s.taken(); n != 900 {
			t.Errorf("%d results counted as taken, want 900", n)
		}
		if n := s.Env.Stats.Counter(pipeline.Reconnects, "stage", "cloud").Value(); n != 1 {
			t.Errorf("%d reconnects counted, want 1", n)
		}
	})
}

// The connection is cut again and again while results stream.
func TestStageLosesNothingWhenTheConnectionIsCut(t *testing.T) {
	withPeers(t, wanted{}, func(t *testing.T, p *peer) {
		b := newBench(sinks.MQTT{URL: p.url, QoS: 1})
		p.subscribe(t, b.log)
		s := newStage(t, b)
		for range 5 {
			before := b.log.resultCount()
			s.send(t, 200)
			b.log.await(t, "some results", func() bool { return b.log.resultCount() >= before+20 })
			b.network.cut()
			b.network.mend()
		}
		s.finish(t)
		s.arrivedInOrder(t, b.log)
	})
}

func TestStageEndsWithItsGraceWithoutABroker(t *testing.T) {
	b := newBench(sinks.MQTT{URL: fmt.Sprintf("mqtt://127.0.0.1:%d", freePort(t)), QoS: 1})
	s := newStage(t, b)
	s.send(t, 100)
	b.said.awaits(t, pipeline.StateOffline, "refused")
	close(s.stop)
	s.grace()
	if err := <-s.ended; !errors.Is(err, context.Canceled) {
		t.Errorf("run: %v", err)
	}
	if results := s.Env.Stats.Gauge(pipeline.SpoolResults, "stage", "cloud").Value(); results != 100 {
		t.Errorf("%v results are left, want 100", results)
	}
}

func BenchmarkDeliver(b *testing.B) {
	for _, size := range []int{1, 64} {
		b.Run(fmt.Sprintf("batch of %d", size), func(b *testing.B) {
			p := embedded(b, wanted{})
			rig := newBench(sinks.MQTT{URL: p.url, QoS: 1})
			if err := rig.sink.Open(b.Context(), rig.env()); err != nil {
				b.Fatal(err)
			}
			defer rig.sink.Close(context.Background())
			batch := make([]pipeline.Message, size)
			for i := range batch {
				batch[i] = result("gate", uint64(i+1), "car")
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := rig.sink.Deliver(b.Context(), batch); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
