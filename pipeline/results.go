package pipeline

import "context"

// ResultLink is the way of results out of a classify stage. It is lossless and bounded: a full link
// blocks whoever sends.
type ResultLink struct {
	results chan *Result
}

// NewResultLink returns a link that holds up to capacity results.
func NewResultLink(capacity int) *ResultLink {
	return &ResultLink{results: make(chan *Result, capacity)}
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

// Receive waits for a result and appends what is there to into, up to limit results, in the order
// sent. It returns ErrClosed once stop is closed and nothing is left, or ctx's error.
func (l *ResultLink) Receive(ctx context.Context, stop <-chan struct{}, limit int, into []*Result) ([]*Result, error) {
	if into = l.drain(limit, into); len(into) > 0 {
		return into, nil
	}
	select {
	case r := <-l.results:
		return l.drain(limit, append(into, r)), nil
	case <-ctx.Done():
		return into, ctx.Err()
	case <-stop:
		if into = l.drain(limit, into); len(into) > 0 {
			return into, nil
		}
		return into, ErrClosed
	}
}

func (l *ResultLink) drain(limit int, into []*Result) []*Result {
	for len(into) < limit {
		select {
		case r := <-l.results:
			into = append(into, r)
		default:
			return into
		}
	}
	return into
}

// Waiting returns how many results are on the link.
func (l *ResultLink) Waiting() int { return len(l.results) }
