package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/yamux"

	"sightline/pipeline"
)

// StageOptions say who a stage is.
type StageOptions struct {
	Greeting Greeting
	Level    slog.Leveler     // of the records sent to the supervisor; nil means slog.LevelInfo
	Now      func() time.Time // the stage's clock; nil means time.Now
}

// Stage is the stage's end: it holds what the stage works with (its links, statistics, log and
// network) for as long as the stage lives, while wires come and go.
//
// Make it with NewStage, run Serve for every wire, await Configured, hand the stage its Env and
// links, and end with Finish.
type Stage struct {
	o     StageOptions
	clock *Clock
	stats *pipeline.Stats
	log   *slog.Logger
	logs  *logBuffer
	ctx   context.Context
	end   context.CancelFunc
	wake  chan struct{} // something is there for the supervisor

	configured chan struct{}
	stop       chan struct{}
	stopOnce   sync.Once
	bye        chan struct{}
	byeOnce    sync.Once
	current    atomic.Pointer[session]

	mu       sync.Mutex
	nonce    pipeline.Secret
	raw      []byte // the configuration as it came
	config   Configuration
	grace    time.Duration
	statuses []*reported
	exit     *Exit
	beats    uint64
	back     chan struct{} // closed when the next wire is there

	links stageLinks
}

type reported struct {
	status pipeline.Status
	told   bool
}

// NewStage returns the end of a stage that has no wire yet.
func NewStage(o StageOptions) *Stage {
	if o.Level == nil {
		o.Level = slog.LevelInfo
	}
	st := &Stage{
		o: o, clock: NewClock(o.Now), stats: pipeline.NewStats(), nonce: o.Greeting.Nonce, wake: make(chan struct{}, 1),
		configured: make(chan struct{}), stop: make(chan struct{}), bye: make(chan struct{}), back: make(chan struct{}),
	}
	st.ctx, st.end = context.WithCancel(context.Background())
	st.logs = &logBuffer{signal: st.signal}
	st.log = slog.New(&logHandler{buffer: st.logs, clock: st.clock, level: o.Level})
	return st
}

func (st *Stage) signal() {
	select {
	case st.wake <- struct{}{}:
	default:
	}
}

// Serve says hello over conn and serves the wire until it ends or ctx does; it says why it ended. It
// owns conn. When the supervisor is gone, the stage calls it again with the next connection: its
// links go on where they were. One wire at a time.
func (st *Stage) Serve(ctx context.Context, conn io.ReadWriteCloser) error {
	g := st.o.Greeting
	st.mu.Lock()
	g.Nonce = st.nonce
	st.mu.Unlock()
	err := within(ctx, conn, func() error {
		_, nonce, err := greet(conn, g)
		if err == nil {
			st.mu.Lock()
			st.nonce = nonce
			st.mu.Unlock()
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("wire to the supervisor: %w", err)
	}
	s, err := newSession(ctx, conn, true, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	if err := st.begin(s); err != nil {
		s.fail(err)
	}
	err = s.wait()
	st.current.CompareAndSwap(s, nil)
	return fmt.Errorf("wire to the supervisor: %w", err)
}

// begin learns the time and the configuration, and opens the links.
func (st *Stage) begin(s *session) error {
	clock, err := s.open(opening{kind: streamClock})
	if err != nil {
		return err
	}
	clock.SetReadDeadline(time.Now().Add(openingTimeout)) //nolint:errcheck // never fails
	if err := st.clock.burst(clock, 0); err != nil {
		return s.lost("learn the time", err)
	}
	clock.SetReadDeadline(time.Time{}) //nolint:errcheck // never fails
	control, err := s.open(opening{kind: streamControl})
	if err != nil {
		return err
	}
	control.SetReadDeadline(time.Now().Add(openingTimeout)) //nolint:errcheck // never fails
	t, body, err := readRecord(control, nil, supervisorLimit)
	if err == nil && t != recConfigure {
		err = fmt.Errorf("record of type %d before the configuration: %w", t, ErrUnexpected)
	}
	if err != nil {
		return s.lost("read the configuration", err)
	}
	control.SetReadDeadline(time.Time{}) //nolint:errcheck // never fails
	st.current.Store(s)
	if err := st.configure(body); err != nil {
		return err
	}
	s.work.Go(func() { st.endOn(s, st.clock.keep(s.ctx, clock)) })
	s.work.Go(func() { st.endOn(s, st.listen(s, control)) })
	s.work.Go(func() { st.endOn(s, st.speak(s, control)) })
	s.straight = st.links.straight
	s.start(&st.links.ends, st.clock)
	s.work.Go(func() { s.accept(st.handle(s)) })
	st.mu.Lock()
	close(st.back)
	st.back = make(chan struct{})
	st.mu.Unlock()
	return nil
}

// backAgain is closed when the next wire is there.
func (st *Stage) backAgain() <-chan struct{} {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.back
}

func (st *Stage) endOn(s *session, err error) {
	if err != nil {
		s.fail(s.lost("serve the supervisor", err))
	}
}

// configure takes the configuration of the first wire, and holds every later one to it.
func (st *Stage) configure(body []byte) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.raw != nil {
		if !bytes.Equal(st.raw, body) {
			return fmt.Errorf("another configuration than the stage runs with: %w", ErrUnexpected)
		}
		for _, r := range st.statuses {
			r.told = false
		}
		return nil
	}
	c, err := decodeConfiguration(body)
	if err == nil {
		err = c.Links.check(st.o.Greeting.Kind, len(c.Grants))
	}
	if err != nil {
		return err
	}
	st.raw, st.config = body, c
	st.log = st.log.With("stage", c.Stage)
	st.links.make(st, c)
	close(st.configured)
	return nil
}

// handle serves a stream that the supervisor opened.
func (st *Stage) handle(s *session) func(*yamux.Stream, opening) error {
	return func(stream *yamux.Stream, o opening) error {
		switch o.kind {
		case streamFrames:
			return s.giveFrames(stream, o, st.links.ends.FramesOut, st.clock)
		case streamResults:
			return s.takeResults(stream, o, st.links.ends.ResultsIn, st.clock)
		}
		return fmt.Errorf("stream of type %d: %w", o.kind, ErrUnexpected)
	}
}

// listen reads what the supervisor says after the configuration.
func (st *Stage) listen(s *session, control net.Conn) error {
	for {
		t, body, err := readRecord(control, nil, supervisorLimit)
		if err != nil {
			return cut(err)
		}
		switch t {
		case recStop:
			grace, err := decodeStop(body)
			if err != nil {
				return err
			}
			st.stopOnce.Do(func() {
				st.mu.Lock()
				st.grace = grace
				st.mu.Unlock()
				close(st.stop)
			})
		case recBye:
			st.byeOnce.Do(func() { close(st.bye) })
		case recLink:
			if err := st.take(s, body); err != nil {
				return err
			}
		default:
			return fmt.Errorf("record of type %d: %w", t, ErrUnexpected)
		}
	}
}

// Configured waits for the first wire's configuration.
func (st *Stage) Configured(ctx context.Context) (Configuration, error) {
	select {
	case <-st.configured:
		return st.config, nil
	case <-ctx.Done():
		return Configuration{}, fmt.Errorf("wait for the configuration: %w", ctx.Err())
	}
}

// Env is what the stage is handed. It is called after Configured.
func (st *Stage) Env() pipeline.Env {
	env := pipeline.Env{Device: st.config.Device, Stage: st.config.Stage, Log: st.log, Stats: st.stats, Report: st.report}
	if len(st.config.Grants) > 0 {
		env.Network = &network{session: st.current.Load, back: st.backAgain}
	}
	return env
}

// Clock tells the host's time.
func (st *Stage) Clock() *Clock { return st.clock }

// Stop is closed when the supervisor asks the stage to end; Grace then says how long it may take.
func (st *Stage) Stop() <-chan struct{} { return st.stop }

// Grace is how long the stage may take to end once Stop is closed.
func (st *Stage) Grace() time.Duration {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.grace
}

// report keeps the newest status of each source, and never waits.
func (st *Stage) report(s pipeline.Status) {
	s.Since = st.clock.ToHost(s.Since)
	s.Reason, s.Detail = clip(pipeline.RedactText(s.Reason), maxText), clip(pipeline.RedactText(s.Detail), maxText)
	s.Stage, s.Source = clip(s.Stage, maxName), clip(s.Source, maxName)
	st.mu.Lock()
	found := false
	for _, r := range st.statuses {
		if r.status.Stage == s.Stage && r.status.Source == s.Source {
			r.status, r.told, found = s, false, true
		}
	}
	if !found && len(st.statuses) < maxStatuses {
		st.statuses = append(st.statuses, &reported{status: s})
	}
	st.mu.Unlock()
	st.signal()
}

// Finish ends the stage after its Run returned err: it waits until all results were taken, sends the
// last log, statistics and the exit, waits until the supervisor heard of it, and ends the wire.
// When ctx ends before that, the rest is let go, and the error says so.
func (st *Stage) Finish(ctx context.Context, err error) error {
	defer st.links.direct.Wait()
	defer st.end()
	lost := st.links.drain(ctx)
	e := &Exit{}
	if err != nil {
		e = &Exit{Reason: clip(pipeline.RedactText(err.Error()), maxText), Permanent: pipeline.IsPermanent(err)}
	}
	st.mu.Lock()
	st.exit = e
	st.mu.Unlock()
	st.signal()
	select {
	case <-st.bye:
	case <-ctx.Done():
		lost = errors.Join(lost, fmt.Errorf("say goodbye: %w", ctx.Err()))
	}
	if s := st.current.Load(); s != nil {
		s.fail(fmt.Errorf("the stage is done: %w", ErrEnded))
	}
	return lost
}
