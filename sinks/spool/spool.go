// Package spool is the queue in front of an upstream: it takes the results and events that the upstream
// does not take yet, so that a dead upstream never blocks whoever makes them.
//
// Memory ends with the process. Disk outlives it, and the power. A Way leads through either to whoever
// publishes.
package spool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"sightline/pipeline"
	"sightline/sinks"
)

// Loss names why a result was let go. It is the label `reason` of sightline_results_dropped_total.
type Loss string

// The reasons for letting a result go.
const (
	LossFull    Loss = "spool_full"    // the bytes that may wait are used up
	LossAge     Loss = "spool_age"     // it waited for longer than results may
	LossDamaged Loss = "spool_damaged" // it cannot be read back from disk
)

// Losses lists every reason.
var Losses = []Loss{LossFull, LossAge, LossDamaged}

// Queue keeps results and events in the order they came in; below, a result is either. Put may be called while another goroutine is in any
// other method; Peek and Ack are called from one goroutine.
type Queue interface {
	// Put appends a message, a result or an event, which belongs to the queue from then on. It never
	// waits for the upstream. A result over the limits is let go and counted, which is no error; an error
	// means that this result cannot be kept at all.
	Put(m pipeline.Message) error
	// Peek appends up to limit of the oldest results to into. They stay in the queue, and the limits do
	// not touch them, until Ack.
	Peek(limit int, into []pipeline.Message) []pipeline.Message
	// Ack removes the n oldest of what Peek returned; the others are subject to the limits again,
	// and the next Peek returns first what is left of them.
	Ack(n int)
	// Size says how much waits.
	Size() (results int, bytes int64)
}

// Limiter is a queue whose limits can change.
type Limiter interface {
	// Limit changes the limits, from the next Put or Peek on.
	Limit(c sinks.Spool)
}

// Syncer is a queue that can say when results are safe.
type Syncer interface {
	// Sync waits until everything that was put before outlives the process and the power, is
	// acknowledged or was let go by the limits. An error says that it is only in memory, and why.
	Sync(ctx context.Context) error
}

// encode appends the JSON form of a message to b, and says what kind of record it is.
func encode(b []byte, m pipeline.Message) ([]byte, string, error) {
	var err error
	kind := kindRecord
	switch {
	case m.Result != nil:
		b, err = sinks.AppendResult(b, m.Result)
	case m.Event != nil:
		kind = kindEvent
		b, err = sinks.AppendEvent(b, m.Event)
	default:
		err = pipeline.Permanent(errors.New("neither a result nor an event"))
	}
	if err != nil {
		return b, kind, fmt.Errorf("spool: %w", err)
	}
	return b, kind, nil
}

// decode reads a record back.
func decode(kind string, b []byte) (m pipeline.Message, err error) {
	if kind == kindEvent {
		m.Event = &pipeline.Event{}
		return m, json.Unmarshal(b, m.Event)
	}
	m.Result = &pipeline.Result{}
	return m, json.Unmarshal(b, m.Result)
}
