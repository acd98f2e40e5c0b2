package health

import (
	"math/rand/v2"
	"testing"
	"testing/quick"
	"time"
)

var limits = Limits{Patience: 2 * time.Minute, Silence: 30 * time.Second, Hang: time.Minute}

// life plays a stage second by second.
type life struct {
	w    Watch
	s    Sample
	now  time.Time
	seen map[Verdict]int
}

func newLife() *life { return &life{now: time.Unix(1e9, 0), seen: map[Verdict]int{}} }

func (l *life) play(seconds int, beat bool, in, out uint64) Verdict {
	var v Verdict
	for range seconds {
		l.now = l.now.Add(time.Second)
		if beat {
			l.s.Beat = l.now
		}
		l.s.In, l.s.Out = l.s.In+in, l.s.Out+out
		v = l.w.Look(time.Second, l.s, limits)
		l.seen[v]++
	}
	return v
}

func TestVerdicts(t *testing.T) {
	for name, test := range map[string]struct {
		play func(l *life) Verdict
		want Verdict
	}{
		"before the first heartbeat":         {func(l *life) Verdict { return l.play(100, false, 0, 0) }, New},
		"a first heartbeat that never comes": {func(l *life) Verdict { return l.play(125, false, 0, 0) }, Silent},
		"work that flows":                    {func(l *life) Verdict { return l.play(300, true, 5, 5) }, Working},
		"more offered than done":             {func(l *life) Verdict { return l.play(300, true, 30, 1) }, Working},
		"nothing to do":                      {func(l *life) Verdict { return l.play(300, true, 0, 0) }, Starved},
		"nothing to do any more":             {func(l *life) Verdict { l.play(60, true, 5, 5); return l.play(300, true, 0, 0) }, Starved},
		"offered, and nothing done":          {func(l *life) Verdict { l.play(60, true, 5, 5); return l.play(70, true, 5, 0) }, Hung},
		"hangs from the start":               {func(l *life) Verdict { return l.play(70, true, 5, 0) }, Hung},
		"not yet long enough":                {func(l *life) Verdict { l.play(60, true, 5, 5); return l.play(58, true, 5, 0) }, Working},
		"one left over when the camera went": {func(l *life) Verdict { l.play(60, true, 5, 5); l.play(1, true, 1, 0); return l.play(300, true, 0, 0) }, Starved},
		"work after a long time without any": {func(l *life) Verdict { l.play(600, true, 0, 0); return l.play(20, true, 5, 0) }, Working},
		"one now and then, each done": {func(l *life) Verdict {
			v := Working
			for range 9 {
				l.play(40, true, 0, 0)
				v = l.play(1, true, 1, 1)
			}
			return v
		}, Working},
		"heartbeats that stop":       {func(l *life) Verdict { l.play(60, true, 5, 5); return l.play(31, false, 5, 5) }, Silent},
		"heartbeats that come again": {func(l *life) Verdict { l.play(60, true, 5, 5); l.play(25, false, 5, 5); return l.play(1, true, 5, 5) }, Working},
		"counters that begin anew":   {func(l *life) Verdict { l.play(60, true, 5, 5); l.s.In, l.s.Out = 0, 0; return l.play(30, true, 5, 5) }, Working},
	} {
		t.Run(name, func(t *testing.T) {
			if got := test.play(newLife()); got != test.want {
				t.Errorf("is %s, not %s", got, test.want)
			}
		})
	}
}

func TestAWatcherThatWasStoppedItselfHoldsNothingAgainstAStage(t *testing.T) {
	l := newLife()
	l.play(60, true, 5, 5)
	if v := l.w.Look(time.Hour, Sample{Beat: l.s.Beat, In: l.s.In + 100, Out: l.s.Out}, limits); v != Working {
		t.Errorf("is %s", v)
	}
}

func TestAClockThatJumpsMakesNoStageIll(t *testing.T) {
	l := newLife()
	for _, jump := range []time.Duration{10 * 8766 * time.Hour, -20 * 8766 * time.Hour, time.Minute, -time.Minute} {
		l.play(60, true, 5, 5)
		l.now = l.now.Add(jump)
		l.play(60, true, 5, 5)
	}
	if l.seen[Silent]+l.seen[Hung]+l.seen[New] > 0 {
		t.Errorf("%v", l.seen)
	}
}

func TestAStageThatFinishesSomethingOftenEnoughNeverHangs(t *testing.T) {
	holds := func(seed uint64) bool {
		r := rand.New(rand.NewPCG(seed, 2))
		l := newLife()
		for range 50 {
			l.play(r.IntN(29), r.IntN(5) > 0, uint64(r.IntN(3)), 0)
			l.play(1, true, uint64(r.IntN(2)), 1)
		}
		return l.seen[Hung] == 0 && l.seen[Silent] == 0
	}
	if err := quick.Check(holds, &quick.Config{MaxCount: 2000}); err != nil {
		t.Error(err)
	}
}
