// Package spool is the queue in front of an upstream: it takes the results that the upstream does not
// take yet, so that a dead upstream never blocks whoever makes results.
//
// Memory ends with the process. Disk outlives it, and the power.
package spool

import (
	"context"

	"sightline/pipeline"
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

// Queue keeps results in the order they came in. Put may be called while another goroutine is in any
// other method; Peek and Ack are called from one goroutine.
type Queue interface {
	// Put appends a result, which belongs to the queue from then on. It never waits for the
	// upstream. A result over the limits is let go and counted, which is no error; an error means
	// that this result cannot be kept at all.
	Put(r *pipeline.Result) error
	// Peek appends up to limit of the oldest results to into. They stay in the queue, and the limits do
	// not touch them, until Ack.
	Peek(limit int, into []pipeline.Message) []pipeline.Message
	// Ack removes the n oldest of what Peek returned; the others are subject to the limits again,
	// and the next Peek returns first what is left of them.
	Ack(n int)
	// Size says how much waits.
	Size() (results int, bytes int64)
}

// Syncer is a queue that can say when results are safe.
type Syncer interface {
	// Sync waits until everything that was put before outlives the process and the power, is
	// acknowledged or was let go by the limits. An error says that it is only in memory, and why.
	Sync(ctx context.Context) error
}
