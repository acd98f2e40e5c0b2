package pipeline

import (
	"sync"
	"time"
)

// Seldom lets what happens often be told once in ten seconds, with how often it happened. The zero
// value is ready.
type Seldom struct {
	mu    sync.Mutex
	next  time.Time
	count int
}

// Due adds n times that it happened now, and says whether to tell of it, and how often it happened since
// that was done last.
func (s *Seldom) Due(now time.Time, n int) (since int, tell bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count += n
	if now.Before(s.next) {
		return 0, false
	}
	n, s.count, s.next = s.count, 0, now.Add(10*time.Second)
	return n, true
}
