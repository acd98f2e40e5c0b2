package file

import (
	"context"
	"time"
)

const (
	usual = 40 * time.Millisecond // between pictures of a file that does not say
	// A file's times may jump by this much, or by three pictures. A greater jump, and each one back, is
	// taken for a cut and played as if nothing were there.
	jump  = 10 * time.Second
	limit = time.Hour // of what a file can say
	apart = 5 * time.Second
)

// clock gives the pictures of a file times that only go on, through cuts and rounds.
type clock struct {
	interval time.Duration
	now      time.Duration // decoding time of the packet before
	raw      time.Duration // the same as it is in the file
	follows  bool          // there was a packet before in this round
	placed   bool          // there was a packet before
	began    time.Time     // when now was 0; zero: not yet
}

// begin begins a round: it follows the one before by one picture.
func (c *clock) begin(interval time.Duration) {
	c.interval = usual
	if interval > 0 {
		c.interval = min(max(interval, time.Millisecond), limit)
	}
	c.follows = false
}

// place returns when a packet's picture is shown and when the packet is due, on a clock that begins at 0.
func (c *clock) place(p *packet) (pts, due time.Duration) {
	raw := p.dts
	if raw == noTime {
		raw = p.pts
	}
	step := c.interval
	if raw != noTime && c.follows && c.raw != noTime {
		if between := raw - c.raw; between >= 0 && between <= max(jump, 3*c.interval) {
			step = between
		}
	} else if p.duration > 0 && raw == noTime {
		step = min(p.duration, limit)
	}
	if c.placed {
		c.now += step
	}
	c.raw, c.follows, c.placed = raw, true, true
	pts = c.now
	if p.pts != noTime && p.dts != noTime {
		pts += min(max(p.pts-p.dts, -apart), apart)
	}
	return pts, c.now
}

// wait returns when something is due. A clock that was held up, by a machine asleep for example, goes on
// from there.
func (c *clock) wait(ctx context.Context, due time.Duration) error {
	now := time.Now()
	if c.began.IsZero() || now.Sub(c.began) > due+time.Second {
		c.began = now.Add(-due)
	}
	left := c.began.Add(due).Sub(now)
	if left <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
