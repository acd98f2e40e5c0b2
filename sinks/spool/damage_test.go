package spool_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sightline/sinks"
	"sightline/sinks/spool"
)

// fill makes a spool of several segments that holds results 1 to n.
func fill(t testing.TB, folder string, n uint64) {
	t.Helper()
	q, _ := newDisk(folder)
	q.Config.MaxBytes = 1 << 20 // 32 KiB a segment
	if err := q.Open(); err != nil {
		t.Fatal(err)
	}
	for i := uint64(1); i <= n; i += 10 {
		put(t, q, i, min(i+9, n))
		safe(t, q)
	}
	shut(t, q)
}

// drain takes everything out and returns the numbers.
func drain(t testing.TB, q spool.Queue) []uint64 {
	t.Helper()
	var all []uint64
	for {
		batch := q.Peek(64, nil)
		if len(batch) == 0 {
			break
		}
		all = append(all, sequences(batch)...)
		q.Ack(len(batch))
	}
	if !slices.IsSorted(all) || len(slices.Compact(slices.Clone(all))) != len(all) {
		t.Fatalf("out of order or twice: %v", all)
	}
	if n, bytes := q.Size(); n != 0 || bytes != 0 {
		t.Fatalf("%d results, %d bytes wait after all were taken", n, bytes)
	}
	return all
}

// hurt changes a file the way that name says.
func hurt(random *rand.Rand, how string, b []byte) []byte {
	at := random.IntN(len(b))
	end := at + 1 + random.IntN(min(3000, len(b)-at))
	switch how {
	case "a flipped bit":
		b[at] ^= 1 << random.IntN(8)
	case "a truncated file":
		return b[:at]
	case "an empty file":
		return nil
	case "zeros":
		clear(b[at:end])
	case "many zeros":
		clear(b[at:min(len(b), at+200_000)])
	case "garbage":
		for i := range b[at:end] {
			b[at+i] = byte(random.UintN(256))
		}
	case "a missing part":
		return slices.Delete(b, at, end)
	case "a doubled part":
		return slices.Insert(b, at, b[at:end]...)
	case "no header":
		return b[bytes.IndexByte(b, '\n')+1:]
	case "a sector of another file":
		copy(b[at:], strings.Repeat("<html>\n", 74)[:min(512, len(b)-at)])
	case "much garbage before":
		return append(bytes.Repeat([]byte("x"), 300_000), append([]byte("\n"), b...)...)
	}
	return b
}

// intact lists the results whose lines stand in a file as they did, between line feeds.
func intact(before, after []byte) (numbers []uint64) {
	text := "\n" + strings.ReplaceAll(string(after), "\x00", "\n")
	for line := range strings.Lines(string(before)) {
		if n, ok := numberOf(line); ok && strings.Contains(text, "\n"+line) {
			numbers = append(numbers, n)
		}
	}
	return numbers
}

func numberOf(line string) (n uint64, ok bool) {
	_, rest, ok := strings.Cut(line, `"sequence":`)
	if !ok {
		return 0, false
	}
	_, err := fmt.Sscanf(rest, "%d", &n)
	return n - 100, err == nil
}

func TestDamageCostsOnlyWhatIsDamaged(t *testing.T) {
	const n = 400
	whole := t.TempDir()
	fill(t, whole, n)
	files := segments(t, whole)
	if len(files) < 4 {
		t.Fatalf("%d segments are too few for this test", len(files))
	}
	random := rand.New(rand.NewPCG(1, 2))
	for _, how := range []string{
		"a flipped bit", "a truncated file", "an empty file", "zeros", "many zeros", "garbage", "a missing part", "a doubled part",
		"no header", "a sector of another file", "much garbage before",
	} {
		t.Run(how, func(t *testing.T) {
			for range 12 {
				checkDamage(t, random, whole, files[random.IntN(len(files))], how, n)
			}
		})
	}
	t.Run("a missing file", func(t *testing.T) {
		folder := filepath.Join(t.TempDir(), "spool")
		if err := os.CopyFS(folder, os.DirFS(whole)); err != nil {
			t.Fatal(err)
		}
		q, s := open(t, folder)
		if err := os.Remove(segments(t, folder)[1]); err != nil {
			t.Fatal(err)
		}
		if got := drain(t, q); len(got)+s.lost[spool.LossDamaged] != n || len(s.damages) != 1 {
			t.Errorf("%d delivered, told %+v", len(got), s)
		}
	})
}

func checkDamage(t *testing.T, random *rand.Rand, whole, file, how string, n int) {
	t.Helper()
	folder := filepath.Join(t.TempDir(), fmt.Sprint(random.Uint64()))
	if err := os.CopyFS(folder, os.DirFS(whole)); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	after := hurt(random, how, bytes.Clone(before))
	name := filepath.Base(file)
	if err := os.WriteFile(filepath.Join(folder, name), after, 0o640); err != nil {
		t.Fatal(err)
	}
	q, s := open(t, folder)
	put(t, q, uint64(n)+1, uint64(n)+3)
	got := drain(t, q)
	shut(t, q)
	for _, number := range intact(before, after) {
		if !slices.Contains(got, number) {
			t.Errorf("result %d is intact in %s and was not kept", number, name)
		}
	}
	last := file == segments(t, whole)[len(segments(t, whole))-1]
	if missing := n + 3 - len(got); missing != s.lost[spool.LossDamaged] && !last {
		t.Errorf("%d results are missing in %s, %v are counted", missing, name, s.lost)
	}
	if bytes.Equal(bytes.TrimRight(before, "\x00"), bytes.TrimRight(after, "\x00")) {
		return
	}
	told := 0
	for _, d := range s.damages {
		told += d.Results
		if d.Segment != name || d.Offset < 0 || d.Offset+d.Bytes > int64(len(after)) {
			t.Errorf("told of damage at %+v, which is not in %s of %d bytes", d, name, len(after))
		}
	}
	if told != s.lost[spool.LossDamaged] {
		t.Errorf("told of %d results in %+v, counted %v", told, s.damages, s.lost)
	}
	if len(s.damages) == 0 && len(got) < n+3 && !last {
		t.Errorf("%s in %s was not told of", how, name)
	}
}

func TestTornTailIsTold(t *testing.T) {
	folder := t.TempDir()
	fill(t, folder, 30)
	list := segments(t, folder)
	file := list[len(list)-1]
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	b = bytes.TrimRight(b, "\x00")
	torn := bytes.LastIndexByte(b[:len(b)-1], '\n') + 1
	if err := os.WriteFile(file, b[:len(b)-100], 0o640); err != nil {
		t.Fatal(err)
	}
	q, s := open(t, folder)
	want := spool.Damage{Segment: filepath.Base(file), Offset: int64(torn), Bytes: int64(len(b) - 100 - torn)}
	if len(s.damages) != 1 || s.damages[0] != want {
		t.Errorf("told of %+v, want %+v", s.damages, want)
	}
	put(t, q, 31, 33)
	if got := drain(t, q); len(got) != 32 {
		t.Errorf("got %v, want all but number 30", got)
	}
}

func TestNewerVersionIsRefusedByName(t *testing.T) {
	folder := t.TempDir()
	const name = "00000000000000000001.spool"
	if err := os.WriteFile(filepath.Join(folder, name), []byte(spool.ChecksumLine("sightline-spool 2 whatever comes")), 0o640); err != nil {
		t.Fatal(err)
	}
	q, _ := newDisk(folder)
	err := q.Open()
	if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("error %v names neither the file nor its version", err)
	}
}

func TestFolderIsForOneQueueAtATime(t *testing.T) {
	folder := t.TempDir()
	q, _ := open(t, folder)
	other, _ := newDisk(folder)
	if err := other.Open(); err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Fatalf("a second queue: error %v", err)
	}
	put(t, q, 1, 1)
	shut(t, q)
	if err := other.Open(); err != nil {
		t.Fatal(err)
	}
	wants(t, other, 10, 1)
	shut(t, other)
}

func TestStrangersInTheFolderAreLeftAlone(t *testing.T) {
	folder := t.TempDir()
	strange := []string{"lost+found", "1.spool", "00000000000000000000.spool", "99999999999999999999.spool", "readme.txt"}
	for _, name := range strange {
		if err := os.WriteFile(filepath.Join(folder, name), []byte("mine"), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(folder, "00000000000000000007.spool")); err != nil {
		t.Fatal(err)
	}
	q, _ := newDisk(folder)
	q.Config.Full = sinks.RejectNew
	if err := q.Open(); err == nil {
		put(t, q, 1, 3)
		shut(t, q)
	}
	for _, name := range strange {
		if b, err := os.ReadFile(filepath.Join(folder, name)); err != nil || string(b) != "mine" {
			t.Errorf("%s holds %q, %v", name, b, err)
		}
	}
}
