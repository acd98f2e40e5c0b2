package demo

import (
	"strings"
	"testing"
	"time"
)

func TestATallyHoldsSettledFramesAgainstTheTruth(t *testing.T) {
	var tally Tally
	for i := range 100 {
		tally.Add(time.Duration(i+1)*time.Millisecond, "car", "car", true)
	}
	tally.Add(time.Second, "car", "dog", false) // changing: neither right nor wrong
	tally.Add(time.Second, "", "dog", true)
	if got := tally.Agreement(); got != 100.0/101 {
		t.Errorf("agreement %v", got)
	}
	if p50, p99 := tally.Age(0.5), tally.Age(0.99); p50 != 51*time.Millisecond || p99 != time.Second {
		t.Errorf("p50 %s, p99 %s", p50, p99)
	}
	text := tally.Summary(20*time.Second, Frames{Seen: 110, Analysed: 102, Dropped: map[string]uint64{"not_keyframe": 8}})
	for _, part := range []string{"110 seen, 102 analysed, dropped: not keyframe 8", "102 received", "99.0% of 101", "dog seen as nothing sure: 1", "p95 97.0 ms"} {
		if !strings.Contains(text, part) {
			t.Errorf("no %q in\n%s", part, text)
		}
	}
}

func TestAnEmptyTallyClaimsNothing(t *testing.T) {
	var tally Tally
	text := tally.Summary(time.Second, Frames{})
	if !strings.Contains(text, "0 received") || !strings.Contains(text, "agreement     – of 0") || tally.Age(0.5) != 0 {
		t.Error(text)
	}
}
