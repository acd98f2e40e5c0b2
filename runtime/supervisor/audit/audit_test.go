package audit

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func fill(t testing.TB, dir string, o Options, records int) *Log {
	t.Helper()
	l, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	for i := range records {
		if err := l.Append("start", map[string]string{"stage": "gate", "box": fmt.Sprintf("gate-%d", i)}); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

func TestALogHoldsOverItsReopening(t *testing.T) {
	dir := t.TempDir()
	for range 3 {
		if err := fill(t, dir, Options{}, 5).Close(); err != nil {
			t.Fatal(err)
		}
	}
	var seen []Record
	sum, err := Verify(dir, func(r Record) { seen = append(seen, r) })
	if err != nil || sum.Records != 15 || sum.First != 1 || sum.Last != 15 || len(seen) != 15 || seen[7].Fields["box"] != "gate-2" || sum.Hash != seen[14].Hash {
		t.Errorf("%+v (%v)", sum, err)
	}
}

func TestAnEmptyLogHolds(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, Options{}, 0)
	if sum, err := Verify(dir, nil); err != nil || sum.Records != 0 {
		t.Errorf("%+v (%v)", sum, err)
	}
}

func read(t *testing.T, dir, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func write(t *testing.T, dir, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestEveryChangedByteShows(t *testing.T) {
	dir := t.TempDir()
	if err := fill(t, dir, Options{}, 3).Close(); err != nil {
		t.Fatal(err)
	}
	whole := read(t, dir, current)
	second := bytes.IndexByte(whole, '\n') + 1
	for at := range whole {
		changed := bytes.Clone(whole)
		changed[at] ^= 1
		write(t, dir, current, changed)
		_, err := Verify(dir, nil)
		var broken *BreakError
		if at == len(whole)-1 {
			continue // the end of the last line: it is torn, or continued by the head's record
		}
		if !errors.As(err, &broken) {
			t.Fatalf("byte %d changed from %q to %q: %v", at, whole[at], changed[at], err)
		}
		if want := 1 + bytes.Count(whole[:at], []byte{'\n'}); broken.Line != want && whole[at] != '\n' && broken.Line != 0 {
			t.Errorf("byte %d: line %d instead of %d (%v)", at, broken.Line, want, err)
		}
	}
	for name, changed := range map[string][]byte{
		"the first record missing":  whole[second:],
		"a record missing":          append(bytes.Clone(whole[:second]), whole[second+bytes.IndexByte(whole[second:], '\n')+1:]...),
		"a record twice":            append(bytes.Clone(whole[:second]), whole...),
		"the last record missing":   whole[:bytes.LastIndexByte(whole[:len(whole)-1], '\n')+1],
		"all records missing":       nil,
		"a line longer than any":    append(bytes.Clone(whole), append(bytes.Repeat([]byte("a"), 2*maxLine), '\n')...),
		"something else in between": append(append(bytes.Clone(whole[:second]), "\n"...), whole[second:]...),
	} {
		write(t, dir, current, changed)
		sum, err := Verify(dir, nil)
		var broken *BreakError
		if !errors.As(err, &broken) {
			t.Errorf("%s: %+v (%v)", name, sum, err)
		}
	}
}

func TestATornRecordIsSetAsideAndSaid(t *testing.T) {
	dir := t.TempDir()
	if err := fill(t, dir, Options{}, 3).Close(); err != nil {
		t.Fatal(err)
	}
	whole := read(t, dir, current)
	last := bytes.LastIndexByte(whole[:len(whole)-1], '\n') + 1
	for _, cut := range []int{last + 1, last + 50, len(whole) - 1} {
		dir := t.TempDir()
		write(t, dir, current, whole[:cut])
		if sum, err := Verify(dir, nil); sum.Tail != cut-last || sum.Records != 2 {
			t.Errorf("cut at %d: %+v (%v)", cut, sum, err)
		}
		if err := fill(t, dir, Options{}, 1).Close(); err != nil {
			t.Fatal(err)
		}
		var events []string
		sum, err := Verify(dir, func(r Record) { events = append(events, r.Event) })
		if err != nil || sum.Records != 4 || sum.Torn != 1 || sum.Tail != 0 || events[2] != TornEvent {
			t.Errorf("cut at %d: %+v %q (%v)", cut, sum, events, err)
		}
		if got := read(t, dir, "torn-000000000003"); !bytes.Equal(got, whole[last:cut]) {
			t.Errorf("set aside %q", got)
		}
	}
}

func TestAChangedLogIsGoneOnWithAndStillShows(t *testing.T) {
	dir := t.TempDir()
	if err := fill(t, dir, Options{}, 3).Close(); err != nil {
		t.Fatal(err)
	}
	write(t, dir, current, bytes.Replace(read(t, dir, current), []byte("gate-1"), []byte("gate-7"), 1))
	if err := fill(t, dir, Options{}, 1).Close(); err != nil {
		t.Fatal(err)
	}
	_, err := Verify(dir, nil)
	var broken *BreakError
	if !errors.As(err, &broken) || broken.Line != 2 || broken.File != current || !strings.Contains(err.Error(), "was changed") {
		t.Errorf("%v", err)
	}
	if !bytes.Contains(read(t, dir, current), []byte(BrokenEvent)) {
		t.Error("the log doesn't say itself that it doesn't hold")
	}
}

func TestAFullLogGoesOnInAnotherFile(t *testing.T) {
	dir := t.TempDir()
	l := fill(t, dir, Options{MaxBytes: 1000, MaxFiles: 3}, 60)
	names, err := files(dir)
	if err != nil || len(names) != 3 || names[2] != current {
		t.Errorf("files %q (%v)", names, err)
	}
	sum, err := Verify(dir, nil)
	if err != nil || sum.First == 1 || sum.Files != 3 || sum.Last <= 60 {
		t.Errorf("%+v (%v)", sum, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	fill(t, dir, Options{MaxBytes: 1000, MaxFiles: 3}, 60)
	if sum, err := Verify(dir, nil); err != nil {
		t.Errorf("opened anew: %+v (%v)", sum, err)
	}
	if err := os.Remove(filepath.Join(dir, names[0])); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if names, err = files(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, names[0])); err != nil {
		t.Fatal(err)
	}
	if sum, err := Verify(dir, nil); err == nil || !strings.Contains(err.Error(), "missing") {
		t.Errorf("without its oldest file: %+v (%v)", sum, err)
	}
}

func TestAFullDiskLeavesAWholeLog(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting a small disk takes root")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=20k"); err != nil {
		t.Skipf("no small disk can be mounted here: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	l := fill(t, dir, Options{}, 1)
	written, err := 1, error(nil)
	for ; err == nil; written++ {
		err = l.Append("grant", map[string]string{"text": strings.Repeat("a", 500)})
	}
	if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "is full") {
		t.Errorf("%v", err)
	}
	if sum, err := Verify(dir, nil); err != nil || sum.Records != written-1 || sum.Tail != 0 {
		t.Errorf("after %d: %+v (%v)", written-1, sum, err)
	}
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT, "size=64k"); err != nil {
		t.Fatal(err)
	}
	if err := l.Append("grant", nil); err != nil {
		t.Errorf("with room again: %v", err)
	}
	if sum, err := Verify(dir, nil); err != nil || sum.Records != written {
		t.Errorf("with room again: %+v (%v)", sum, err)
	}
}

func FuzzVerify(f *testing.F) {
	dir := f.TempDir()
	fill(f, dir, Options{}, 3).Close()
	data, err := os.ReadFile(filepath.Join(dir, current))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(data[:len(data)/2])
	f.Add([]byte("{}\n\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		write(t, dir, current, data)
		_, before := Verify(dir, nil)
		if err := fill(t, dir, Options{}, 1).Close(); err != nil {
			t.Fatal(err)
		}
		sum, after := Verify(dir, nil)
		var broken *BreakError
		if errors.As(before, &broken) && broken.File == current && after == nil {
			t.Errorf("a break was healed: %v, then %+v", before, sum)
		}
	})
}

func FuzzDecode(f *testing.F) {
	line, _, err := encode(Record{Sequence: 1, Event: "start", Previous: zeros})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(line[:len(line)-1])
	f.Add([]byte(`{"seq":1,"hash":"00"}`))
	f.Add([]byte(`,"hash":"` + zeros + `"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		if r, err := decode(line); err == nil && len(r.Hash) != len(zeros) {
			t.Errorf("taken with hash %q", r.Hash)
		}
	})
}
