package spool

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"sightline/sinks"
	"sightline/sinks/sinktest"
)

// segmentSeeds are segments, whole and damaged.
func segmentSeeds(t testing.TB) [][]byte {
	s := stamp{time: 1_790_000_000_000, wall: 1_790_000_000_001, up: 7, boot: 1 << 63, trusted: true}
	b := appendHeader(nil, 1, 1, s)
	for i := range uint64(4) {
		json, err := sinks.AppendResult(nil, sinktest.Result("gate", i, "car"))
		if err != nil {
			t.Fatal(err)
		}
		b = appendRecord(b, kindRecord, i+1, s.time, json)
	}
	b = appendMark(b, 3, s)
	line := bytes.IndexByte(b, '\n') + 1
	flipped := bytes.Clone(b)
	flipped[line+300] ^= 4
	hole := bytes.Clone(b)
	clear(hole[line+300 : line+1500])
	return [][]byte{
		nil, b, b[:len(b)-5], b[line:], flipped, hole, append(bytes.Clone(b), make([]byte, 5000)...),
		append(b[:line:line], b[line+10:]...), bytes.Repeat([]byte("\n"), 100), make([]byte, 3*block),
		[]byte(string(finishLine([]byte("00000000 sightline-spool 2 x"), 0))),
		finishLine([]byte("00000000 r 18446744073709551615 1 {}"), 0),
		finishLine([]byte("00000000 r 1 1 not json"), 0),
		finishLine([]byte("00000000 m 1152921504606846976 1 1 1 1 1"), 0),
	}
}

// What a scanner finds lies in the file, in order and without overlap; what it takes for a line is
// one; and a whole line behind whatever else is found.
func FuzzSegment(f *testing.F) {
	for _, b := range segmentSeeds(f) {
		f.Add(b)
	}
	good := appendMark(nil, 42, stamp{time: 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		b = append(append(b, '\n'), good...)
		s := newScanner(bytes.NewReader(b), int64(len(b)))
		last, at := line{}, int64(0)
		for {
			found, err := s.scan()
			if err == io.EOF {
				break
			}
			if err != nil || found.bytes <= 0 || found.offset < at || found.offset+found.bytes > int64(len(b)) {
				t.Fatalf("%+v at %d of %d: %v", found, at, len(b), err)
			}
			at = found.offset + found.bytes
			if found.kind == "" {
				last = line{}
				continue
			}
			last = found.line
			if again, err := parseLine(b[found.offset : at-1]); err != nil || again.kind != found.kind {
				t.Fatalf("%q is no line: %v", b[found.offset:at-1], err)
			}
		}
		if last.kind != kindMark || last.head != 42 {
			t.Fatalf("the last line is %+v", last)
		}
	})
}

// A queue opens over any file, or says why not, and everything in it can be taken out.
func FuzzOpen(f *testing.F) {
	for _, b := range segmentSeeds(f) {
		f.Add(b, b, false)
		f.Add(b, b, true)
	}
	f.Fuzz(func(t *testing.T, first, second []byte, mend bool) {
		if mend {
			first, second = checksummed(first), checksummed(second)
		}
		d := newFaultyDisk(1)
		d.names[segmentName(1)] = &inode{data: first, synced: first}
		d.names[segmentName(3)] = &inode{data: second, synced: second}
		q := &Disk{Config: sinks.Spool{MaxBytes: 1 << 20, MaxAge: time.Hour}, Delay: -1, enter: d.enter}
		if err := q.Open(); err != nil {
			if !strings.Contains(err.Error(), "version") {
				t.Fatal(err)
			}
			return
		}
		for i := range uint64(3) {
			if err := q.Put(sinktest.Message("gate", 1000+i, "car")); err != nil {
				t.Fatal(err)
			}
		}
		news := 0
		for batch := q.Peek(10, nil); len(batch) > 0; batch = q.Peek(10, nil) {
			for _, m := range batch {
				if m.Result.ID == "porch-gate-1000" || m.Result.ID == "porch-gate-1001" || m.Result.ID == "porch-gate-1002" {
					news++
				}
			}
			q.Ack(len(batch))
		}
		if n, _ := q.Size(); n != 0 || news != 3 {
			t.Fatalf("%d wait, %d of the 3 new ones came", n, news)
		}
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// checksummed makes every line one whose checksum fits.
func checksummed(b []byte) (lines []byte) {
	for text := range bytes.SplitSeq(b, []byte("\n")) {
		start := len(lines)
		lines = append(append(lines, "00000000 "...), text[min(len(text), checksum+1):]...)
		lines = finishLine(lines, start)
	}
	return lines
}
