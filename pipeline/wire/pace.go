package wire

import (
	"context"
	"time"
)

// pace slows a reader down to a rate, so that who floods only fills its own window.
type pace struct {
	rate, burst float64 // events a second; events that may come at once
	tokens      float64
	last        time.Time
}

// wait counts one event and waits while there were too many.
func (p *pace) wait(ctx context.Context) error {
	over := p.take(time.Now())
	if over <= 0 {
		return nil
	}
	timer := time.NewTimer(over)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// take counts one event at a time and returns how long to wait for it to be within the rate.
func (p *pace) take(now time.Time) time.Duration {
	if p.last.IsZero() {
		p.tokens = p.burst
	} else {
		p.tokens = min(p.tokens+now.Sub(p.last).Seconds()*p.rate, p.burst)
	}
	p.last = now
	p.tokens--
	if p.tokens >= 0 {
		return 0
	}
	return time.Duration(-p.tokens / p.rate * float64(time.Second))
}

// allows counts one event and tells whether it is within the rate; one that is not is not counted.
func (p *pace) allows(now time.Time) bool {
	if p.take(now) > 0 {
		p.tokens++
		return false
	}
	return true
}
