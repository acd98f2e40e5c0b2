package container

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// frameOf writes a log's frame.
func frameOf(stream byte, text string) []byte {
	head := [frameHead]byte{stream}
	binary.BigEndian.PutUint32(head[4:], uint32(len(text)))
	return append(head[:], text...)
}

func TestALogIsReadFrameByFrame(t *testing.T) {
	log := append(frameOf(1, "2026-11-22T05:20:49.842915078Z one line\n"), frameOf(2, "2026-11-22T05:20:50Z \n")...)
	f := frames{from: bytes.NewReader(log)}
	first, err := f.next()
	if err != nil || first.stream != 1 || string(first.text) != "one line" || first.at.Nanosecond() != 842915078 {
		t.Errorf("first is %+v (%v)", first, err)
	}
	second, err := f.next()
	if err != nil || second.stream != 2 || len(second.text) != 0 {
		t.Errorf("second is %+v (%v)", second, err)
	}
	if _, err := f.next(); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}

func TestALogOfAnotherFormIsRefused(t *testing.T) {
	huge := frameOf(1, "")
	binary.BigEndian.PutUint32(huge[4:], maxFrame+1)
	for want, log := range map[string][]byte{
		"no head of one":   []byte("HTTP/1.1 500"),
		"more than":        huge,
		"without its time": frameOf(1, "no time here"),
		"unexpected EOF":   frameOf(1, "2026-11-22T05:20:50Z cut")[:20],
		"engine on its":    frameOf(3, "gone wrong"),
	} {
		if _, err := (&frames{from: bytes.NewReader(log)}).next(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
}

func FuzzFrames(f *testing.F) {
	f.Add(append(frameOf(1, "2026-11-22T05:20:49.842915078Z one line\n"), frameOf(2, "2026-11-22T05:20:50Z \n")...))
	f.Add(frameOf(3, "gone wrong"))
	f.Fuzz(func(t *testing.T, data []byte) {
		frames := frames{from: bytes.NewReader(data)}
		for {
			e, err := frames.next()
			if err != nil {
				return
			}
			if len(e.text) > len(data) {
				t.Errorf("%d bytes of %d", len(e.text), len(data))
			}
		}
	})
}

func TestEachEntryIsHandedOverOnceWhateverItsTime(t *testing.T) {
	for name, step := range map[string]time.Duration{"a time for each": time.Millisecond, "many in a second": time.Millisecond / 5, "all in a second": 0} {
		t.Run(name, func(t *testing.T) {
			const all = 3*marks + 100
			entries := make([]entry, all)
			for i := range entries {
				at := time.Unix(1000, 0).Add(time.Duration(i) * step)
				if name != "a time for each" {
					at = at.Truncate(time.Second)
				}
				entries[i] = entry{1, at, []byte(fmt.Sprint("line ", i%7))} // lines repeat
			}
			dir := t.TempDir()
			handed := 0
			for _, until := range []int{10, 500, marks, marks + 1, 2*marks + 700, all} {
				note, err := openNote(dir)
				if err != nil {
					t.Fatal(err)
				}
				p, err := readPosition(note)
				if err != nil {
					t.Fatal(err)
				}
				rest := p.resume()
				for i, e := range entries[:until] {
					if rest.has(e) {
						continue
					}
					if i != handed {
						t.Fatalf("%d is handed over after %d", i, handed)
					}
					handed++
					if err := p.note(markOf(e)); err != nil {
						t.Fatal(err)
					}
				}
				if handed != until {
					t.Fatalf("%d of %d were handed over", handed, until)
				}
				if err := p.close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func TestAnEntryThatComesLateIsHandedOver(t *testing.T) {
	note, err := makeNote(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	p := &position{file: note}
	at := func(i int) entry { return entry{1, time.Unix(1000, int64(i)), []byte("x")} }
	for _, i := range []int{1, 3, 4} {
		if err := p.note(markOf(at(i))); err != nil {
			t.Fatal(err)
		}
	}
	rest := p.resume()
	for i, want := range map[int]bool{1: true, 2: false, 3: true, 4: true, 5: false} {
		if got := rest.has(at(i)); got != want {
			t.Errorf("%d was handed over: %t", i, got)
		}
	}
}

func FuzzPosition(f *testing.F) {
	f.Add(make([]byte, 3*markSize))
	f.Fuzz(func(t *testing.T, data []byte) {
		p := &position{}
		p.parse(data)
		p.resume()
	})
}

func TestAFileIsFollowedFromOneToTheNext(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "ctr.log")
	line := func(kind, text string) string {
		return "2026-11-22T05:39:24.247324706+00:00 stdout " + kind + " " + text + "\n"
	}
	write := func(text string) {
		t.Helper()
		f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	open := func(out io.Writer) *fileLog {
		t.Helper()
		note, err := openNote(dir)
		if err != nil {
			t.Fatal(err)
		}
		l, err := openFileLog(out, path, note)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	var out strings.Builder
	l := open(&out)
	l.look() // there is none yet
	write(line("F", "one") + line("P", "tw") + line("F", "o") + line("F", "thr")[:40])
	l.look()
	write(line("F", "thr")[40:])
	l.look()
	write(line("F", "four"))
	if err := errors.Join(l.close(), os.Rename(path, path+".old")); err != nil { // the supervisor is killed, the file is full
		t.Fatal(err)
	}
	if err := os.Rename(path+".old", path); err != nil {
		t.Fatal(err)
	}
	l = open(&out)
	l.look()
	if err := os.Rename(path, path+".old"); err != nil {
		t.Fatal(err)
	}
	write(line("F", "five") + "2026-11-22T05:39:24.2Z stderr P unended\n")
	l.look()
	l.rest(context.Background())
	if want := "one\ntwo\nthr\nfour\nfive\nunended\n"; out.String() != want {
		t.Errorf("got %q instead of %q", out.String(), want)
	}
	if err := l.close(); err != nil {
		t.Error(err)
	}
}

func FuzzParseFileLine(f *testing.F) {
	f.Add([]byte("2026-11-22T05:39:24.247324706+00:00 stdout F l 2998\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if text, _ := parseFileLine(data); len(text) > len(data) {
			t.Error("more than there is")
		}
	})
}
