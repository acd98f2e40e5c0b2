package spool_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sightline/sinks/sinktest"
	"sightline/sinks/spool"
)

// childFolder, in the environment, makes the test binary a process that puts and takes results until
// it is killed.
const childFolder = "SPOOL_TEST_CHILD"

func TestMain(m *testing.M) {
	if folder := os.Getenv(childFolder); folder != "" {
		if err := child(folder); err != nil {
			fmt.Println("error", err)
		}
		return
	}
	m.Run()
}

// child says on standard output what is safe ("safe 7": all up to 7) and what it takes out ("got 3"),
// and does so after it is.
func child(folder string) error {
	q, _ := newDisk(folder)
	q.Config.MaxBytes, q.Delay = 4<<20, -1
	if err := q.Open(); err != nil {
		return err
	}
	var first uint64
	fmt.Sscan(os.Getenv("SPOOL_TEST_FIRST"), &first)
	random := rand.New(rand.NewPCG(first, 3))
	fmt.Println("open")
	for number := first; ; {
		for range 1 + random.IntN(20) {
			if err := q.Put(sinktest.Message("gate", 100+number, "car")); err != nil {
				return err
			}
			number++
		}
		if err := q.Sync(context.Background()); err != nil {
			return err
		}
		fmt.Println("safe", number-1)
		batch := q.Peek(random.IntN(30), nil) // more than are put: a fast disk must not fill the spool
		for _, n := range sequences(batch) {
			fmt.Println("got", n)
		}
		q.Ack(len(batch))
	}
}

// A process that is killed at any moment loses nothing that it called safe.
func TestKilledProcessLosesNothing(t *testing.T) {
	lives := 200
	if testing.Short() {
		lives = 20
	}
	folder := filepath.Join(t.TempDir(), "spool")
	random := rand.New(rand.NewPCG(7, 7))
	got := map[uint64]bool{}
	var safeTo []span
	next := uint64(1)
	for range lives {
		safe, last := live(t, folder, next, time.Duration(random.IntN(20_000))*time.Microsecond, got)
		safeTo = append(safeTo, span{next, safe})
		next = last + 10_000
	}
	q, s := open(t, folder)
	for _, n := range drain(t, q) {
		got[n] = true
	}
	for _, s := range safeTo {
		for n := s.from; n <= s.to; n++ {
			if !got[n] {
				t.Errorf("result %d was called safe and is gone", n)
			}
		}
	}
	if len(s.lost) > 0 {
		t.Errorf("lost %v", s.lost)
	}
}

type span struct{ from, to uint64 }

// live runs a process and kills it after a while. It returns up to where results were safe.
func live(t *testing.T, folder string, first uint64, after time.Duration, got map[uint64]bool) (safe, last uint64) {
	t.Helper()
	c := exec.CommandContext(t.Context(), os.Args[0])
	c.Env = append(os.Environ(), childFolder+"="+folder, fmt.Sprintf("SPOOL_TEST_FIRST=%d", first))
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	safe, last = first-1, first
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var n uint64
		switch what, number, _ := strings.Cut(lines.Text(), " "); what {
		case "open":
			time.AfterFunc(after, func() { _ = c.Process.Kill() })
		case "safe":
			fmt.Sscan(number, &n)
			safe, last = n, n
		case "got":
			fmt.Sscan(number, &n)
			got[n] = true
		default:
			t.Errorf("the process says %q", lines.Text())
		}
	}
	if err := c.Wait(); err == nil || c.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the process ended by itself: %v", err)
	}
	return safe, last
}

// mounted mounts a small file system in memory, or skips the test.
func mounted(t *testing.T, size string) string {
	t.Helper()
	folder := t.TempDir()
	if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("mount a tmpfs of %s: %v (root may)", size, err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(folder, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return folder
}

func TestRealDiskThatIsFull(t *testing.T) {
	folder := mounted(t, "256k")
	ballast := filepath.Join(folder, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 128<<10), 0o640); err != nil {
		t.Fatal(err)
	}
	q, s := open(t, filepath.Join(folder, "spool"))
	var err error
	n := uint64(0)
	for err == nil && n < 1000 {
		n++
		put(t, q, n, n)
		err = q.Sync(t.Context())
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("after %d results: error %v, want that the disk is full", n, err)
	}
	put(t, q, n+1, n+100)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	mended(t, q)
	shut(t, q)
	q, _ = open(t, filepath.Join(folder, "spool"))
	if got := drain(t, q); len(got) != int(n)+100 {
		t.Errorf("%d results are left, want %d; lost %v", len(got), n+100, s.lost)
	}
}

func TestRealDiskThatIsReadOnly(t *testing.T) {
	folder := mounted(t, "1m")
	home := filepath.Join(folder, "spool")
	q, _ := open(t, home)
	put(t, q, 1, 10)
	shut(t, q)
	remount := func(flags uintptr) {
		t.Helper()
		if err := syscall.Mount("tmpfs", folder, "tmpfs", syscall.MS_REMOUNT|flags, "size=1m"); err != nil {
			t.Fatal(err)
		}
	}
	remount(syscall.MS_RDONLY)
	q, s := open(t, home)
	wants(t, q, 3, 1, 2, 3)
	q.Ack(3)
	put(t, q, 11, 12)
	if err := q.Sync(t.Context()); !errors.Is(err, fs.ErrPermission) && !errors.Is(err, syscall.EROFS) {
		t.Fatalf("error %v, want that the disk is read-only", err)
	}
	wants(t, q, 20, 4, 5, 6, 7, 8, 9, 10, 11, 12)
	q.Ack(0)
	remount(0)
	mended(t, q)
	shut(t, q)
	q, _ = open(t, home)
	if got := drain(t, q); len(got) != 9 {
		t.Errorf("%v are left, want 4 to 12", got)
	}
	if len(s.states) < 2 || !strings.Contains(s.states[0], "read-only") || s.states[len(s.states)-1] != "" {
		t.Errorf("told %q", s.states)
	}
}

// mended waits until the disk takes results again.
func mended(t *testing.T, q *spool.Disk) {
	t.Helper()
	for range 2000 {
		if q.Sync(t.Context()) == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("the disk is not tried again")
}
