package outlive

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

const statLine = `1234 (a) ((b %s) S 1 1200 1200 0 -1 4194560 147 0 0 0 12 34 0 0 20 0 5 0 987654 1234567 25 18446744073709551615 1 1 0 0 0 0 0 16781312 17663 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 1792` + "\n"

func TestTheStatusOfAProcessIsReadWhateverItsName(t *testing.T) {
	got, err := parseStat([]byte(statLine))
	want := Stat{PID: 1234, State: 'S', Session: 1200, CPU: 460 * time.Millisecond, Started: 987654, RSS: 25 * int64(os.Getpagesize()), Exit: 7 << 8}
	if err != nil || got != want {
		t.Errorf("is %+v (%v) instead of %+v", got, err, want)
	}
	if s, err := ReadStat(os.Getpid()); err != nil || s.PID != os.Getpid() || s.Dead() || s.Started == 0 || s.RSS == 0 {
		t.Errorf("of this process: %+v (%v)", s, err)
	}
	for _, bad := range []string{"", "1", "1 (x", "1 (x) S 1", strings.Replace(statLine, "987654", "x", 1)} {
		if s, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q is read as %+v", bad, s)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte(statLine))
	f.Fuzz(func(t *testing.T, data []byte) { _, _ = parseStat(data) })
}

func TestUsersOfBoxesAreInTheirRange(t *testing.T) {
	var seen []int
	for _, id := range []string{"a", "b", "gate-1", "gate-2", strings.Repeat("x", 63)} {
		uid := UserOf(id)
		if uid < firstUID || uid >= firstUID+manyUIDs || slices.Contains(seen, uid) || uid != UserOf(id) {
			t.Errorf("user %d of %q", uid, id)
		}
		seen = append(seen, uid)
	}
}
