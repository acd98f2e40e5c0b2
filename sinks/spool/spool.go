// Package spool is the queue in front of an upstream: it takes the results that the upstream does not
// take yet, so that a dead upstream never blocks whoever makes results.
//
// What is here lives in memory and ends with the process. A queue on disk has the same face, Queue.
package spool

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"sightline/pipeline"
	"sightline/sinks"
)

// Loss names why a result was let go. It is the label `reason` of sightline_results_dropped_total.
type Loss string

// The reasons for letting a result go.
const (
	LossFull Loss = "spool_full" // the bytes that may wait are used up
	LossAge  Loss = "spool_age"  // it waited for longer than results may
)

// Losses lists every reason.
var Losses = []Loss{LossFull, LossAge}

// Queue keeps results in the order they came in. Put may be called while another goroutine is in any
// other method; Peek and Ack are called from one goroutine.
type Queue interface {
	// Put appends a result, which belongs to the queue from then on. It never waits for the
	// upstream. A result over the limits is let go and counted, which is no error; an error means
	// that this result cannot be kept at all.
	Put(r *pipeline.Result) error
	// Peek appends up to limit of the oldest results to into. They stay in the queue and the limits
	// do not touch them until Ack.
	Peek(limit int, into []pipeline.Message) []pipeline.Message
	// Ack removes the n oldest of what Peek returned; the others are subject to the limits again,
	// and the next Peek returns them first.
	Ack(n int)
	// Size says how much waits.
	Size() (results int, bytes int64)
}

// Memory is a Queue in memory. Set the fields before the first call.
type Memory struct {
	Config sinks.Spool
	Lost   func(why Loss, n int) // told of every loss; may be nil; does not call back

	mu     sync.Mutex
	ring   []entry // results from first on, oldest first, wrapping around
	first  int
	length int
	flying int // how many of the oldest Peek has handed out
	bytes  int64
	buffer []byte // for measuring
}

type entry struct {
	result *pipeline.Result
	bytes  int64
	put    time.Time
}

var _ Queue = (*Memory)(nil)

// overhead is added to a result's size as a message for what holding it takes beyond that.
const overhead = 128

// Put appends a result; its size is that of its message. The error is that of sinks.AppendResult.
func (m *Memory) Put(r *pipeline.Result) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	message, err := sinks.AppendResult(m.buffer[:0], r)
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	m.buffer = message[:0]
	now := time.Now()
	m.expire(now)
	size := int64(len(message)) + overhead
	if !m.makeRoom(size) {
		m.lose(LossFull, 1)
		return nil
	}
	m.push(entry{r, size, now})
	return nil
}

// makeRoom tells whether size bytes fit, after letting go what the policy lets go for them.
func (m *Memory) makeRoom(size int64) bool {
	lost := 0
	for m.Config.Full != sinks.RejectNew && m.bytes+size > int64(m.Config.MaxBytes) && m.length > m.flying {
		m.removeAt(m.flying)
		lost++
	}
	m.lose(LossFull, lost)
	return m.bytes+size <= int64(m.Config.MaxBytes)
}

// Peek appends the oldest results. Those that have waited too long are let go before.
func (m *Memory) Peek(limit int, into []pipeline.Message) []pipeline.Message {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.flying = 0
	m.expire(time.Now())
	m.flying = min(limit, m.length)
	for i := range m.flying {
		into = append(into, pipeline.Message{Result: m.at(i).result})
	}
	return into
}

// Ack removes the n oldest of what Peek returned.
func (m *Memory) Ack(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n > m.flying {
		panic(errors.New("spool: more acknowledged than handed out"))
	}
	for range n {
		m.removeAt(0)
	}
	m.flying = 0
}

// Size says how much waits, handed out or not.
func (m *Memory) Size() (results int, bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.length, m.bytes
}

// expire lets go what is too old. Results age in order, so the oldest decides.
func (m *Memory) expire(now time.Time) {
	lost := 0
	for m.Config.MaxAge > 0 && m.length > m.flying && now.Sub(m.at(m.flying).put) > m.Config.MaxAge {
		m.removeAt(m.flying)
		lost++
	}
	m.lose(LossAge, lost)
}

func (m *Memory) lose(why Loss, n int) {
	if n > 0 && m.Lost != nil {
		m.Lost(why, n)
	}
}

func (m *Memory) at(i int) *entry { return &m.ring[(m.first+i)%len(m.ring)] }

func (m *Memory) push(e entry) {
	if m.length == len(m.ring) {
		larger := make([]entry, max(64, 2*len(m.ring)))
		for i := range m.length {
			larger[i] = *m.at(i)
		}
		m.ring, m.first = larger, 0
	}
	m.length++
	*m.at(m.length - 1) = e
	m.bytes += e.bytes
}

// removeAt removes result i, keeping the order: those handed out before it, at most one batch, move up.
func (m *Memory) removeAt(i int) {
	m.bytes -= m.at(i).bytes
	for ; i > 0; i-- {
		*m.at(i) = *m.at(i - 1)
	}
	*m.at(0) = entry{}
	m.first = (m.first + 1) % len(m.ring)
	m.length--
}
