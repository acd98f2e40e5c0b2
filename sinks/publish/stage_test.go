package publish_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sightline/pipeline"
	"sightline/sinks"
	"sightline/sinks/publish"
	"sightline/sinks/sinktest"
	"sightline/sinks/spool"
)

func TestResultGoesOutAtOnce(t *testing.T) {
	within(t, func(t *testing.T) {
		r := newRig(newUpstream())
		r.run()
		for i := uint64(1); i <= 3; i++ {
			time.Sleep(time.Minute)
			sent := time.Now()
			r.send(i, i)
			synctest.Wait()
			if len(r.up.at) != int(i) || !r.up.at[i-1].Equal(sent) {
				t.Fatalf("result %d: taken at %v, sent at %v", i, r.up.at, sent)
			}
		}
		r.finish(t)
	})
}

func TestResultsArriveInOrderAndStopDrains(t *testing.T) {
	within(t, func(t *testing.T) {
		r := newRig(newUpstream())
		r.up.answer = func(context.Context, []pipeline.Message) error { time.Sleep(time.Second); return nil }
		r.run()
		r.send(1, 500)
		r.finish(t)
		equal(t, "results", r.up.sequences(), upTo(500))
		if r.up.closed != 1 || r.up.openNow {
			t.Errorf("the sink was closed %d times", r.up.closed)
		}
		if slices.Max(r.up.batches) > 64 || slices.Max(r.up.batches) < 2 {
			t.Errorf("batches %v", r.up.batches)
		}
		equal(t, "states", r.states(), []string{"online", "stopped"})
		for m, want := range map[*pipeline.Metric]float64{
			&pipeline.ResultsTaken: 500, &pipeline.ResultsRefused: 0, &pipeline.SpoolResults: 0, &pipeline.SpoolBytes: 0,
			&pipeline.SinkUp: 0, &pipeline.Reconnects: 0,
		} {
			if got := r.metric(*m); got != want {
				t.Errorf("%s is %v, want %v", m.Name, got, want)
			}
		}
		if got := r.metric(pipeline.AgeSeconds, "source", "gate"); got != 500 {
			t.Errorf("%v ages observed, want 500", got)
		}
	})
}

func TestDeadUpstreamBlocksNobody(t *testing.T) {
	within(t, func(t *testing.T) {
		r := newRigWith(newUpstream(), sinks.Spool{MaxBytes: 64 << 10, MaxAge: time.Hour, Full: sinks.DropOldest})
		r.up.answer = func(ctx context.Context, _ []pipeline.Message) error { <-ctx.Done(); return ctx.Err() }
		r.run()
		r.send(1, 1000) // would never end
		synctest.Wait()
		lost, waiting := r.metric(pipeline.ResultsLost, "reason", "spool_full"), r.metric(pipeline.SpoolResults)
		if lost+waiting != 1000 || waiting < 10 {
			t.Errorf("%v lost and %v waiting, want 1000 together", lost, waiting)
		}
		if bytes := r.metric(pipeline.SpoolBytes); bytes > 64<<10 || bytes < 32<<10 {
			t.Errorf("%v bytes wait", bytes)
		}
		r.cancel()
		if err := <-r.ended; !errors.Is(err, context.Canceled) {
			t.Errorf("run: %v", err)
		}
		if n := strings.Count(r.log.String(), "limits of the spool"); n != 1 {
			t.Errorf("%d lines about losses, want 1", n)
		}
		// What is left outlives the run.
		r.up.answer = nil
		r.run()
		r.finish(t)
		if got := len(r.up.sequences()); got != int(waiting) {
			t.Errorf("%d results in the next run, want %v", got, waiting)
		}
	})
}

func TestAgedResultsAreLetGo(t *testing.T) {
	within(t, func(t *testing.T) {
		r := newRigWith(newUpstream(), sinks.Spool{MaxBytes: 16 << 20, MaxAge: time.Minute})
		var down atomic.Bool
		down.Store(true)
		r.up.answer = func(context.Context, []pipeline.Message) error {
			if down.Load() {
				return errors.New("no route")
			}
			return nil
		}
		r.run()
		r.send(1, 3)
		time.Sleep(2 * time.Minute)
		down.Store(false)
		r.send(4, 4)
		r.finish(t)
		equal(t, "results", r.up.sequences(), []uint64{4})
		if lost := r.metric(pipeline.ResultsLost, "reason", "spool_age"); lost != 3 {
			t.Errorf("%v lost by age, want 3", lost)
		}
	})
}

func TestTryingAgainKeepsOrderAndTheFirstTime(t *testing.T) {
	within(t, func(t *testing.T) {
		r := newRig(newUpstream())
		tries := 0
		r.up.answer = func(context.Context, []pipeline.Message) error {
			if tries++; tries <= 3 {
				return errors.New("mqtt://user:hidden@host: no route")
			}
			return nil
		}
		r.run()
		first := time.Now()
		r.send(1, 1)
		synctest.Wait()
		r.send(2, 5)
		time.Sleep(time.Minute)
		r.finish(t)
		equal(t, "results", r.up.sequences(), upTo(5))
		if tries < 4 || tries > 5 {
			t.Errorf("%d tries", tries)
		}
		one := r.up.copies[0]
		if !one.Published.Equal(first) || one.Latency.Publish != first.Sub(one.Inferred).Seconds() {
			t.Errorf("published %v after %v s, want %v", one.Published, one.Latency.Publish, first)
		}
		equal(t, "states", r.states(), []string{"online", "offline mqtt://host: no route", "online", "stopped"})
		if got := r.metric(pipeline.AgeSeconds, "source", "gate"); got != 5 {
			t.Errorf("%v ages observed, want 5", got)
		}
	})
}

func TestSinkThatIsConnectedAgainIsTriedAtOnce(t *testing.T) {
	within(t, func(t *testing.T) {
		r := newRigWith(newUpstream(), sinks.Spool{MaxBytes: 16 << 20})
		r.Retry = pipeline.Backoff{Least: 24 * time.Hour, Most: 24 * time.Hour}
		var down atomic.Bool
		down.Store(true)
		r.up.answer = func(context.Context, []pipeline.Message) error {
			if down.Load() {
				return errors.New("not connected")
			}
			return nil
		}
		report := func(s pipeline.State, why string) {
			r.up.env.Report(pipeline.Status{Stage: "cloud", State: s, Reason: why, Since: time.Now()})
			synctest.Wait()
		}
		r.run()
		synctest.Wait()
		report(pipeline.StateOnline, "")
		report(pipeline.StateOffline, "cut")
		if up := r.metric(pipeline.SinkUp); up != 0 {
			t.Errorf("sink up is %v", up)
		}
		r.send(1, 2)
		synctest.Wait()
		time.Sleep(time.Hour)
		down.Store(false)
		back := time.Now()
		report(pipeline.StateOnline, "")
		if len(r.up.at) == 0 || !r.up.at[0].Equal(back) {
			t.Errorf("taken at %v, connected at %v", r.up.at, back)
		}
		if n := r.metric(pipeline.Reconnects); n != 1 {
			t.Errorf("%v reconnects, want 1", n)
		}
		if up := r.metric(pipeline.SinkUp); up != 1 {
			t.Errorf("sink up is %v", up)
		}
		r.finish(t)
		equal(t, "states", r.states(), []string{"online", "online", "offline cut", "online", "stopped"})
	})
}

// refusing refuses sequence 3, alone or among others.
func refusing(messages []pipeline.Message) bool {
	return slices.ContainsFunc(messages, func(m pipeline.Message) bool { return m.Result != nil && m.Result.Sequence == 3 })
}

func TestRefusedResultDoesNotTakeOthersWithIt(t *testing.T) {
	within(t, func(t *testing.T) {
		r := newRig(newUpstream())
		hold := make(chan struct{})
		r.up.answer = func(_ context.Context, messages []pipeline.Message) error {
			<-hold
			if refusing(messages) {
				return pipeline.Permanentf("too large")
			}
			return nil
		}
		r.run()
		r.send(1, 200)
		close(hold)
		r.finish(t)
		equal(t, "results", r.up.sequences(), slices.Delete(upTo(200), 2, 3))
		if n := r.metric(pipeline.ResultsRefused); n != 1 {
			t.Errorf("%v refused, want 1", n)
		}
		if n := r.metric(pipeline.ResultsTaken); n != 199 {
			t.Errorf("%v taken, want 199", n)
		}
		if !strings.Contains(r.log.String(), "porch-gate-3") {
			t.Errorf("the log does not name the result:\n%s", r.log)
		}
	})
}

func TestResultWithoutAFormIsRefused(t *testing.T) {
	within(t, func(t *testing.T) {
		r := newRig(newUpstream())
		r.run()
		r.way.Put(sinktest.Message("gate", 1, strings.Repeat("x", 1<<20)), nil)
		r.send(2, 3)
		r.finish(t)
		equal(t, "results", r.up.sequences(), []uint64{2, 3})
		if n := r.metric(pipeline.ResultsRefused); n != 1 {
			t.Errorf("%v refused, want 1", n)
		}
		if len(r.log.String()) > 10000 {
			t.Error("the megabyte is in the log")
		}
	})
}

func TestPanicOfASinkEndsTheRunAndLosesOneResult(t *testing.T) {
	within(t, func(t *testing.T) {
		r := newRig(newUpstream())
		hold := make(chan struct{})
		r.up.answer = func(_ context.Context, messages []pipeline.Message) error {
			<-hold
			if refusing(messages) {
				panic("index out of range")
			}
			return nil
		}
		r.run()
		r.send(1, 100)
		close(hold)
		err := <-r.ended
		if err == nil || !strings.Contains(err.Error(), "index out of range") {
			t.Fatalf("run: %v, want the panic", err)
		}
		if r.up.openNow {
			t.Error("the sink is still open")
		}
		r.run()
		r.finish(t)
		equal(t, "results", r.up.sequences(), slices.Delete(upTo(100), 2, 3))
		if n := r.metric(pipeline.ResultsRefused); n != 1 {
			t.Errorf("%v refused, want 1", n)
		}
	})
}

func TestSinkThatPanicsWhileItOpensIsClosedBeforeItIsTriedAgain(t *testing.T) {
	within(t, func(t *testing.T) {
		r := newRig(newUpstream())
		r.up.open = func() error {
			if r.up.closed == 0 {
				panic("index out of range")
			}
			return nil
		}
		r.run()
		r.send(1, 3)
		time.Sleep(time.Minute)
		synctest.Wait()
		equal(t, "results", r.up.sequences(), upTo(3))
		if r.up.closed != 1 {
			t.Errorf("closed %d times, want once", r.up.closed)
		}
		r.finish(t)
	})
}

func TestSinkThatDoesNotOpenIsTriedAgain(t *testing.T) {
	within(t, func(t *testing.T) {
		r := newRig(newUpstream())
		tries := 0
		r.up.open = func() error {
			if tries++; tries <= 3 {
				return pipeline.Permanentf("no such folder")
			}
			return nil
		}
		r.run()
		r.send(1, 300)
		time.Sleep(time.Minute)
		synctest.Wait()
		equal(t, "results", r.up.sequences(), upTo(300))
		equal(t, "states", r.states(), []string{"offline no such folder", "online"})
		r.finish(t)
	})
}

func TestStopDoesNotWaitForASinkThatDoesNotOpen(t *testing.T) {
	within(t, func(t *testing.T) {
		r := newRig(newUpstream())
		r.up.open = func() error { return errors.New("no such folder") }
		r.run()
		r.send(1, 3)
		synctest.Wait()
		close(r.stop)
		if err := <-r.ended; err == nil || !strings.Contains(err.Error(), "no such folder") {
			t.Errorf("run: %v", err)
		}
		if n, _ := r.way.Size(); n != 3 {
			t.Errorf("%d results are left, want 3", n)
		}
	})
}

func TestOfStatusesTheNewestIsDelivered(t *testing.T) {
	within(t, func(t *testing.T) {
		r := newRig(newUpstream())
		var down atomic.Bool
		down.Store(true)
		r.up.answer = func(context.Context, []pipeline.Message) error {
			if down.Load() {
				return errors.New("no route")
			}
			return nil
		}
		r.run()
		for _, reason := range []string{"one", "two", "three"} {
			r.way.Report(pipeline.Status{Stage: "gate", Source: "gate", State: pipeline.StateOffline, Reason: reason})
			r.way.Report(pipeline.Status{Stage: "yard", Source: "yard", State: pipeline.StateOffline, Reason: reason})
			time.Sleep(time.Second)
		}
		down.Store(false)
		r.finish(t)
		var got []string
		for _, m := range r.up.got {
			got = append(got, m.Status.Source+" "+m.Status.Reason)
		}
		equal(t, "statuses", got, []string{"gate three", "yard three"})
	})
}

func TestStatusesAloneDoNotHoldUpTheStop(t *testing.T) {
	within(t, func(t *testing.T) {
		r := newRig(newUpstream())
		r.up.answer = func(ctx context.Context, _ []pipeline.Message) error {
			<-ctx.Done() // an upstream that is not there
			return ctx.Err()
		}
		r.run()
		r.way.Report(pipeline.Status{Stage: "gate", Source: "gate", State: pipeline.StateOffline})
		time.Sleep(time.Minute)
		r.way.Report(pipeline.Status{Stage: "gate", Source: "gate", State: pipeline.StateStopped})
		began := time.Now()
		r.finish(t)
		if took := time.Since(began); took != time.Second {
			t.Errorf("stopped after %s", took)
		}
	})
}

func TestResultsHoldUpTheStopUntilTheyAreTaken(t *testing.T) {
	within(t, func(t *testing.T) {
		r := newRig(newUpstream())
		var up atomic.Bool
		r.up.answer = func(context.Context, []pipeline.Message) error {
			if !up.Load() {
				return errors.New("no route")
			}
			return nil
		}
		r.run()
		r.send(1, 3)
		r.way.Report(pipeline.Status{Stage: "gate", Source: "gate", State: pipeline.StateStopped})
		time.Sleep(time.Second)
		time.AfterFunc(time.Minute, func() { up.Store(true) })
		r.finish(t)
		equal(t, "results", r.up.sequences(), upTo(3))
	})
}

// One result a batch, through queue and stage.
func TestHandingOverAllocatesLittle(t *testing.T) {
	up := &bare{taken: make(chan struct{}, 1)}
	log := slog.New(slog.DiscardHandler)
	way, err := spool.Open(spool.Options{Config: sinks.Spool{MaxBytes: 1 << 20}, Stats: pipeline.NewStats(), Log: log})
	if err != nil {
		t.Fatal(err)
	}
	s := &publish.Stage{
		Input: way, Sink: up,
		Env: pipeline.Env{Log: log, Stats: pipeline.NewStats(), Report: func(pipeline.Status) {}},
	}
	stop, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- s.Run(context.Background(), stop) }()
	m := sinktest.Message("gate", 1, "car")
	n := testing.AllocsPerRun(500, func() {
		way.Put(m, nil)
		<-up.taken
	})
	close(stop)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if n > 0 {
		t.Errorf("%v allocations for a result", n)
	}
}

// bare takes everything and keeps nothing.
type bare struct{ taken chan struct{} }

func (*bare) Open(context.Context, pipeline.Env) error { return nil }
func (*bare) Close(context.Context) error              { return nil }

func (b *bare) Deliver(context.Context, []pipeline.Message) error {
	b.taken <- struct{}{}
	return nil
}
