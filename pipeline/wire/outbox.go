package wire

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"

	"sightline/pipeline"
)

// Outbox is the sender's end of a results link. It keeps every message until the other side has
// acknowledged it, through as many wires as that takes, so that nothing is lost when a wire breaks;
// what was on its way then is sent again, and told apart by its number within the life of both ends
// and by the result's id beyond. It holds at most 256 messages and 4 MiB; a full one blocks.
//
// Make it with NewOutbox. Its methods may be called from any goroutine.
type Outbox struct {
	clock *Clock
	epoch string

	mu      sync.Mutex
	waiting []outgoing
	bytes   int
	first   uint64        // number of waiting[0]
	sent    uint64        // the highest number that was ever sent
	changed chan struct{} // closed and replaced at each change
	turn    sync.Mutex    // held by the wire that sends
}

type outgoing struct {
	record []byte
	taken  func()
}

// NewOutbox returns an empty outbox whose messages' times are converted by clock.
func NewOutbox(clock *Clock) *Outbox {
	var id [8]byte
	rand.Read(id[:])
	return &Outbox{clock: clock, epoch: hex.EncodeToString(id[:]), first: 1, changed: make(chan struct{})}
}

// Put takes a message, and waits while the outbox is full. taken, which may be nil, is called once
// the other side has acknowledged the message, from another goroutine. A message that breaks the
// bounds of results is refused with an error that wraps ErrTooLarge or ErrMalformed.
func (o *Outbox) Put(ctx context.Context, m pipeline.Message, taken func()) error {
	t, body, err := encodeMessage(m, o.clock)
	if err != nil {
		return fmt.Errorf("send a message: %w", err)
	}
	size := recordHeader + numberSize + len(body)
	for {
		o.mu.Lock()
		if len(o.waiting) < outboxMessages && o.bytes+size <= outboxBytes {
			number := o.first + uint64(len(o.waiting))
			o.waiting = append(o.waiting, outgoing{resultRecord(t, number, body), taken})
			o.bytes += size
			o.announce()
			o.mu.Unlock()
			return nil
		}
		changed := o.changed
		o.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func resultRecord(t recordType, number uint64, body []byte) []byte {
	record := make([]byte, 0, recordHeader+numberSize+len(body))
	record = append(record, byte(t))
	record = binary.BigEndian.AppendUint32(record, uint32(numberSize+len(body)))
	record = binary.BigEndian.AppendUint64(record, number)
	return append(record, body...)
}

// announce wakes all who wait. mu is held.
func (o *Outbox) announce() {
	close(o.changed)
	o.changed = make(chan struct{})
}

// Feed puts all that comes out of link into the outbox, until stop is closed and link is empty, or
// ctx ends. A result that is refused is reported to refused and left out.
func (o *Outbox) Feed(ctx context.Context, stop <-chan struct{}, link *pipeline.ResultLink, refused func(error)) error {
	var room []*pipeline.Result
	for {
		results, err := link.Receive(ctx, stop, 16, room[:0])
		if errors.Is(err, pipeline.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, r := range results {
			err := o.Put(ctx, pipeline.Message{Result: r}, nil)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				refused(err)
			}
		}
		room = results
	}
}

// Drain waits until everything that was put has been acknowledged.
func (o *Outbox) Drain(ctx context.Context) error {
	for {
		left, changed := o.left()
		if left == 0 {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%d messages are not acknowledged: %w", left, ctx.Err())
		}
	}
}

// Clear forgets what is not acknowledged: whoever sent it keeps it, and sends it again to another box.
// taken is not called for it.
func (o *Outbox) Clear() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.first += uint64(len(o.waiting))
	o.sent = max(o.sent, o.first-1)
	o.waiting, o.bytes = nil, 0
	o.announce()
}

// Waiting returns how many messages are not acknowledged yet.
func (o *Outbox) Waiting() int {
	n, _ := o.left()
	return n
}

// Acknowledged returns how many messages the other side has acknowledged since the outbox was made.
func (o *Outbox) Acknowledged() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.first - 1
}

func (o *Outbox) left() (int, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.waiting), o.changed
}

// next waits for the message of a number, or for the oldest that waits where that one is gone, and
// counts it as sent.
func (o *Outbox) next(ctx context.Context, number uint64) ([]byte, uint64, error) {
	for {
		o.mu.Lock()
		number = max(number, o.first)
		if i := number - o.first; i < uint64(len(o.waiting)) {
			record := o.waiting[i].record
			o.sent = max(o.sent, number)
			o.mu.Unlock()
			return record, number, nil
		}
		changed := o.changed
		o.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		}
	}
}

// acknowledge lets go of all messages up to a number, of which the other side cannot have more than
// were sent.
func (o *Outbox) acknowledge(number uint64) error {
	o.mu.Lock()
	if sent := o.sent; number > sent {
		o.mu.Unlock()
		return fmt.Errorf("message %d acknowledged, of %d sent: %w", number, sent, ErrMalformed)
	}
	var done []outgoing
	if number >= o.first {
		n := int(number - o.first + 1)
		done = append(done, o.waiting[:n]...)
		old := o.waiting
		o.waiting = append(old[:0], old[n:]...)
		clear(old[len(o.waiting):])
		o.first = number + 1
		for _, d := range done {
			o.bytes -= len(d.record)
		}
		o.announce()
	}
	o.mu.Unlock()
	for _, d := range done {
		if d.taken != nil {
			d.taken()
		}
	}
	return nil
}
