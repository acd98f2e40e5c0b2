package classify

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sightline/models"
	"sightline/pipeline"
)

// fake is a classifier whose answers and failures the test decides.
type fake struct {
	batch  int
	answer func(call int, frames []*pipeline.Frame, answers []pipeline.Answer) error
	calls  int
	closed atomic.Bool
}

var _ pipeline.Classifier = (*fake)(nil)

func (f *fake) Info() pipeline.ModelInfo {
	return pipeline.ModelInfo{Name: "fake", Version: "2", Digest: "sha256:00", Provider: "cpu", MaxBatch: max(f.batch, 1)}
}
func (f *fake) Wish() pipeline.Wish { return pipeline.Wish{Width: 2, Height: 2, Color: pipeline.BGR} }
func (f *fake) Close() error        { f.closed.Store(true); return nil }
func (f *fake) Detail() string      { return "7 threads" }

func (f *fake) Classify(_ context.Context, frames []*pipeline.Frame, answers []pipeline.Answer) error {
	f.calls++
	if f.answer != nil {
		return f.answer(f.calls, frames, answers)
	}
	for i := range answers {
		answers[i].Predictions = append(answers[i].Predictions[:0], pipeline.Prediction{Class: "cat", ClassID: 3, Confidence: 0.75})
		answers[i].Top = 0
	}
	return nil
}

// bench is a stage with everything around it.
type bench struct {
	*Stage
	model  *fake
	pool   pipeline.FramePool
	stop   chan struct{}
	done   chan error
	cancel context.CancelFunc

	mu       sync.Mutex
	statuses []pipeline.Status
}

func newBench(model *fake, sources ...string) *bench {
	stats := pipeline.NewStats()
	b := &bench{model: model, stop: make(chan struct{}), done: make(chan error, 1)}
	b.Stage = &Stage{
		Env: pipeline.Env{Device: "dev", Stage: "scene", Log: slog.New(slog.DiscardHandler), Stats: stats, Report: func(s pipeline.Status) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.statuses = append(b.statuses, s)
		}},
		Open:    func(context.Context) (pipeline.Classifier, error) { return model, nil },
		Inbox:   pipeline.NewInbox("scene", stats),
		Outputs: []*pipeline.ResultLink{pipeline.NewResultLink(16)},
	}
	for _, name := range sources {
		b.Links = append(b.Links, b.Inbox.Link(name))
	}
	return b
}

func (b *bench) start(t *testing.T) {
	var ctx context.Context
	ctx, b.cancel = context.WithCancel(t.Context())
	go func() { b.done <- b.Run(ctx, b.stop) }()
	synctest.Wait()
}

func (b *bench) put(link int, source string, sequence uint64, times pipeline.Times) *pipeline.Frame {
	f := b.pool.New(2, 2)
	f.Source, f.Sequence, f.Times, f.Color = source, sequence, times, pipeline.BGR
	b.Links[link].Put(f)
	return f
}

func (b *bench) count(m pipeline.Metric, labels ...string) uint64 {
	return b.Env.Stats.Counter(m, append([]string{"stage", "scene"}, labels...)...).Value()
}

func (b *bench) results(t *testing.T, output int) []*pipeline.Result {
	t.Helper()
	synctest.Wait()
	ended := make(chan struct{})
	close(ended)
	list, err := b.Outputs[output].Receive(t.Context(), ended, 100, nil)
	if err != nil && !errors.Is(err, pipeline.ErrClosed) {
		t.Fatal(err)
	}
	return list
}

func (b *bench) states() (list []pipeline.State) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.statuses {
		list = append(list, s.State)
	}
	return list
}

func TestAFrameBecomesAResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(&fake{}, "gate")
		b.Outputs = append(b.Outputs, pipeline.NewResultLink(16))
		b.start(t)
		if w := b.Links[0].Wish(); w == nil || w.Color != pipeline.BGR || w.Width != 2 {
			t.Fatalf("the wish is %+v", w)
		}
		now := time.Now()
		b.put(0, "gate", 4, pipeline.Times{Captured: now.Add(-50 * time.Millisecond), Origin: pipeline.OriginSenderReport,
			Received: now.Add(-20 * time.Millisecond), Decoded: now.Add(-5 * time.Millisecond)})
		results, others := b.results(t, 0), b.results(t, 1)
		if len(results) != 1 || len(others) != 1 || results[0] == others[0] || results[0].ID != others[0].ID {
			t.Fatalf("results %+v and %+v", results, others)
		}
		r := results[0]
		if r.Top == nil || *r.Top != (pipeline.Prediction{Class: "cat", ClassID: 3, Confidence: 0.75}) || len(r.Predictions) != 1 {
			t.Errorf("it says %+v, %+v", r.Top, r.Predictions)
		}
		if r.Device != "dev" || r.Source != "gate" || r.Stage != "scene" || r.Sequence != 4 || r.Dropped != 3 || r.Schema != 1 || r.Model.Name != "fake" || r.Provider != "cpu" {
			t.Errorf("it is from %+v", r)
		}
		if l := r.Latency; l.Receive != 0.03 || l.Decode != 0.015 || l.Queue != 0.005 || l.Infer != 0 {
			t.Errorf("latency %+v", l)
		}
		if n := b.count(pipeline.FramesAnalysed, "source", "gate", "provider", "cpu"); n != 1 {
			t.Errorf("%d frames analysed", n)
		}
		close(b.stop)
		if err := <-b.done; err != nil || !b.model.closed.Load() || b.Links[0].Wish() != nil {
			t.Errorf("ended with %v, model closed %v, wish %v", err, b.model.closed.Load(), b.Links[0].Wish())
		}
		if s := b.states(); len(s) != 3 || s[0] != pipeline.StateStarting || s[1] != pipeline.StateOnline || s[2] != pipeline.StateStopped {
			t.Errorf("states %v", s)
		}
		if d := b.statuses[1].Detail; d != "fake on cpu, 7 threads" {
			t.Errorf("detail %q", d)
		}
	})
}

func TestUnderTheThresholdThereIsNoTop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(&fake{answer: func(_ int, _ []*pipeline.Frame, a []pipeline.Answer) error {
			a[0] = pipeline.Answer{Top: -1}
			return nil
		}}, "gate")
		b.start(t)
		b.put(0, "gate", 1, pipeline.Times{})
		r := b.results(t, 0)
		if len(r) != 1 || r[0].Top != nil || r[0].Predictions == nil || len(r[0].Predictions) != 0 {
			t.Errorf("results %+v", r)
		}
		if l := r[0].Latency; l != (pipeline.Latency{}) {
			t.Errorf("latency of unknown times is %+v", l)
		}
		close(b.stop)
		<-b.done
	})
}

func TestCamerasShareAnInference(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(&fake{batch: 4}, "a", "b", "c")
		b.Batch = models.Batch{Max: 3, Wait: 100 * time.Millisecond} // less than makes a camera count as silent
		b.start(t)
		for i, name := range []string{"a", "b", "c"} {
			b.put(i, name, 1, pipeline.Times{})
		}
		time.Sleep(b.Batch.Wait) // a batch of those that came first may wait for more
		r := b.results(t, 0)
		ids := map[string]bool{}
		for _, one := range r {
			ids[one.ID] = true
		}
		// The inbox learns of a source by its first frame, so the first one may go alone.
		if len(r) != 3 || len(ids) != 3 || b.model.calls > 2 {
			t.Errorf("%d results with %d ids in %d calls", len(r), len(ids), b.model.calls)
		}
		before := b.model.calls
		for i, name := range []string{"a", "b", "c"} {
			b.put(i, name, 2, pipeline.Times{})
		}
		if r = b.results(t, 0); len(r) != 3 || b.model.calls != before+1 {
			t.Errorf("%d results in %d calls", len(r), b.model.calls-before)
		}
		close(b.stop)
		<-b.done
	})
}

func TestAPassingFailureIsCountedAndGoneOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		model := &fake{}
		model.answer = func(call int, _ []*pipeline.Frame, a []pipeline.Answer) error {
			if call <= 3 {
				return errors.New("out of memory")
			}
			a[0] = pipeline.Answer{Top: -1}
			return nil
		}
		b := newBench(model, "gate")
		var log strings.Builder
		b.Env.Log = slog.New(slog.NewTextHandler(&log, nil))
		b.start(t)
		for n := range uint64(4) {
			b.put(0, "gate", n+1, pipeline.Times{})
			synctest.Wait()
		}
		r := b.results(t, 0)
		if len(r) != 1 || r[0].Sequence != 4 || r[0].Dropped != 3 {
			t.Fatalf("results %+v", r)
		}
		if n := b.count(pipeline.FramesDropped, "source", "gate", "reason", string(pipeline.DropFailed)); n != 3 {
			t.Errorf("%d counted as failed", n)
		}
		close(b.stop)
		<-b.done
		if n := strings.Count(log.String(), "out of memory"); n != 1 {
			t.Errorf("%d lines in one second:\n%s", n, log.String())
		}
	})
}

func TestWhatEndsTheRun(t *testing.T) {
	tests := []struct {
		name   string
		answer func(int, []*pipeline.Frame, []pipeline.Answer) error
		calls  int
		want   string
	}{
		{"failures without end", func(int, []*pipeline.Frame, []pipeline.Answer) error { return errors.New("device lost") }, tolerated, "device lost"},
		{"an error for good", func(int, []*pipeline.Frame, []pipeline.Answer) error { return pipeline.Permanentf("no such thing") }, 1, "no such thing"},
		{"a panic", func(int, []*pipeline.Frame, []pipeline.Answer) error { panic("index out of range") }, 1, "panic: index out of range"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(&fake{answer: test.answer}, "gate")
				b.start(t)
				for n := range uint64(test.calls) {
					b.put(0, "gate", n+1, pipeline.Times{})
					synctest.Wait()
				}
				err := <-b.done
				if err == nil || !strings.Contains(err.Error(), test.want) || b.model.calls != test.calls || !b.model.closed.Load() {
					t.Errorf("ended after %d calls with %v", b.model.calls, err)
				}
				if s := b.states(); s[len(s)-1] != pipeline.StateOffline {
					t.Errorf("states %v", s)
				}
			})
		})
	}
}

func TestAModelThatDoesNotOpen(t *testing.T) {
	for name, open := range map[string]func(context.Context) (pipeline.Classifier, error){
		"an error": func(context.Context) (pipeline.Classifier, error) { return nil, errors.New("no such model") },
		"a panic":  func(context.Context) (pipeline.Classifier, error) { panic("no such model") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(&fake{}, "gate")
				b.Open = open
				b.start(t)
				if err := <-b.done; err == nil || !strings.Contains(err.Error(), "no such model") {
					t.Errorf("ended with %v", err)
				}
			})
		})
	}
}

func TestTheEndDoesNotWaitForLoading(t *testing.T) {
	for name, test := range map[string]struct {
		end  func(*bench)
		want error
	}{
		"asked to stop": {func(b *bench) { close(b.stop) }, nil},
		"end of grace":  {func(b *bench) { b.cancel() }, context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(&fake{}, "gate")
				loaded := make(chan struct{})
				b.Open = func(context.Context) (pipeline.Classifier, error) {
					<-loaded
					return b.model, nil
				}
				b.start(t)
				test.end(b)
				if err := <-b.done; !errors.Is(err, test.want) {
					t.Errorf("ended with %v", err)
				}
				close(loaded)
				synctest.Wait()
				if !b.model.closed.Load() {
					t.Error("what was loaded in vain is not freed")
				}
			})
		})
	}
}

func TestStopFinishesWhatWaitsAndNothingThatComesLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		model := &fake{}
		enter, leave := make(chan struct{}), make(chan struct{})
		model.answer = func(call int, _ []*pipeline.Frame, a []pipeline.Answer) error {
			a[0] = pipeline.Answer{Top: -1}
			if call == 1 {
				close(enter)
				<-leave
			}
			return nil
		}
		b := newBench(model, "gate", "yard")
		b.start(t)
		b.put(0, "gate", 1, pipeline.Times{Decoded: time.Now()})
		<-enter
		b.put(1, "yard", 1, pipeline.Times{Decoded: time.Now()})
		close(b.stop)
		close(leave)
		if err := <-b.done; err != nil {
			t.Fatal(err)
		}
		if r := b.results(t, 0); len(r) != 2 {
			t.Errorf("%d results, want both", len(r))
		}
	})
}

func TestACameraThatGoesOnDoesNotKeepAStageThatIsStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(&fake{}, "gate")
		sequence := uint64(0)
		b.model.answer = func(_ int, _ []*pipeline.Frame, a []pipeline.Answer) error {
			a[0] = pipeline.Answer{Top: -1}
			time.Sleep(time.Millisecond)
			sequence++
			b.put(0, "gate", sequence, pipeline.Times{Decoded: time.Now()})
			return nil
		}
		b.Outputs = nil
		b.start(t)
		b.put(0, "gate", 0, pipeline.Times{Decoded: time.Now()})
		time.Sleep(10 * time.Millisecond)
		close(b.stop)
		if err := <-b.done; err != nil {
			t.Fatal(err)
		}
		if n := b.count(pipeline.FramesDropped, "source", "gate", "reason", string(pipeline.DropStopping)); n != 1 {
			t.Errorf("%d counted as stopping", n)
		}
	})
}

func TestAFullOutputBlocksAndLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(&fake{}, "gate")
		b.Outputs = []*pipeline.ResultLink{pipeline.NewResultLink(1)}
		b.start(t)
		for n := range uint64(3) {
			b.put(0, "gate", n+1, pipeline.Times{})
			synctest.Wait()
		}
		var sequences []uint64
		for len(sequences) < 3 {
			for _, r := range b.results(t, 0) {
				sequences = append(sequences, r.Sequence)
			}
		}
		if sequences[0] != 1 || sequences[2] != 3 {
			t.Errorf("got %v", sequences)
		}
		b.put(0, "gate", 4, pipeline.Times{})
		b.put(0, "gate", 5, pipeline.Times{})
		synctest.Wait()
		b.put(0, "gate", 6, pipeline.Times{})
		synctest.Wait()
		b.cancel()
		if err := <-b.done; !errors.Is(err, context.Canceled) {
			t.Errorf("ended with %v while its output was full", err)
		}
	})
}

// The result, its predictions and its id: three allocations a frame, however the model answers.
func TestAllocationsPerFrame(t *testing.T) {
	b := newBench(&fake{}, "gate")
	b.Outputs = []*pipeline.ResultLink{pipeline.NewResultLink(1000)}
	r, err := b.newRun(b.model)
	if err != nil {
		t.Fatal(err)
	}
	frames := make([]*pipeline.Frame, 1)
	n := testing.AllocsPerRun(100, func() {
		f := b.pool.New(2, 2)
		f.Source, f.Times.Decoded = "gate", time.Now()
		frames[0] = f
		if err := r.take(t.Context(), frames); err != nil {
			t.Fatal(err)
		}
	})
	if n > 3 && !raceEnabled {
		t.Errorf("%v allocations a frame, want 3", n)
	}
}

func TestAModelThatDoesNotLoadIsAnErrorAndNoPanicWhateverComesWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(&fake{}, "gate")
		refused := errors.New("not a model")
		b.Open = func(context.Context) (pipeline.Classifier, error) {
			var none *fake // as functions give that return a type of their own
			return none, refused
		}
		b.start(t)
		if err := <-b.done; !errors.Is(err, refused) {
			t.Errorf("ended with %v", err)
		}
	})
}
