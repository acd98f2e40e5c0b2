package wire

import (
	"context"
	"sync"

	"sightline/pipeline"
)

// Held is what a publish stage in a box takes from: messages that came over the wire, of which each
// result and event is acknowledged to the supervisor only once the upstream has it. The supervisor
// bounds how many there are. What comes again after a break, because its acknowledgement was lost, is
// held once.
type Held struct {
	statuses pipeline.Statuses
	arrived  chan struct{}

	mu   sync.Mutex
	list []held
	done [remembered]string // ids of those acknowledged last
	next int                // of done
}

// held is one message, and what tells the sender that the upstream has it: once for each time that it
// came. The sender may have the same message twice, and waits for both.
type held struct {
	message pipeline.Message
	taken   []func()
}

// remembered is how many acknowledged messages may come again and be known.
const remembered = inletMessages

var _ pipeline.Intake = (*Held)(nil)

// NewHeld returns one that holds nothing.
func NewHeld() *Held { return &Held{arrived: make(chan struct{}, 1)} }

// Inlet returns the end of a results link that leads here.
func (h *Held) Inlet() *Inlet { return &Inlet{Deliver: h.deliver} }

func (h *Held) deliver(_ context.Context, m pipeline.Message, taken func()) error {
	if m.Status != nil {
		h.statuses.Put(*m.Status)
		taken()
	} else if !h.hold(m, taken) {
		taken()
		return nil
	}
	select {
	case h.arrived <- struct{}{}:
	default:
	}
	return nil
}

// hold keeps a message; false says that the upstream has it already.
func (h *Held) hold(m pipeline.Message, taken func()) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	id := idOf(m)
	for _, done := range h.done {
		if done == id {
			return false
		}
	}
	for i := range h.list {
		if idOf(h.list[i].message) == id {
			all := append(h.list[i].taken, taken)
			h.list[i].taken = all[max(0, len(all)-inletMessages):] // those of wires that broke are of no use
			return true
		}
	}
	h.list = append(h.list, held{m, []func(){taken}})
	return true
}

func idOf(m pipeline.Message) string {
	if m.Event != nil {
		return m.Event.ID
	}
	return m.Result.ID
}

// Arrived implements pipeline.Intake.
func (h *Held) Arrived() <-chan struct{} { return h.arrived }

// Statuses implements pipeline.Intake.
func (h *Held) Statuses(into []pipeline.Status) []pipeline.Status { return h.statuses.Take(into) }

// Peek implements pipeline.Intake.
func (h *Held) Peek(limit int, into []pipeline.Message) []pipeline.Message {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.list[:min(limit, len(h.list))] {
		into = append(into, h.list[i].message)
	}
	return into
}

// Ack implements pipeline.Intake.
func (h *Held) Ack(n int) {
	h.mu.Lock()
	gone := append([]held(nil), h.list[:n]...)
	left := copy(h.list, h.list[n:])
	clear(h.list[left:])
	h.list = h.list[:left]
	for _, m := range gone {
		h.done[h.next] = idOf(m.message)
		h.next = (h.next + 1) % remembered
	}
	h.mu.Unlock()
	for _, m := range gone {
		for _, taken := range m.taken {
			taken()
		}
	}
}
