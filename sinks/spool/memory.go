package spool

import (
	"errors"
	"sync"
	"time"

	"sightline/pipeline"
	"sightline/sinks"
)

// Memory is a Queue in memory. Set the fields before the first call.
type Memory struct {
	Config sinks.Spool
	Lost   func(why Loss, n int) // told of every loss; may be nil; does not call back

	mu     sync.Mutex
	queue  deque[held]
	flying int // how many of the oldest Peek has handed out
	bytes  int64
	buffer []byte // for measuring
}

// held is one message.
type held struct {
	message pipeline.Message
	bytes   int64
	put     time.Time
}

var _ Queue = (*Memory)(nil)

// overhead is added to a result's size as a message for what holding it takes beyond that.
const overhead = 128

// Put appends a message; its size is that of its JSON form. The error is that of sinks.AppendResult.
func (m *Memory) Put(message pipeline.Message) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	json, _, err := encode(m.buffer[:0], message)
	if err != nil {
		return err
	}
	m.buffer = json[:0]
	now := time.Now()
	m.expire(now)
	size := int64(len(json)) + overhead
	if !m.makeRoom(size) {
		m.lose(LossFull, 1)
		return nil
	}
	m.queue.push(held{message, size, now})
	m.bytes += size
	return nil
}

// makeRoom tells whether size bytes fit, after letting go what the policy lets go for them.
func (m *Memory) makeRoom(size int64) bool {
	lost := 0
	for m.Config.Full != sinks.RejectNew && m.bytes+size > int64(m.Config.MaxBytes) && m.queue.length > m.flying {
		m.remove(m.flying)
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
	m.flying = min(limit, m.queue.length)
	for i := range m.flying {
		into = append(into, m.queue.at(i).message)
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
		m.remove(0)
	}
	m.flying = 0
}

// Size says how much waits, handed out or not.
func (m *Memory) Size() (results int, bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.queue.length, m.bytes
}

// Limit changes the limits.
func (m *Memory) Limit(c sinks.Spool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.Config = c
}

// expire lets go what is too old. Results age in order, so the oldest decides.
func (m *Memory) expire(now time.Time) {
	lost := 0
	for m.Config.MaxAge > 0 && m.queue.length > m.flying && now.Sub(m.queue.at(m.flying).put) > m.Config.MaxAge {
		m.remove(m.flying)
		lost++
	}
	m.lose(LossAge, lost)
}

func (m *Memory) lose(why Loss, n int) {
	if n > 0 && m.Lost != nil {
		m.Lost(why, n)
	}
}

func (m *Memory) remove(i int) { m.bytes -= m.queue.remove(i).bytes }
