package pipeline

import (
	"slices"
	"sync"
)

// Intake is where a publish stage takes from. Results and events come in their order and stay until
// they are acknowledged, so that a stage that dies loses none. Peek and Ack are called by one stage at
// a time, from one goroutine.
type Intake interface {
	// Arrived is signalled when something has come.
	Arrived() <-chan struct{}
	// Statuses appends the statuses that came since the last call, of each stage and source the
	// newest.
	Statuses(into []Status) []Status
	// Peek appends up to limit of the oldest results and events to into. They stay until Ack.
	Peek(limit int, into []Message) []Message
	// Ack removes the n oldest of what Peek returned; the next Peek begins behind them.
	Ack(n int)
}

// Statuses keeps of each stage and source the newest status, so that handing one over never blocks.
// The zero value is ready; its methods may be called from any goroutine.
type Statuses struct {
	mu   sync.Mutex
	list []Status
}

// Put takes a status; it replaces one of the same stage and source that still waits.
func (k *Statuses) Put(s Status) {
	k.mu.Lock()
	defer k.mu.Unlock()
	same := func(o Status) bool { return o.Stage == s.Stage && o.Source == s.Source }
	if i := slices.IndexFunc(k.list, same); i >= 0 {
		k.list[i] = s
		return
	}
	k.list = append(k.list, s)
}

// Take appends all that wait to into, and forgets them.
func (k *Statuses) Take(into []Status) []Status {
	k.mu.Lock()
	defer k.mu.Unlock()
	into = append(into, k.list...)
	k.list = k.list[:0]
	return into
}
