package pipeline

import (
	"math/rand/v2"
	"time"
)

// Backoff says how long to wait before trying again: exponential with jitter, capped, for ever.
type Backoff struct {
	Least time.Duration // before the first retry; 0 means 500 ms
	Most  time.Duration // cap; 0 means 5 minutes
}

// Delay returns the wait before retry number attempt (from 1), of which up to a quarter is jitter
// taken from random in [0,1). It is a pure function.
func (b Backoff) Delay(attempt int, random float64) time.Duration {
	least, most := b.Least, b.Most
	if least <= 0 {
		least = 500 * time.Millisecond
	}
	if most <= 0 {
		most = 5 * time.Minute
	}
	d := least
	for i := 1; i < attempt && d < most; i++ {
		d *= 2
	}
	d = min(d, most)
	return d - time.Duration(float64(d)*0.25*random)
}

// Wait is Delay with a random number of its own.
func (b Backoff) Wait(attempt int) time.Duration { return b.Delay(attempt, rand.Float64()) }
