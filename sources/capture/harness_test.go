package capture

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"sightline/pipeline"
	"sightline/sources"
	"sightline/sources/encode"
)

// fake is a source that does what the test says.
type fake func(ctx context.Context, take func(*pipeline.Unit)) error

func (f fake) Receive(ctx context.Context, _ pipeline.Env, take func(*pipeline.Unit)) error {
	return f(ctx, take)
}

var _ pipeline.Source = fake(nil)

// clip encodes a stream at 25 pictures a second.
func clip(t testing.TB, o encode.Options, pictures int) []*pipeline.Unit {
	t.Helper()
	if o.Width == 0 {
		o.Width, o.Height = 128, 96
	}
	e, err := encode.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	var all []*pipeline.Unit
	take := func(nals [][]byte, key bool, pts int64) error {
		u := &pipeline.Unit{Codec: e.Options().Codec, Keyframe: key, Origin: pipeline.OriginArrival}
		u.PTS = time.Duration(pts) * time.Second / encode.Clock
		for _, n := range nals {
			u.NALs = append(u.NALs, bytes.Clone(n))
		}
		all = append(all, u)
		return nil
	}
	i420, random := make([]byte, e.Options().PictureSize()), rand.New(rand.NewPCG(3, 4))
	for i := range pictures {
		for j := range i420 {
			i420[j] = byte(60+(j/5+i*3)%120) + byte(random.IntN(8))
		}
		if err := e.Encode(i420, int64(i*encode.Clock/25), take); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Drain(take); err != nil {
		t.Fatal(err)
	}
	return all
}

// fresh returns the unit as received now.
func fresh(u *pipeline.Unit) *pipeline.Unit {
	c := *u
	c.Received = time.Now()
	c.Captured = c.Received.Add(-time.Millisecond)
	return &c
}

// rig is a stage with one consumer.
type rig struct {
	stage  *Stage
	stats  *pipeline.Stats // of the stage
	inbox  *pipeline.Inbox
	link   *pipeline.FrameLink
	log    *bytes.Buffer
	mu     sync.Mutex
	states []pipeline.Status
	news   chan pipeline.Status
}

var small = pipeline.Wish{Width: 32, Height: 24, Color: pipeline.RGB}

func newRig(config sources.Config, source fake) *rig {
	r := &rig{stats: pipeline.NewStats(), log: &bytes.Buffer{}, news: make(chan pipeline.Status, 1000)}
	r.inbox = pipeline.NewInbox("scene", pipeline.NewStats())
	r.link = r.inbox.Link("gate")
	if config.Decoder == "" {
		config.Decoder = "software"
	}
	r.stage = &Stage{
		Source: source, Config: config, Links: []*pipeline.FrameLink{r.link},
		Backoff: pipeline.Backoff{Least: time.Millisecond, Most: time.Millisecond},
		Env: pipeline.Env{
			Device: "device", Stage: "gate", Stats: r.stats, Log: slog.New(slog.NewTextHandler(r.log, nil)),
			Report: func(s pipeline.Status) {
				r.mu.Lock()
				defer r.mu.Unlock()
				r.states = append(r.states, s)
				select {
				case r.news <- s:
				default:
				}
			},
		},
	}
	return r
}

// run runs the stage until the test ends it, and returns what Run returned.
func (r *rig) run(t *testing.T) (end func() error) {
	t.Helper()
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- r.stage.Run(t.Context(), stop) }()
	var once sync.Once
	var err error
	end = func() error {
		once.Do(func() {
			close(stop)
			err = <-done
		})
		return err
	}
	t.Cleanup(func() { end() })
	return end
}

// frame waits for the next frame.
func (r *rig) frame(t *testing.T) *pipeline.Frame {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	frames, err := r.inbox.Take(ctx, nil, 1, 0, nil)
	if err != nil {
		t.Fatalf("no frame came: %v", err)
	}
	return frames[0]
}

// await waits for a state.
func (r *rig) await(t *testing.T, state pipeline.State) pipeline.Status {
	t.Helper()
	for {
		select {
		case s := <-r.news:
			if s.State == state {
				return s
			}
		case <-time.After(time.Minute):
			t.Fatalf("the stage never said that it is %s", state)
		}
	}
}

func (r *rig) drops() map[pipeline.Reason]uint64 {
	found := map[pipeline.Reason]uint64{}
	for _, reason := range pipeline.Reasons {
		n := r.stats.Counter(pipeline.FramesDropped, "stage", "gate", "source", "gate", "reason", string(reason)).Value()
		if n > 0 {
			found[reason] = n
		}
	}
	return found
}

func (r *rig) count(m pipeline.Metric) uint64 {
	return r.stats.Counter(m, "stage", "gate", "source", "gate").Value()
}

// ledger fails unless every unit received was sent, frames times, or dropped for one reason.
func (r *rig) ledger(t *testing.T, frames uint64) {
	t.Helper()
	dropped := uint64(0)
	for _, n := range r.drops() {
		dropped += n
	}
	received, sent := r.count(pipeline.FramesReceived), r.count(pipeline.FramesSent)
	if sent%frames != 0 || received != dropped+sent/frames {
		t.Errorf("%d units received, %d sent as %d frames each, %d dropped: %v", received, sent/frames, frames, dropped, r.drops())
	}
}

// steps is a source that gives one unit whenever the test says so.
type steps struct {
	units chan *pipeline.Unit
	fail  chan error
}

func newSteps() *steps {
	return &steps{units: make(chan *pipeline.Unit), fail: make(chan error)}
}

func (s *steps) receive(ctx context.Context, take func(*pipeline.Unit)) error {
	for {
		select {
		case u := <-s.units:
			take(u)
		case err := <-s.fail:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

var errUnplugged = errors.New("read rtsp://viewer:secret@192.0.2.1/stream: unplugged")

// all is a source that gives all units at once, and then waits.
func all(units []*pipeline.Unit) fake {
	return func(ctx context.Context, take func(*pipeline.Unit)) error {
		for _, u := range units {
			take(fresh(u))
		}
		<-ctx.Done()
		return ctx.Err()
	}
}
