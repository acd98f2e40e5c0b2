package wire

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"sightline/pipeline"
)

// Inlet is the receiver's end of a results link. It outlives the wire, so that what is sent again
// after a break is delivered once. Its fields are set before its first use.
type Inlet struct {
	// Deliver takes a message and may wait while there is no room: the sender waits with it. It
	// calls taken, once and from any goroutine, when the message is safe, which lets the sender
	// forget it; messages are taken in any order, and acknowledged in theirs. It is called from one
	// goroutine at a time. An error ends the wire, and the message comes again with the next one.
	Deliver func(ctx context.Context, m pipeline.Message, taken func()) error

	turn sync.Mutex // held by the wire that receives

	mu      sync.Mutex
	epoch   string
	last    uint64 // number delivered last
	done    uint64 // all up to it are taken
	early   map[uint64]bool
	changed chan struct{}
}

// begin takes up the messages of an outbox where they ended.
func (in *Inlet) begin(epoch string) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.changed == nil {
		in.changed = make(chan struct{}, 1)
	}
	if in.epoch != epoch {
		in.epoch, in.last, in.done, in.early = epoch, 0, 0, map[uint64]bool{}
	}
	in.wake()
}

func (in *Inlet) wake() {
	select {
	case in.changed <- struct{}{}:
	default:
	}
}

// arrived tells whether a message is new. The first of an outbox may have any number: those before
// it went to a supervisor that is no more.
func (in *Inlet) arrived(number uint64) (fresh bool, err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	switch {
	case number == 0:
		return false, fmt.Errorf("message of number 0: %w", ErrMalformed)
	case in.last == 0:
		in.last, in.done = number, number-1
		return true, nil
	case number <= in.last:
		return false, nil
	case number != in.last+1:
		return false, fmt.Errorf("message %d after message %d: %w", number, in.last, ErrMalformed)
	case number-in.done > inletMessages:
		return false, fmt.Errorf("%d messages not acknowledged: %w", number-in.done, ErrFlood)
	}
	in.last = number
	return true, nil
}

// undo makes a message whose delivery did not succeed welcome again.
func (in *Inlet) undo(number uint64) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.last == number {
		in.last--
	}
	if in.last == 0 || in.last < in.done {
		in.last = in.done
	}
}

// taken returns what to call when a message is safe.
func (in *Inlet) taken(epoch string, number uint64) func() {
	return sync.OnceFunc(func() {
		in.mu.Lock()
		defer in.mu.Unlock()
		if in.epoch != epoch {
			return
		}
		in.early[number] = true
		for in.early[in.done+1] {
			in.done++
			delete(in.early, in.done)
		}
		in.wake()
	})
}

// receive serves one opening: it delivers what is new until conn or ctx ends.
func (in *Inlet) receive(ctx context.Context, conn net.Conn, epoch string, clock *Clock) error {
	in.turn.Lock()
	defer in.turn.Unlock()
	in.begin(epoch)
	ctx, cancel := context.WithCancel(ctx)
	acks := make(chan struct{})
	go func() {
		defer close(acks)
		in.sendAcks(ctx, conn)
	}()
	defer func() { <-acks }()
	defer cancel()
	stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) }) //nolint:errcheck // wakes the reader
	defer stop()
	var room []byte
	for {
		t, body, err := readRecord(conn, room, resultLimit)
		if err != nil {
			return err
		}
		room = body[:0]
		if err := in.deliver(ctx, epoch, t, body, clock); err != nil {
			return err
		}
	}
}

func (in *Inlet) deliver(ctx context.Context, epoch string, t recordType, body []byte, clock *Clock) error {
	if len(body) < numberSize {
		return fmt.Errorf("message of %d bytes: %w", len(body), ErrMalformed)
	}
	number := binary.BigEndian.Uint64(body)
	m, err := decodeMessage(t, body[numberSize:], clock)
	if err != nil {
		return err
	}
	fresh, err := in.arrived(number)
	if err != nil || !fresh {
		return err
	}
	if err := in.Deliver(ctx, m, in.taken(epoch, number)); err != nil {
		in.undo(number)
		return fmt.Errorf("deliver a message: %w", err)
	}
	return nil
}

// sendAcks tells the sender up to where messages are safe.
func (in *Inlet) sendAcks(ctx context.Context, conn net.Conn) {
	var told uint64
	for {
		select {
		case <-in.changed:
		case <-ctx.Done():
			return
		}
		in.mu.Lock()
		done := in.done
		in.mu.Unlock()
		if done == told {
			continue
		}
		told = done
		if writeRecord(conn, recAck, binary.BigEndian.AppendUint64(nil, done)) != nil {
			return // the reader sees it too
		}
	}
}

// send serves an outbox over one stream until conn or ctx ends. What is not acknowledged yet goes
// first.
func (o *Outbox) send(ctx context.Context, conn net.Conn) error {
	o.turn.Lock()
	defer o.turn.Unlock()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	reading := make(chan struct{})
	go func() {
		defer close(reading)
		cancel(o.readAcks(conn))
		conn.SetWriteDeadline(time.Unix(1, 0)) //nolint:errcheck // wakes the writer
	}()
	err := o.sendAll(ctx, conn)
	conn.SetReadDeadline(time.Unix(1, 0)) //nolint:errcheck // wakes the reader
	<-reading
	if cause := context.Cause(ctx); errors.Is(cause, ErrMalformed) || errors.Is(cause, ErrUnexpected) || errors.Is(cause, ErrTooLarge) {
		return cause
	}
	return err
}

func (o *Outbox) sendAll(ctx context.Context, conn net.Conn) error {
	for number := uint64(1); ; number++ {
		record, at, err := o.next(ctx, number)
		if err != nil {
			return err
		}
		number = at
		if _, err := conn.Write(record); err != nil {
			return fmt.Errorf("send message %d: %w", number, err)
		}
	}
}

func (o *Outbox) readAcks(conn net.Conn) error {
	room := make([]byte, numberSize)
	for {
		_, body, err := readRecord(conn, room, ackLimit)
		if err != nil {
			return err
		}
		if len(body) != numberSize {
			return fmt.Errorf("acknowledgement of %d bytes: %w", len(body), ErrMalformed)
		}
		if err := o.acknowledge(binary.BigEndian.Uint64(body)); err != nil {
			return err
		}
	}
}
