package pipeline

import (
	"sync"
	"time"
)

// How often Seldom tells.
const (
	seldomFirst = 10 * time.Second
	seldomMost  = time.Hour
	seldomCalm  = 10 * time.Minute
)

// Seldom lets what happens often be told ever less often, with how often it happened: at once, after
// ten seconds, twenty, forty, and so on up to an hour; a day of it is some thirty lines. After ten
// minutes without it all begins anew. The zero value is ready.
type Seldom struct {
	mu         sync.Mutex
	last, next time.Time
	gap        time.Duration // from the next telling to the one after it
	count      int
}

// Due adds n times that it happened now, and says whether to tell of it, and how often it happened since
// that was done last.
func (s *Seldom) Due(now time.Time, n int) (since int, tell bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gap == 0 || now.Sub(s.last) >= seldomCalm {
		s.gap, s.next = seldomFirst, now
	}
	s.last = now
	s.count += n
	if now.Before(s.next) {
		return 0, false
	}
	n, s.count = s.count, 0
	s.next, s.gap = now.Add(s.gap), min(2*s.gap, seldomMost)
	return n, true
}
