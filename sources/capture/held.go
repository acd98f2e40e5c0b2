package capture

import (
	"time"

	"sightline/pipeline"
)

// What is kept for a consumer that comes later.
const (
	maxHeld      = 512 // units
	maxHeldBytes = 8 << 20
)

// held keeps the units from the last keyframe on while nobody wants frames. So the first consumer sees
// a picture as soon as those are decoded, and does not wait for the next keyframe.
type held struct {
	items []*item // in use up to count; the others have memory
	count int
	bytes int
}

// add copies an item, and tells whether there was room for it.
func (h *held) add(it *item) bool {
	if h.count >= maxHeld || h.bytes+len(it.memory) > maxHeldBytes {
		return false
	}
	if h.count == len(h.items) {
		h.items = append(h.items, &item{})
	}
	c := h.items[h.count]
	c.copy(&it.unit, len(it.memory))
	c.sequence, c.gap = it.sequence, it.gap
	h.count++
	h.bytes += len(it.memory)
	return true
}

// clear forgets what is held and tells how much that was.
func (h *held) clear() uint64 {
	n := h.count
	h.count, h.bytes = 0, 0
	return uint64(n)
}

// hold keeps a unit that nobody wants yet, if it can be decoded with what is held.
func (w *worker) hold(it *item) {
	w.awaiting, w.seen = true, time.Time{}
	begins := it.unit.Keyframe && !lossy(&it.unit)
	if begins || it.gap || lossy(&it.unit) {
		w.forgo()
	}
	if begins || w.held.count > 0 {
		if w.held.add(it) {
			return
		}
		w.forgo()
	}
	w.drops.Add(pipeline.DropNoConsumer, 1)
}

// forgo drops what is held.
func (w *worker) forgo() { w.drops.Add(pipeline.DropNoConsumer, w.held.clear()) }

// catch deals with what is held, now that a consumer is there.
func (w *worker) catch() error {
	if w.held.count == 0 {
		return nil
	}
	items := w.held.items[:w.held.count]
	w.held = held{} // its memory is not needed again soon
	items[0].gap = true
	for i, it := range items {
		if err := w.step(it); err != nil {
			w.drops.Add(pipeline.DropStopping, uint64(len(items)-i-1))
			return err
		}
	}
	return nil
}
