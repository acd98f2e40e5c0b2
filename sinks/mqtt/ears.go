package mqtt

import (
	"slices"
	"sync"
	"time"
)

// calm is the least time between two answers to Home Assistant's having come up.
const calm = 5 * time.Second

// ears take what the broker sends over one connection. Whatever it sends, they keep little of it.
type ears struct {
	discovery *discovery
	signal    chan struct{} // there is something to do

	mu    sync.Mutex
	born  bool // Home Assistant has come up
	stale []string
	spoke time.Time // when it was last answered
}

func newEars(d *discovery) *ears { return &ears{discovery: d, signal: make(chan struct{}, 1)} }

// hear is called while the connection is read, and never waits.
func (e *ears) hear(h heard) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case h.payload == online && slices.Contains(e.discovery.births(), h.topic):
		e.born = true
	case h.payload != "" && len(e.stale) < maxStale && e.discovery.stale(h.topic) && !slices.Contains(e.stale, h.topic):
		e.stale = append(e.stale, h.topic)
	default:
		return
	}
	e.wake()
}

func (e *ears) wake() {
	select {
	case e.signal <- struct{}{}:
	default:
	}
}

// take returns what is to be removed, and whether everything is to be said again now.
func (e *ears) take(now time.Time) (stale []string, born bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	stale, e.stale = e.stale, nil
	if !e.born {
		return stale, false
	}
	if left := calm - now.Sub(e.spoke); left > 0 && !e.spoke.IsZero() {
		time.AfterFunc(left, e.wake)
		return stale, false
	}
	e.born, e.spoke = false, now
	return stale, true
}
