package mqtt_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sightline/pipeline"
	"sightline/pipeline/pipelinetest"
	"sightline/sinks"
	"sightline/sinks/mqtt"
	"sightline/sinks/sinktest"
)

// bench is a sink, its network and what a subscriber beside it receives.
type bench struct {
	sink    *mqtt.Sink
	network *network
	log     *log
	said    *statuses
	text    *text                             // what was logged
	files   func(name string) ([]byte, error) // nil: those of the machine
}

// statuses keeps what a sink reports.
type statuses struct {
	log
	list []pipeline.Status
}

func (s *statuses) report(status pipeline.Status) {
	s.mu.Lock()
	s.list = append(s.list, status)
	s.mu.Unlock()
	s.add(arrival{topic: string(status.State), payload: status.Reason})
}

func (s *statuses) all() []pipeline.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.list)
}

// awaits waits for a status of a state whose reason contains a text.
func (s *statuses) awaits(t *testing.T, state pipeline.State, reason string) {
	t.Helper()
	s.await(t, fmt.Sprintf("status %s %q", state, reason), func() bool {
		return slices.ContainsFunc(s.all(), func(o pipeline.Status) bool {
			return o.State == state && strings.Contains(o.Reason, reason)
		})
	})
}

// text collects log lines.
type text struct {
	mu sync.Mutex
	b  strings.Builder
}

func (w *text) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(p)
}

func (w *text) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

func newBench(c sinks.MQTT) *bench {
	b := &bench{network: &network{}, log: newLog(), said: &statuses{log: *newLog()}, text: &text{}}
	quick := pipeline.Backoff{Least: 5 * time.Millisecond, Most: 50 * time.Millisecond}
	b.sink = &mqtt.Sink{Config: c, Retry: quick, RetryRefused: quick}
	return b
}

func (b *bench) env() pipeline.Env {
	return pipeline.Env{
		Device: sinktest.Device, Stage: "cloud", Log: slog.New(slog.NewTextHandler(b.text, nil)),
		Stats: pipeline.NewStats(), Network: b.network, Report: b.said.report, ReadFile: b.files,
	}
}

func (b *bench) open(t *testing.T) {
	t.Helper()
	if err := b.sink.Open(t.Context(), b.env()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.close(t) })
}

func (b *bench) close(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := b.sink.Close(ctx); err != nil {
		t.Errorf("close: %v", err)
	}
}

func (b *bench) deliver(t *testing.T, messages ...pipeline.Message) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		err := b.sink.Deliver(ctx, messages)
		if err == nil {
			return
		}
		if ctx.Err() != nil || pipeline.IsPermanent(err) {
			t.Fatalf("deliver: %v", err)
		}
	}
}

func result(source string, sequence uint64, class string) pipeline.Message {
	return pipeline.Message{Result: sinktest.Result(source, sequence, class)}
}

func status(source string, state pipeline.State) pipeline.Message {
	return pipeline.Message{Status: &pipeline.Status{Stage: source, Source: source, State: state, Since: time.Now()}}
}

func TestContract(t *testing.T) {
	for name, start := range peers {
		for _, qos := range []int{0, 1} {
			t.Run(fmt.Sprintf("%s with QoS %d", name, qos), func(t *testing.T) {
				pipelinetest.SinkSuite(t, func(t *testing.T) pipelinetest.Upstream {
					return upstream(t, start(t, wanted{}), qos)
				})
			})
		}
	}
}

func upstream(t *testing.T, p *peer, qos int) pipelinetest.Upstream {
	b := newBench(sinks.MQTT{URL: p.url, QoS: qos})
	p.subscribe(t, b.log)
	return pipelinetest.Upstream{
		Sink: b.sink, Network: b.network,
		Received: func() []string { return ids(t, b.log) },
		Break: func(t *testing.T) func() {
			b.network.cut()
			p.kill()
			return func() {
				p.start(t)
				p.subscribe(t, b.log)
				b.network.mend()
			}
		},
	}
}

// ids are the identifiers of the results received, which must fit the schema.
func ids(t *testing.T, l *log) []string {
	var list []string
	for _, a := range l.of("/result") {
		var r pipeline.Result
		if err := json.Unmarshal([]byte(a.payload), &r); err != nil {
			t.Errorf("%s: %v", a.payload, err)
		}
		list = append(list, r.ID)
	}
	return list
}

func TestEveryMessageFitsItsSchemaAndTopic(t *testing.T) {
	schemas := sinktest.Compile(t)
	withPeers(t, wanted{}, func(t *testing.T, p *peer) {
		b := newBench(sinks.MQTT{URL: p.url, QoS: 1})
		p.subscribe(t, b.log)
		b.open(t)
		left := result("gate", 2, "person")
		left.Result.Region = "left"
		b.deliver(t, status("gate", pipeline.StateOnline), result("gate", 1, "car"), left,
			pipeline.Message{Status: &pipeline.Status{Stage: "scene", State: pipeline.StateStarting, Since: time.Now()}},
			pipeline.Message{Event: sinktest.Event("gate", 1, pipeline.EventNew)})
		want := []string{
			"sightline/porch/available", "sightline/porch/gate/status",
			"sightline/porch/gate/scene/result", "sightline/porch/gate/scene/state",
			"sightline/porch/gate/scene/left/result", "sightline/porch/gate/scene/left/state",
			"sightline/porch/scene/status", "sightline/porch/events",
		}
		b.log.await(t, "all messages", func() bool { return len(b.log.of("")) >= len(want) })
		for i, a := range b.log.of("") {
			if i >= len(want) || a.topic != want[i] {
				t.Fatalf("message %d is on %s, want %v", i, a.topic, want)
			}
			switch filepath.Base(a.topic) {
			case "result":
				sinktest.Check(t, schemas.Result, []byte(a.payload))
			case "state":
				sinktest.Check(t, schemas.State, []byte(a.payload))
			case "status":
				sinktest.Check(t, schemas.Status, []byte(a.payload))
			case "events":
				sinktest.Check(t, schemas.Event, []byte(a.payload))
				late := newLog()
				p.subscribeLate(t, late)
				late.await(t, "retained", func() bool { return len(late.of("/available")) == 1 })
				if len(late.of("/events")) != 0 {
					t.Error("an event is retained")
				}
			}
		}
	})
}

func TestStateIsPublishedOnChangeOnlyAndRetained(t *testing.T) {
	withPeers(t, wanted{}, func(t *testing.T, p *peer) {
		b := newBench(sinks.MQTT{URL: p.url, QoS: 1})
		p.subscribe(t, b.log)
		b.open(t)
		classes := []string{"car", "car", "", "", "car", "person", "person"}
		for i, class := range classes {
			b.deliver(t, result("gate", uint64(i+1), class))
		}
		b.log.await(t, "results", func() bool { return b.log.resultCount() == len(classes) })
		var got []string
		for _, a := range b.log.of("/state") {
			got = append(got, stateOf(t, a.payload))
		}
		want := []string{"car since 1", "null since 3", "car since 5", "person since 6"}
		if !slices.Equal(got, want) {
			t.Errorf("states %v, want %v", got, want)
		}
		late := newLog()
		p.subscribeLate(t, late)
		late.await(t, "retained", func() bool { return len(late.of("/state")) == 1 && len(late.of("/available")) == 1 })
		if a := late.of("/state")[0]; !a.retained || stateOf(t, a.payload) != "person since 6" {
			t.Errorf("a late subscriber gets %+v", a)
		}
		if n := len(late.of("/result")); n != 0 {
			t.Errorf("a late subscriber gets %d results, want none retained", n)
		}
	})
}

// stateOf writes the class of a state and the sequence of the result since which it holds.
func stateOf(t *testing.T, payload string) string {
	t.Helper()
	var s struct {
		Class *string
		Since time.Time
	}
	if err := json.Unmarshal([]byte(payload), &s); err != nil {
		t.Fatal(err)
	}
	class := "null"
	if s.Class != nil {
		class = *s.Class
	}
	first := sinktest.Result("gate", 0, "").Captured
	return fmt.Sprintf("%s since %d", class, s.Since.Sub(first)/(100*time.Millisecond))
}

func TestAvailability(t *testing.T) {
	withPeers(t, wanted{}, func(t *testing.T, p *peer) {
		b := newBench(sinks.MQTT{URL: p.url, QoS: 1})
		p.subscribe(t, b.log)
		b.open(t)
		b.log.last(t, "sightline/porch/available", "online")
		b.network.cut()
		b.log.last(t, "sightline/porch/available", "offline")
		b.said.awaits(t, pipeline.StateOffline, "")
		b.network.mend()
		b.log.last(t, "sightline/porch/available", "online")
		b.close(t)
		b.log.last(t, "sightline/porch/available", "stopped")
		late := newLog()
		p.subscribeLate(t, late)
		late.last(t, "sightline/porch/available", "stopped")
	})
}

func TestBrokerKilledAndBack(t *testing.T) {
	withPeers(t, wanted{}, func(t *testing.T, p *peer) {
		b := newBench(sinks.MQTT{URL: p.url, QoS: 1})
		p.subscribe(t, b.log)
		b.open(t)
		b.deliver(t, status("gate", pipeline.StateOnline), status("yard", pipeline.StateStalled),
			result("gate", 1, "car"), result("yard", 1, ""), result("gate", 2, "car"))
		b.log.await(t, "results", func() bool { return b.log.resultCount() == 3 })
		b.network.cut()
		p.kill()
		p.start(t)
		after := newLog()
		p.subscribe(t, after)
		if n := len(after.of("")); n != 0 {
			t.Fatalf("the broker still knows %d messages; it was to forget", n)
		}
		b.network.mend()
		after.last(t, "porch/available", "online")
		after.await(t, "retained again", func() bool { return len(after.of("/state")) == 2 && len(after.of("/status")) == 2 })
		if got := stateOf(t, after.of("gate/scene/state")[0].payload); got != "car since 1" {
			t.Errorf("state %s after the restart", got)
		}
		b.deliver(t, result("gate", 3, "car"))
		after.await(t, "result", func() bool { return len(after.of("/result")) == 1 })
		if n := len(after.of("gate/scene/state")); n != 1 {
			t.Errorf("%d states after a result without change, want 1", n)
		}
	})
}

// A batch that fails in the middle must not leave its states behind as known.
func TestBatchDeliveredAgainChangesTheSameStates(t *testing.T) {
	withPeers(t, wanted{}, func(t *testing.T, p *peer) {
		b := newBench(sinks.MQTT{URL: p.url, QoS: 1, Timeout: 200 * time.Millisecond})
		b.open(t)
		b.deliver(t, result("gate", 1, "car"))
		b.network.cut()
		batch := []pipeline.Message{result("gate", 2, "person"), result("gate", 3, "car"), result("gate", 4, "dog")}
		if err := b.sink.Deliver(t.Context(), batch); err == nil {
			t.Fatal("delivered without a network")
		}
		p.subscribe(t, b.log)
		b.network.mend()
		b.deliver(t, batch...)
		b.log.await(t, "results", func() bool { return b.log.resultCount() == 3 })
		b.log.await(t, "states", func() bool {
			n := len(b.log.of("/state"))
			return n > 0 && stateOf(t, b.log.of("/state")[n-1].payload) == "dog since 4"
		})
		var got []string
		for _, a := range b.log.of("/state") {
			got = append(got, stateOf(t, a.payload))
		}
		got = slices.Compact(got)
		if want := []string{"car since 1", "person since 2", "car since 3", "dog since 4"}; !slices.Equal(got, want) {
			t.Errorf("states %v, want %v", got, want)
		}
	})
}

func TestTenThousandResultsInOrder(t *testing.T) {
	const n, size = 10000, 64
	withPeers(t, wanted{}, func(t *testing.T, p *peer) {
		b := newBench(sinks.MQTT{URL: p.url, QoS: 1})
		p.subscribeAt(t, b.log, 0) // of results that were published with QoS 1
		b.open(t)
		var batch []pipeline.Message
		for i := uint64(1); i <= n; i++ {
			batch = append(batch, result("gate", i, "car"))
			if len(batch) == size || i == n {
				b.deliver(t, batch...)
				batch = batch[:0]
			}
		}
		b.log.await(t, "results", func() bool { return b.log.resultCount() >= n })
		for i, id := range ids(t, b.log) {
			if want := fmt.Sprintf("porch-gate-%d", i+1); id != want {
				t.Fatalf("result %d is %s", i+1, id)
			}
		}
	})
}

func TestNamesThatAreNoTopicAreRefused(t *testing.T) {
	p := embedded(t, wanted{})
	b := newBench(sinks.MQTT{URL: p.url, QoS: 1})
	b.open(t)
	for name, change := range map[string]func(*pipeline.Result){
		"a source with a slash":    func(r *pipeline.Result) { r.Source = "a/b" },
		"a stage with a wildcard":  func(r *pipeline.Result) { r.Stage = "#" },
		"a region with a plus":     func(r *pipeline.Result) { r.Region = "+" },
		"a source without a name":  func(r *pipeline.Result) { r.Source = "" },
		"a source that is no text": func(r *pipeline.Result) { r.Source = "\xff" },
		"a source with NUL":        func(r *pipeline.Result) { r.Source = "a\x00" },
		"a source too long":        func(r *pipeline.Result) { r.Source = strings.Repeat("x", 70000) },
	} {
		m := result("gate", 1, "car")
		change(m.Result)
		if err := b.sink.Deliver(t.Context(), []pipeline.Message{m}); !pipeline.IsPermanent(err) {
			t.Errorf("%s: %v, want a permanent error", name, err)
		}
	}
	b.deliver(t, result("gate", 1, "car"))
}

func TestGrantIsTheOnlyWayOut(t *testing.T) {
	p := embedded(t, wanted{})
	b := newBench(sinks.MQTT{URL: p.url, QoS: 1, Timeout: 100 * time.Millisecond})
	b.network.cut()
	b.open(t)
	err := b.sink.Deliver(t.Context(), []pipeline.Message{result("gate", 1, "car")})
	if err == nil || !strings.Contains(err.Error(), errCut.Error()) {
		t.Errorf("deliver: %v, want why there is no connection", err)
	}
	env := b.env()
	env.Network = nil
	if err := (&mqtt.Sink{Config: sinks.MQTT{URL: p.url}}).Open(t.Context(), env); !pipeline.IsPermanent(err) {
		t.Errorf("open without a network: %v, want a permanent error", err)
	}
}

func TestNoGoroutineIsLeftAfterClose(t *testing.T) {
	withPeers(t, wanted{}, func(t *testing.T, p *peer) {
		b := newBench(sinks.MQTT{URL: p.url, QoS: 1, Timeout: time.Second})
		before := own()
		for range 3 {
			if err := b.sink.Open(t.Context(), b.env()); err != nil {
				t.Fatal(err)
			}
			b.deliver(t, result("gate", 1, "car"))
			b.network.cut()
			b.network.mend()
			b.deliver(t, result("gate", 2, "car"))
			b.close(t)
		}
		b.network.cut() // close while it cannot connect
		b.open(t)
		b.close(t)
		deadline := time.Now().Add(patience)
		for own() > before && time.Now().Before(deadline) {
			runtime.Gosched()
		}
		if n := own(); n > before {
			t.Errorf("%d goroutines of the sink or the client library, %d before\n%s", n, before, stacks())
		}
	})
}

// own counts goroutines in the sink or the client library.
func own() int {
	n := 0
	for _, g := range strings.Split(stacks(), "\n\n") {
		if strings.Contains(g, "sinks/mqtt.") || strings.Contains(g, "paho%2emqtt%2egolang") {
			n++
		}
	}
	return n
}

func stacks() string {
	b := make([]byte, 1<<20)
	return string(b[:runtime.Stack(b, true)])
}
