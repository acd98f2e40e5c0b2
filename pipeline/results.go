package pipeline

import (
	"context"
	"slices"
	"sync"
)

// ResultLink is the way of results to one publish stage. It is lossless and bounded: a full link
// blocks whoever sends. Statuses travel on it too; of those only the newest of each stage is kept,
// so that reporting one never blocks.
type ResultLink struct {
	results chan *Result

	mu       sync.Mutex
	statuses []Status
	signal   chan struct{}
}

// NewResultLink returns a link that holds up to capacity results.
func NewResultLink(capacity int) *ResultLink {
	return &ResultLink{results: make(chan *Result, capacity), signal: make(chan struct{}, 1)}
}

// Send hands a result over and waits while the link is full. The sender does not touch it afterwards.
func (l *ResultLink) Send(ctx context.Context, r *Result) error {
	select {
	case l.results <- r:
		return nil
	default:
	}
	select {
	case l.results <- r:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Report hands a status over; it replaces one of the same stage and source that still waits.
func (l *ResultLink) Report(s Status) {
	l.mu.Lock()
	same := func(o Status) bool { return o.Stage == s.Stage && o.Source == s.Source }
	if i := slices.IndexFunc(l.statuses, same); i >= 0 {
		l.statuses[i] = s
	} else {
		l.statuses = append(l.statuses, s)
	}
	l.mu.Unlock()
	select {
	case l.signal <- struct{}{}:
	default:
	}
}

// Receive waits for a message and appends what is there to into, up to limit messages, results in
// the order sent. It returns ErrClosed once stop is closed and nothing is left, or ctx's error.
func (l *ResultLink) Receive(ctx context.Context, stop <-chan struct{}, limit int, into []Message) ([]Message, error) {
	for {
		if into = l.drain(limit, into); len(into) > 0 {
			return into, nil
		}
		select {
		case r := <-l.results:
			return l.drain(limit, append(into, Message{Result: r})), nil
		case <-l.signal:
		case <-ctx.Done():
			return into, ctx.Err()
		case <-stop:
			if into = l.drain(limit, into); len(into) > 0 {
				return into, nil
			}
			return into, ErrClosed
		}
	}
}

func (l *ResultLink) drain(limit int, into []Message) []Message {
	l.mu.Lock()
	for i := range l.statuses {
		s := l.statuses[i]
		into = append(into, Message{Status: &s})
	}
	l.statuses = l.statuses[:0]
	l.mu.Unlock()
	for len(into) < limit {
		select {
		case r := <-l.results:
			into = append(into, Message{Result: r})
		default:
			return into
		}
	}
	return into
}

// Waiting returns how many results are on the link.
func (l *ResultLink) Waiting() int { return len(l.results) }
