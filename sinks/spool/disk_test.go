package spool_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sightline/sinks"
	"sightline/sinks/sinktest"
	"sightline/sinks/spool"
)

// told is what a queue said.
type told struct {
	mu      sync.Mutex
	lost    losses
	damages []spool.Damage
	states  []string
}

func (s *told) state(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.states = append(s.states, "")
		return
	}
	s.states = append(s.states, err.Error())
}

func newDisk(folder string) (*spool.Disk, *told) {
	s := &told{lost: losses{}}
	d := &spool.Disk{
		Folder: folder, Config: sinks.Spool{MaxBytes: 16 << 20, MaxAge: time.Hour, Full: sinks.DropOldest}, State: s.state,
		Lost: func(why spool.Loss, n int) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.lost[why] += n
		},
		Damaged: func(d spool.Damage) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.damages = append(s.damages, d)
		},
	}
	return d, s
}

func open(t testing.TB, folder string) (*spool.Disk, *told) {
	t.Helper()
	d, s := newDisk(folder)
	if err := d.Open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d, s
}

func shut(t testing.TB, d *spool.Disk) {
	t.Helper()
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

func safe(t testing.TB, d *spool.Disk) {
	t.Helper()
	if err := d.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func segments(t testing.TB, folder string) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(folder, "*.spool"))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(list)
	return list
}

func TestResultsOutliveTheProcess(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "cloud", "spool")
	q, _ := open(t, folder)
	put(t, q, 1, 10)
	safe(t, q)
	wants(t, q, 4, 1, 2, 3, 4)
	q.Ack(3)
	shut(t, q)

	q, s := open(t, folder)
	if n, _ := q.Size(); n != 7 {
		t.Errorf("%d results wait, want 7", n)
	}
	wants(t, q, 4, 4, 5, 6, 7)
	put(t, q, 11, 12)
	wants(t, q, 20, 4, 5, 6, 7, 8, 9, 10, 11, 12)
	q.Ack(9)
	if n, bytes := q.Size(); n != 0 || bytes != 0 {
		t.Errorf("%d results, %d bytes wait, want none", n, bytes)
	}
	shut(t, q)
	q, _ = open(t, folder)
	wants(t, q, 4)
	if len(s.lost)+len(s.damages)+len(s.states) != 0 {
		t.Errorf("told %+v, want nothing", s)
	}
}

func TestSegmentIsTextToReadByEye(t *testing.T) {
	folder := t.TempDir()
	q, _ := open(t, folder)
	put(t, q, 1, 2)
	shut(t, q)
	list := segments(t, folder)
	if len(list) != 1 || filepath.Base(list[0]) != "00000000000000000001.spool" {
		t.Fatalf("segments %v", list)
	}
	b, err := os.ReadFile(list[0])
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimRight(string(b), "\x00"), "\n")
	if len(lines) != 4 || !strings.Contains(lines[0], " sightline-spool 1 1 1 ") || !strings.Contains(lines[2], `{"schema":1,"id":"porch-gate-102",`) {
		t.Errorf("%d lines:\n%s", len(lines), strings.Join(lines, "\n"))
	}
}

func ExampleDisk() {
	folder, err := os.MkdirTemp("", "spool")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(folder)
	q := &spool.Disk{Folder: folder, Config: sinks.Spool{MaxBytes: 1 << 20, MaxAge: time.Hour, Full: sinks.DropOldest}}
	if err := errors.Join(q.Open(), q.Put(sinktest.Message("gate", 1, "car")), q.Sync(context.Background()), q.Close()); err != nil {
		fmt.Println(err)
	}

	if err := q.Open(); err != nil { // after a restart
		fmt.Println(err)
	}
	batch := q.Peek(10, nil)
	fmt.Println(batch[0].Result.Source, batch[0].Result.Sequence)
	q.Ack(len(batch))
	if err := q.Close(); err != nil {
		fmt.Println(err)
	}
	// Output: gate 1
}
