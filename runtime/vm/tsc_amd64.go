package vm

import (
	"sync"
	"time"
)

// readTSC reads the processor's time stamp counter.
func readTSC() uint64

// hostTSC returns how fast the time stamp counter of this machine runs, in kHz. A translated guest sees
// the same counter, but finds its rate out by a timer whose interrupts come late on a busy machine: its
// clock is then wrong by any factor.
var hostTSC = sync.OnceValue(func() uint64 {
	const length = 100 * time.Millisecond
	begin := stamp()
	time.Sleep(length)
	end := stamp()
	return uint64(float64(end.ticks-begin.ticks) / float64(end.at.Sub(begin.at)) * 1e6)
})

// stamped is a moment by both clocks.
type stamped struct {
	at    time.Time
	ticks uint64
}

// stamp reads both clocks as close together as it goes in some tries.
func stamp() stamped {
	var best stamped
	least := time.Hour
	for range 32 {
		before := time.Now()
		ticks := readTSC()
		if took := time.Since(before); took < least {
			best, least = stamped{before.Add(took / 2), ticks}, took
		}
	}
	return best
}
