package spool_test

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sightline/sinks"
	"sightline/sinks/sinktest"
	"sightline/sinks/spool"
)

// diskBytes is what was written to the disk that holds a folder since it was attached, by anybody:
// these benchmarks want one of their own (TMPDIR). Negative: the system does not say.
func diskBytes(folder string) int64 {
	var s syscall.Stat_t
	if err := syscall.Stat(folder, &s); err != nil {
		return -1
	}
	text, err := os.ReadFile(fmt.Sprintf("/sys/dev/block/%d:%d/stat", unix.Major(s.Dev), unix.Minor(s.Dev)))
	if f := strings.Fields(string(text)); err == nil && len(f) > 6 {
		sectors, _ := strconv.ParseInt(f[6], 10, 64)
		return 512 * sectors
	}
	return -1
}

// measured runs a benchmark that puts b.N results, and reports what the disk had to write for one.
func measured(b *testing.B, folder string, run func()) {
	unix.Sync()
	before := diskBytes(folder)
	b.ResetTimer()
	run()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "results/s")
	unix.Sync()
	if after := diskBytes(folder); before >= 0 && after >= before {
		b.ReportMetric(float64(after-before)/float64(b.N), "diskB/result")
	}
}

func benchDisk(b *testing.B, folder string, delay time.Duration) *spool.Disk {
	q := &spool.Disk{Folder: folder, Delay: delay, Config: sinks.Spool{MaxBytes: 256 << 20, MaxAge: time.Hour, Full: sinks.DropOldest}}
	if err := q.Open(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { q.Close() })
	return q
}

// BenchmarkSync puts groups of results and waits for each group to be safe.
func BenchmarkSync(b *testing.B) {
	for _, group := range []int{1, 8, 64, 256} {
		b.Run(fmt.Sprintf("group=%d", group), func(b *testing.B) {
			folder := b.TempDir()
			q := benchDisk(b, folder, -1)
			m := sinktest.Message("gate", 7, "car")
			measured(b, folder, func() {
				for i := 0; i < b.N; i++ {
					if err := q.Put(m); err != nil {
						b.Fatal(err)
					}
					if i%group == group-1 || i == b.N-1 {
						safe(b, q)
					}
				}
			})
		})
	}
}

// BenchmarkCameras has cameras make 50 results a second, and an upstream that is gone, or that
// acknowledges after 40 ms. Give it -benchtime=500x.
func BenchmarkCameras(b *testing.B) {
	for _, delay := range []time.Duration{5 * time.Millisecond, 100 * time.Millisecond, time.Second} {
		for _, online := range []bool{false, true} {
			b.Run(fmt.Sprintf("delay=%v/online=%v", delay, online), func(b *testing.B) {
				folder := b.TempDir()
				q := benchDisk(b, folder, delay)
				m := sinktest.Message("gate", 7, "car")
				measured(b, folder, func() {
					tick := time.NewTicker(20 * time.Millisecond)
					defer tick.Stop()
					for range b.N {
						<-tick.C
						if err := q.Put(m); err != nil {
							b.Fatal(err)
						}
						if online { // the last two are on their way
							q.Ack(max(0, len(q.Peek(64, nil))-2))
						}
					}
					safe(b, q)
				})
			})
		}
	}
}

// BenchmarkPutPeekAck is the way of a result that the upstream takes at once.
func BenchmarkPutPeekAck(b *testing.B) {
	q := benchDisk(b, b.TempDir(), 5*time.Millisecond)
	m := sinktest.Message("gate", 7, "car")
	b.ReportAllocs()
	for b.Loop() {
		if err := q.Put(m); err != nil {
			b.Fatal(err)
		}
		q.Ack(len(q.Peek(1, nil)))
	}
}

// BenchmarkRecover opens a spool of 256 MiB, and takes everything out of it.
func BenchmarkRecover(b *testing.B) {
	folder := b.TempDir()
	q := benchDisk(b, folder, -1)
	m := sinktest.Message("gate", 7, "car")
	n, bytes := 0, int64(0)
	for ; bytes < 250<<20; n, bytes = q.Size() {
		for range 1000 {
			if err := q.Put(m); err != nil {
				b.Fatal(err)
			}
		}
		safe(b, q)
	}
	if err := q.Close(); err != nil {
		b.Fatal(err)
	}
	b.Run("open", func(b *testing.B) {
		for range b.N {
			b.StopTimer()
			forget(b, folder)
			b.StartTimer()
			if err := q.Open(); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			if got, _ := q.Size(); got != n {
				b.Fatalf("%d results, want %d", got, n)
			}
			if err := q.Close(); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
	})
	b.Run("drain", func(b *testing.B) {
		if b.N > 1 {
			b.Skip("once is enough: -benchtime=1x")
		}
		if err := q.Open(); err != nil {
			b.Fatal(err)
		}
		start, got := time.Now(), 0
		for batch := q.Peek(64, nil); len(batch) > 0; batch = q.Peek(64, batch[:0]) {
			q.Ack(len(batch))
			got += len(batch)
		}
		b.ReportMetric(float64(got)/time.Since(start).Seconds(), "results/s")
	})
}

// forget makes the system read the files of a folder from disk again.
func forget(b *testing.B, folder string) {
	unix.Sync()
	for _, name := range segments(b, folder) {
		f, err := os.Open(name)
		if err != nil {
			b.Fatal(err)
		}
		if err := errors.Join(unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED), f.Close()); err != nil {
			b.Fatal(err)
		}
	}
}
