package pipelinetest

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"sightline/pipeline"
)

// patience is how long the suite waits for something that must come.
const patience = 30 * time.Second

// Upstream is one sink and the upstream behind it, made for one test.
type Upstream struct {
	Sink    pipeline.Sink
	Network pipeline.Network
	// Received returns the identifiers of the results that the upstream has, in the order they came.
	Received func() []string
	// Break makes the upstream unreachable and returns what mends it; what it had stays. Nil where
	// that cannot be done.
	Break func(t *testing.T) (mend func())
}

// SinkSuite holds a sink to the contract of pipeline.Sink. start makes a sink of its own, not yet
// opened, and an upstream that holds nothing, for each test.
func SinkSuite(t *testing.T, start func(t *testing.T) Upstream) {
	for _, c := range []struct {
		name string
		test func(*testing.T, Upstream)
	}{
		{"what Deliver acknowledged the upstream has, in order", sinkKeepsOrder},
		{"no messages are no error", sinkTakesNone},
		{"statuses are taken", sinkTakesStatuses},
		{"a message delivered again has the same id", sinkRepeats},
		{"a message without a form is refused for good, and others are not", sinkRefuses},
		{"a closed sink opens again", sinkReopens},
		{"closing twice or without opening is no error", sinkClosesTwice},
		{"delivering without opening is an error", sinkNotOpen},
		{"nothing is delivered once the context has ended", sinkHeedsContext},
		{"while the upstream is gone an error may be tried again", sinkSurvivesBreak},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, start(t)) })
	}
}

// NewResult returns a complete result with an identifier and sequence from n.
func NewResult(n int) *pipeline.Result {
	captured := time.Date(2026, 11, 22, 3, 4, 5, 0, time.UTC).Add(time.Duration(n) * 100 * time.Millisecond)
	r := &pipeline.Result{
		Schema: pipeline.SchemaVersion, ID: fmt.Sprintf("result-%06d", n), Device: "porch", Source: "gate", Stage: "scene",
		Sequence: uint64(n), Captured: captured, CaptureOrigin: pipeline.OriginArrival, Received: captured,
		Decoded: captured.Add(3 * time.Millisecond), Inferred: captured.Add(8 * time.Millisecond),
		Model: pipeline.ModelInfo{Name: "scenes", Digest: "sha256:" + strings.Repeat("0", 64)}, Provider: "cpu",
		Predictions: []pipeline.Prediction{{Class: "car", ClassID: 1, Confidence: 0.75}},
	}
	r.Top = &r.Predictions[0]
	return r
}

// NewEnv returns an Env for a stage that logs to the test and reports to nobody.
func NewEnv(t testing.TB, network pipeline.Network) pipeline.Env {
	return pipeline.Env{
		Device: "porch", Stage: "cloud", Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Stats: pipeline.NewStats(), Network: network, Report: func(pipeline.Status) {},
	}
}

func batchOf(from, to int) (messages []pipeline.Message, ids []string) {
	for i := from; i <= to; i++ {
		r := NewResult(i)
		messages, ids = append(messages, pipeline.Message{Result: r}), append(ids, r.ID)
	}
	return messages, ids
}

func opened(t *testing.T, u Upstream) {
	t.Helper()
	if err := u.Sink.Open(t.Context(), NewEnv(t, u.Network)); err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { closed(t, u) })
}

func closed(t *testing.T, u Upstream) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := u.Sink.Close(ctx); err != nil {
		t.Errorf("close: %v", err)
	}
}

// deliver delivers until the sink takes it, as a publish stage does.
func deliver(t *testing.T, u Upstream, messages []pipeline.Message) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		err := u.Sink.Deliver(ctx, messages)
		if err == nil {
			return
		}
		if ctx.Err() != nil || pipeline.IsPermanent(err) {
			t.Fatalf("deliver: %v", err)
		}
	}
}

// holds waits until the upstream has what it was given. What is acknowledged may still be on its way
// to whoever looks.
func holds(t *testing.T, u Upstream, want []string) {
	t.Helper()
	deadline := time.Now().Add(patience)
	got := u.Received()
	for ; len(got) < len(want) && time.Now().Before(deadline); got = u.Received() {
		time.Sleep(time.Millisecond)
	}
	if !slices.Equal(got, want) {
		t.Fatalf("the upstream has %d results, want %d, first difference at %d", len(got), len(want), differ(got, want))
	}
}

func differ(a, b []string) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

func sinkKeepsOrder(t *testing.T, u Upstream) {
	opened(t, u)
	var want []string
	for i := 1; i <= 500; i += 50 {
		messages, ids := batchOf(i, i+49)
		deliver(t, u, messages)
		want = append(want, ids...)
	}
	holds(t, u, want)
}

func sinkTakesNone(t *testing.T, u Upstream) {
	opened(t, u)
	if err := u.Sink.Deliver(t.Context(), nil); err != nil {
		t.Errorf("deliver nothing: %v", err)
	}
}

func sinkTakesStatuses(t *testing.T, u Upstream) {
	opened(t, u)
	messages, ids := batchOf(1, 2)
	status := pipeline.Message{Status: &pipeline.Status{Stage: "gate", Source: "gate", State: pipeline.StateOnline, Since: time.Now()}}
	deliver(t, u, []pipeline.Message{messages[0], status, messages[1]})
	deliver(t, u, []pipeline.Message{status})
	holds(t, u, ids)
}

func sinkRepeats(t *testing.T, u Upstream) {
	opened(t, u)
	messages, ids := batchOf(1, 3)
	deliver(t, u, messages)
	deliver(t, u, messages)
	holds(t, u, append(ids, ids...))
}

func sinkRefuses(t *testing.T, u Upstream) {
	opened(t, u)
	bad := map[string]func(*pipeline.Result){
		"a confidence that is no number": func(r *pipeline.Result) { r.Predictions[0].Confidence = float32(math.NaN()) },
		"a megabyte":                     func(r *pipeline.Result) { r.Predictions[0].Class = strings.Repeat("x", 1<<20) },
	}
	for name, change := range bad {
		messages, _ := batchOf(1, 3)
		change(messages[1].Result)
		if err := u.Sink.Deliver(t.Context(), messages); !pipeline.IsPermanent(err) {
			t.Errorf("%s: error %v, want a permanent one", name, err)
		}
	}
	messages, ids := batchOf(4, 6)
	deliver(t, u, messages)
	got := u.Received()
	if n := len(got); n >= 3 && !slices.Equal(got[n-3:], ids) {
		t.Errorf("after a refusal the upstream has %v, want %v at the end", got, ids)
	}
	holds(t, u, ids) // nothing of a refused batch
}

func sinkReopens(t *testing.T, u Upstream) {
	var want []string
	for i := 1; i <= 3; i++ {
		if err := u.Sink.Open(t.Context(), NewEnv(t, u.Network)); err != nil {
			t.Fatalf("open: %v", err)
		}
		messages, ids := batchOf(10*i, 10*i+4)
		deliver(t, u, messages)
		want = append(want, ids...)
		closed(t, u)
	}
	holds(t, u, want)
}

func sinkClosesTwice(t *testing.T, u Upstream) {
	closed(t, u)
	opened(t, u)
	closed(t, u)
	closed(t, u)
}

func sinkNotOpen(t *testing.T, u Upstream) {
	messages, _ := batchOf(1, 1)
	if err := u.Sink.Deliver(t.Context(), messages); err == nil || pipeline.IsPermanent(err) {
		t.Errorf("deliver before open: %v, want an error that may be tried again", err)
	}
}

func sinkHeedsContext(t *testing.T, u Upstream) {
	opened(t, u)
	messages, ids := batchOf(1, 2)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := u.Sink.Deliver(ctx, messages); err == nil || pipeline.IsPermanent(err) {
		t.Errorf("deliver with an ended context: %v, want an error that may be tried again", err)
	}
	deliver(t, u, messages)
	holds(t, u, ids)
}

func sinkSurvivesBreak(t *testing.T, u Upstream) {
	if u.Break == nil {
		t.Skip("this upstream cannot be broken here")
	}
	opened(t, u)
	first, ids := batchOf(1, 5)
	deliver(t, u, first)
	holds(t, u, ids)
	mend := u.Break(t)
	second, more := batchOf(6, 10)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := u.Sink.Deliver(ctx, second); err == nil || pipeline.IsPermanent(err) {
		t.Errorf("deliver while the upstream is gone: %v, want an error that may be tried again", err)
	}
	mend()
	deliver(t, u, second)
	holds(t, u, append(ids, more...))
}
