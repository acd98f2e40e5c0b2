package logs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func openLog(t *testing.T, l Limits) *Log {
	t.Helper()
	log := Open(filepath.Join(t.TempDir(), "gate.log"), l)
	t.Cleanup(func() { log.Close() })
	return log
}

// texts returns lines without their times.
func texts(t *testing.T, log *Log, n int) []string {
	t.Helper()
	var all []string
	err := log.Read(t.Context(), n, false, func(line string) error {
		at, text, _ := strings.Cut(line, " ")
		if _, err := time.Parse(time.RFC3339Nano, at); err != nil {
			t.Error(err)
		}
		all = append(all, text)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return all
}

func TestLinesAreKeptWholeAndHarmless(t *testing.T) {
	log := openLog(t, Limits{})
	a, b := log.Writer(), log.Writer()
	for _, part := range []struct {
		w    func(string)
		text string
	}{
		{func(s string) { fmt.Fprint(a, s) }, "first ha"}, {func(s string) { fmt.Fprint(b, s) }, "from another\r\n"},
		{func(s string) { fmt.Fprint(a, s) }, "lf\n\x1b[2Jclear\x9b\xff\ttab\n\n"},
		{func(s string) { fmt.Fprint(a, s) }, strings.Repeat("a", MaxLine+1) + "\nnot ended"},
	} {
		part.w(part.text)
	}
	want := []string{"from another", "first half", "\\x1b[2Jclear\uFFFD\uFFFD\ttab", "", strings.Repeat("a", MaxLine), "a"}
	if got := texts(t, log, 100); strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("%.200q", got)
	}
	if got := texts(t, log, 1); len(got) != 1 || got[0] != "a" {
		t.Errorf("%.200q", got)
	}
	if info, err := os.Stat(log.name); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v (%v)", info.Mode(), err)
	}
}

func TestALogTakesNoMoreRoomThanItMay(t *testing.T) {
	now := time.Unix(0, 0)
	log := openLog(t, Limits{FileBytes: 1000, Files: 3, Now: func() time.Time { now = now.Add(time.Second); return now }})
	w := log.Writer()
	for i := range 500 {
		fmt.Fprintf(w, "line %d\n", i)
	}
	size := int64(0)
	names, err := filepath.Glob(log.name + "*")
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size()
	}
	if err != nil || len(names) != 3 || size > 3000 {
		t.Errorf("%q have %d bytes (%v)", names, size, err)
	}
	if got := texts(t, log, 50); len(got) != 50 || got[0] != "line 450" || got[49] != "line 499" {
		t.Errorf("%q", got)
	}
	if err := log.Remove(); err != nil {
		t.Error(err)
	}
	if names, _ := filepath.Glob(log.name + "*"); len(names) > 0 {
		t.Errorf("left %q", names)
	}
}

func TestAFloodIsLeftOutAndSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := openLog(t, Limits{Lines: 10, Burst: 2})
		w := log.Writer()
		for i := range 100 {
			fmt.Fprintf(w, "line %d\n", i)
		}
		if got := texts(t, log, 1000); len(got) != 20 {
			t.Errorf("%q", got)
		}
		time.Sleep(1100 * time.Millisecond)
		synctest.Wait()
		got := texts(t, log, 1000)
		if len(got) != 21 || got[20] != "(80 lines with 640 bytes left out: more than 10 lines a second)" {
			t.Errorf("%q", got)
		}
		fmt.Fprintln(w, "after")
		if got := texts(t, log, 1); got[0] != "after" {
			t.Errorf("%q", got)
		}
	})
}

func TestALogIsFollowedWithoutAGap(t *testing.T) {
	log := openLog(t, Limits{Lines: 1 << 20, Bytes: 1 << 30, FileBytes: 5000})
	w := log.Writer()
	const lines = 600
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	written := make(chan struct{})
	go func() {
		defer close(written)
		for i := range lines {
			fmt.Fprintf(w, "line %d\n", i)
		}
	}()
	var got []string
	err := log.Read(ctx, 3, true, func(line string) error {
		_, text, _ := strings.Cut(line, " ")
		if got = append(got, text); strings.HasSuffix(text, fmt.Sprintf("line %d", lines-1)) {
			cancel()
		}
		return nil
	})
	<-written
	if err != nil {
		t.Fatal(err)
	}
	first := 0
	if _, err := fmt.Sscanf(got[0], "line %d", &first); err != nil {
		t.Fatal(err)
	}
	for i, text := range got {
		if text != fmt.Sprintf("line %d", first+i) {
			t.Fatalf("%q in place %d after %d", text, i, first)
		}
	}
}

func TestWhoReadsTooSlowlyIsTold(t *testing.T) {
	log := openLog(t, Limits{Lines: 1 << 20, Bytes: 1 << 30})
	w := log.Writer()
	fmt.Fprintln(w, "first")
	told, seen := errors.New("told"), 0
	err := log.Read(t.Context(), 1, true, func(line string) error {
		seen++
		if seen == 1 {
			fmt.Fprint(w, strings.Repeat("more\n", 2*queue))
		}
		if seen == queue {
			fmt.Fprintln(w, "last")
		}
		if strings.Contains(line, fmt.Sprintf("%d lines left out: they are not read fast enough", queue)) {
			return told
		}
		if seen > 2*queue {
			return errors.New("not told")
		}
		return nil
	})
	if err != told {
		t.Errorf("after %d lines: %v", seen, err)
	}
}

func TestTheEndOfALogEndsWhoFollows(t *testing.T) {
	log := openLog(t, Limits{})
	fmt.Fprintln(log.Writer(), "first")
	seen := 0
	err := log.Read(t.Context(), 10, true, func(string) error {
		seen++
		return log.Close()
	})
	if err != nil || seen != 1 {
		t.Errorf("saw %d (%v)", seen, err)
	}
}

func FuzzWriter(f *testing.F) {
	f.Add("a\nb\x1b\xff\r\n", 3)
	f.Fuzz(func(t *testing.T, text string, at int) {
		if len(text) > 4*MaxLine || at < 0 || at > len(text) {
			return
		}
		log := openLog(t, Limits{Lines: 1 << 20, Bytes: 1 << 30, FileBytes: 1 << 30})
		w := log.Writer()
		fmt.Fprint(w, text[:at])
		fmt.Fprint(w, text[at:], "\n")
		for _, line := range texts(t, log, 1<<20) {
			if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
				t.Errorf("%q", line)
			}
		}
	})
}

func TestWhatCannotBeWrittenForLongIsSaidWhenItCan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		folder := filepath.Join(t.TempDir(), "gone")
		log := Open(filepath.Join(folder, "gate.log"), Limits{})
		defer log.Close()
		for range 3 { // each a while after the moment at which the ones before were to be told
			fmt.Fprintln(log.Writer(), "lost")
			time.Sleep(3 * time.Second)
		}
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(log.Writer(), "here")
		got := texts(t, log, 10)
		if len(got) != 2 || !strings.HasPrefix(got[0], "(3 lines with 15 bytes left out: ") || got[1] != "here" {
			t.Errorf("%q", got)
		}
	})
}
