package pipeline

import (
	"testing"
	"time"
)

func TestADayOfWhatHappensAllTheTimeIsFewLinesAndCountedWhole(t *testing.T) {
	var s Seldom
	at := time.Now()
	told, counted := 0, 0
	const times = 24 * 3600
	for range times {
		at = at.Add(time.Second)
		if n, tell := s.Due(at, 1); tell {
			told++
			counted += n
		}
	}
	if told < 24 || told > 40 {
		t.Errorf("a day is told in %d lines", told)
	}
	if missing := times - counted; missing > 3600 {
		t.Errorf("%d of %d times are not told of yet", missing, times)
	}
}

func TestWhatHappensAgainAfterACalmIsToldAtOnce(t *testing.T) {
	var s Seldom
	at := time.Now()
	for _, step := range []struct {
		after time.Duration
		n     int
		since int
		tell  bool
	}{
		{0, 1, 1, true},
		{5 * time.Second, 2, 0, false},
		{5 * time.Second, 3, 5, true},
		{10 * time.Second, 1, 0, false},
		{10 * time.Second, 1, 2, true},
		{time.Second, 1, 0, false},
		{9 * time.Minute, 1, 2, true},
		{9 * time.Minute, 1, 1, true},
		{10 * time.Minute, 4, 4, true},
		{10 * time.Second, 1, 1, true},
	} {
		at = at.Add(step.after)
		if since, tell := s.Due(at, step.n); since != step.since || tell != step.tell {
			t.Errorf("%s later: %d, %t, want %d, %t", step.after, since, tell, step.since, step.tell)
		}
	}
}
