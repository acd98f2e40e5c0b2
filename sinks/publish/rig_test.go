package publish_test

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sightline/pipeline"
	"sightline/sinks"
	"sightline/sinks/publish"
	"sightline/sinks/sinktest"
	"sightline/sinks/spool"
)

// upstream is a sink whose answers a test decides.
type upstream struct {
	// answer decides on a batch; nil takes it.
	answer func(ctx context.Context, messages []pipeline.Message) error
	open   func() error // nil opens

	mu       sync.Mutex
	env      pipeline.Env
	got      []pipeline.Message // taken
	copies   []pipeline.Result  // of results as they were when taken
	batches  []int
	at       []time.Time
	opened   int
	closed   int
	openNow  bool
	received chan struct{}
}

func newUpstream() *upstream { return &upstream{received: make(chan struct{}, 1)} }

func (u *upstream) Open(_ context.Context, env pipeline.Env) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.opened++
	u.env = env
	if u.open != nil {
		if err := u.open(); err != nil {
			return err
		}
	}
	u.openNow = true
	return nil
}

func (u *upstream) Deliver(ctx context.Context, messages []pipeline.Message) error {
	if u.answer != nil {
		if err := u.answer(ctx, messages); err != nil {
			return err
		}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.got = append(u.got, messages...)
	for _, m := range messages {
		if m.Result != nil {
			u.copies = append(u.copies, *m.Result)
		}
	}
	u.batches, u.at = append(u.batches, len(messages)), append(u.at, time.Now())
	select {
	case u.received <- struct{}{}:
	default:
	}
	return nil
}

func (u *upstream) Close(context.Context) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.closed++
	u.openNow = false
	return nil
}

var _ pipeline.Sink = (*upstream)(nil)

// sequences are those of the results taken.
func (u *upstream) sequences() (list []uint64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, m := range u.got {
		if m.Result != nil {
			list = append(list, m.Result.Sequence)
		}
	}
	return list
}

// rig is a stage that runs.
type rig struct {
	*publish.Stage
	way      *spool.Way
	up       *upstream
	stats    *pipeline.Stats
	log      *strings.Builder
	mu       sync.Mutex
	statuses []pipeline.Status
	stop     chan struct{}
	cancel   context.CancelFunc
	ended    chan error
}

func newRig(up *upstream) *rig {
	return newRigWith(up, sinks.Spool{MaxBytes: 16 << 20, MaxAge: time.Hour, Full: sinks.DropOldest})
}

func newRigWith(up *upstream, c sinks.Spool) *rig {
	r := &rig{up: up, stats: pipeline.NewStats(), log: &strings.Builder{}}
	log := slog.New(slog.NewTextHandler(r.log, nil))
	var err error
	if r.way, err = spool.Open(spool.Options{Config: c, Stage: "cloud", Stats: r.stats, Log: log}); err != nil {
		panic(err) // never for one in memory
	}
	r.Stage = &publish.Stage{
		Input: r.way, Sink: up,
		Env: pipeline.Env{
			Device: "porch", Stage: "cloud", Log: log, Stats: r.stats,
			Report: func(s pipeline.Status) {
				r.mu.Lock()
				defer r.mu.Unlock()
				r.statuses = append(r.statuses, s)
			},
		},
	}
	return r
}

func (r *rig) run() {
	var ctx context.Context
	ctx, r.cancel = context.WithCancel(context.Background())
	r.stop, r.ended = make(chan struct{}), make(chan error, 1)
	stop, ended := r.stop, r.ended
	go func() { ended <- r.Run(ctx, stop) }()
}

// finish stops the stage gently.
func (r *rig) finish(t *testing.T) {
	t.Helper()
	close(r.stop)
	if err := <-r.ended; err != nil {
		t.Errorf("run: %v", err)
	}
	r.cancel()
}

func (r *rig) send(from, to uint64) {
	for i := from; i <= to; i++ {
		r.way.Put(sinktest.Message("gate", i, "car"), nil)
	}
}

func (r *rig) states() (list []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.statuses {
		list = append(list, strings.TrimSpace(string(s.State)+" "+s.Reason))
	}
	return list
}

// metric reads a series of the stage; labels are those after the stage.
func (r *rig) metric(m pipeline.Metric, labels ...string) float64 {
	want := append([]string{"stage", "cloud"}, labels...)
	for _, s := range r.stats.Snapshot() {
		if s.Name == m.Name && slices.Equal(s.Labels, want) {
			if s.Kind != pipeline.KindHistogram {
				return s.Value
			}
			n := uint64(0)
			for _, c := range s.Counts {
				n += c
			}
			return float64(n)
		}
	}
	return -1
}

func upTo(n uint64) (list []uint64) {
	for i := uint64(1); i <= n; i++ {
		list = append(list, i)
	}
	return list
}

func equal[T comparable](t *testing.T, what string, got, want []T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// within runs a test with a clock of its own, that only moves when nothing else can.
func within(t *testing.T, test func(t *testing.T)) { synctest.Test(t, test) }
