package vm

import (
	"syscall"
	"testing"
	"time"
)

// BenchmarkBoot boots a guest up to its init, and says what processor time that took.
func BenchmarkBoot(b *testing.B) {
	d := newDriver().(*Driver)
	h, err := d.host(b.Context())
	if err != nil {
		b.Skip(err)
	}
	before := childTime(b)
	for b.Loop() {
		if err := h.try(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric((childTime(b)-before).Seconds()/float64(b.N), "cpu-s/op")
}

// childTime is the processor time of all children that have ended.
func childTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_CHILDREN, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
