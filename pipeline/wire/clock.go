package wire

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

const (
	clockSamples = 8
	clockBurst   = 8   // exchanges in a row when a wire begins
	clockDrift   = 500 // parts per million that two clocks may drift apart, at most
	clockLimit   = 100 * 365 * 24 * time.Hour
	clockAsk     = 8  // bytes of a question: its number
	clockTell    = 24 // bytes of an answer: the number, received, sent (nanoseconds since 1970)
	clockRate    = 100
)

// Clock tells a stage the host's time, by exchanges as NTP makes them (RFC 5905 §8): the stage's
// clock when asking and when hearing, the host's when asked and when answering. Of the last eight
// exchanges the one with the shortest round trip counts (§10).
//
// Only what is proved wrong is corrected: while the difference of the clocks is within the error of
// the measurement, half of the round trip, it counts as none. So in a box under the host's own kernel
// times stay exactly as they are.
//
// A nil Clock is the host's own. Its methods may be called from any goroutine.
type Clock struct {
	now    func() time.Time
	offset atomic.Int64 // host − stage, as applied

	mu      sync.Mutex
	samples []clockSample
}

type clockSample struct {
	offset, delay time.Duration
	at            time.Time // stage's clock, for its monotonic reading
}

// bound is how wrong the sample may be at a time.
func (s clockSample) bound(now time.Time) time.Duration {
	return s.delay/2 + max(now.Sub(s.at), 0)*clockDrift/1_000_000
}

// NewClock returns a clock that corrects what now says; nil means time.Now.
func NewClock(now func() time.Time) *Clock {
	if now == nil {
		now = time.Now
	}
	return &Clock{now: now}
}

// Now returns the host's time.
func (c *Clock) Now() time.Time {
	if c == nil {
		return time.Now()
	}
	return c.ToHost(c.now())
}

// Offset returns what is added to the stage's time to have the host's.
func (c *Clock) Offset() time.Duration {
	if c == nil {
		return 0
	}
	return time.Duration(c.offset.Load())
}

// ToHost converts a time of the stage to the host's; the zero time stays.
func (c *Clock) ToHost(t time.Time) time.Time { return c.shift(t, c.Offset()) }

// FromHost converts a time of the host to the stage's; the zero time stays.
func (c *Clock) FromHost(t time.Time) time.Time { return c.shift(t, -c.Offset()) }

func (c *Clock) shift(t time.Time, by time.Duration) time.Time {
	if by == 0 || t.IsZero() {
		return t
	}
	return t.Add(by)
}

// Error returns how far off Now may be, and whether there was an exchange at all.
func (c *Clock) Error() (bound time.Duration, known bool) {
	if c == nil {
		return 0, true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.samples) == 0 {
		return 0, false
	}
	return c.best().bound(c.now()), true
}

// best is the sample that is the least wrong now. mu is held, and there is one.
func (c *Clock) best() clockSample {
	now := c.now()
	best := c.samples[0]
	for _, s := range c.samples[1:] {
		if s.bound(now) <= best.bound(now) {
			best = s
		}
	}
	return best
}

// learn takes an exchange into account.
func (c *Clock) learn(asked time.Time, took time.Duration, received, sent int64) error {
	host := time.Duration(sent - received)
	heard := asked.Add(took)
	first, second := time.Unix(0, received).Sub(asked), time.Unix(0, sent).Sub(heard)
	s := clockSample{offset: first/2 + second/2, delay: took - host, at: heard}
	if host < 0 || s.delay < 0 || s.offset > clockLimit || s.offset < -clockLimit {
		return fmt.Errorf("clock %s off, %s between question and answer: %w", s.offset, host, ErrMalformed)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.samples) > 0 {
		best := c.best()
		if apart := (s.offset - best.offset).Abs(); apart > s.bound(heard)+best.bound(heard) {
			c.samples = c.samples[:0] // one of the clocks was set: what was measured before is void
		}
	}
	if len(c.samples) == clockSamples {
		c.samples = append(c.samples[:0], c.samples[1:]...)
	}
	c.samples = append(c.samples, s)
	best := c.best()
	if applied := best.offset; applied.Abs() > best.bound(heard) {
		c.offset.Store(int64(applied))
	} else {
		c.offset.Store(0)
	}
	return nil
}

// exchange asks once.
func (c *Clock) exchange(rw io.ReadWriter, number uint64) error {
	var ask [clockAsk]byte
	var tell [clockTell]byte
	binary.BigEndian.PutUint64(ask[:], number)
	asked := c.now()
	if _, err := rw.Write(ask[:]); err != nil {
		return err
	}
	if _, err := io.ReadFull(rw, tell[:]); err != nil {
		return cut(err)
	}
	took := c.now().Sub(asked)
	if binary.BigEndian.Uint64(tell[:]) != number {
		return fmt.Errorf("answer to another question: %w", ErrMalformed)
	}
	return c.learn(asked, took, int64(binary.BigEndian.Uint64(tell[8:])), int64(binary.BigEndian.Uint64(tell[16:])))
}

// burst asks a few times in a row. One exchange that the clock was set in the middle of is no harm.
func (c *Clock) burst(rw io.ReadWriter, first uint64) error {
	for n := range uint64(clockBurst) {
		if err := c.exchange(rw, first+n); err != nil && !errors.Is(err, ErrMalformed) {
			return err
		}
	}
	if _, known := c.Error(); !known {
		return fmt.Errorf("no exchange of times was of use: %w", ErrMalformed)
	}
	return nil
}

// keep goes on asking until the wire ends.
func (c *Clock) keep(ctx context.Context, rw io.ReadWriter) error {
	tick := time.NewTicker(clockEvery)
	defer tick.Stop()
	for number := uint64(clockBurst); ; number++ {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := c.exchange(rw, number); err != nil && !errors.Is(err, ErrMalformed) {
			return err
		}
	}
}

// answerClock is the supervisor's side: it answers until the stream ends.
func answerClock(ctx context.Context, rw io.ReadWriter, now func() time.Time) error {
	slow := pace{rate: clockRate, burst: 2 * clockRate}
	var ask [clockAsk]byte
	var tell [clockTell]byte
	for {
		if _, err := io.ReadFull(rw, ask[:]); err != nil {
			return err
		}
		copy(tell[:], ask[:])
		binary.BigEndian.PutUint64(tell[8:], uint64(now().UnixNano()))
		binary.BigEndian.PutUint64(tell[16:], uint64(now().UnixNano()))
		if _, err := rw.Write(tell[:]); err != nil {
			return err
		}
		if err := slow.wait(ctx); err != nil {
			return err
		}
	}
}
