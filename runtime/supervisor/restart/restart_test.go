package restart

import (
	"math/rand/v2"
	"slices"
	"testing"
	"testing/quick"
	"time"
)

func ends(reasons ...Reason) []End {
	var all []End
	for _, r := range reasons {
		all = append(all, End{Reason: r, Ran: time.Second})
	}
	return all
}

func TestWait(t *testing.T) {
	long := End{Reason: Crashed, Ran: time.Hour}
	for name, test := range map[string]struct {
		history  []End
		from, to time.Duration // over all randomness
	}{
		"nothing has ended yet":                       {nil, 0, 0},
		"the first failure":                           {ends(Crashed), 400 * time.Millisecond, 600 * time.Millisecond},
		"the third in a row":                          {ends(Crashed, Hung, Exited), 1600 * time.Millisecond, 2400 * time.Millisecond},
		"the hundredth":                               {slices.Repeat(ends(Killed), 100), 4 * time.Minute, 5 * time.Minute},
		"after what was asked for":                    {ends(Crashed, Crashed, Asked), 0, 0},
		"after a replacement":                         {ends(Crashed, Replaced), 0, 0},
		"after an end nobody saw":                     {ends(Crashed, Lost), 0, 0},
		"what was asked for makes failures forgotten": {ends(Crashed, Crashed, Asked, Crashed), 400 * time.Millisecond, 600 * time.Millisecond},
		"a long run makes failures forgotten":         {append(ends(Crashed, Crashed, Crashed), long), 400 * time.Millisecond, 600 * time.Millisecond},
		"a failure after a long run counts on":        {append(append(ends(Crashed), long), ends(Crashed)...), 800 * time.Millisecond, 1200 * time.Millisecond},
		"a permanent failure":                         {[]End{{Reason: Exited, Permanent: true}}, time.Minute, 90 * time.Second},
		"what the driver refuses":                     {ends(Refused), time.Minute, 90 * time.Second},
		"changed files":                               {ends(Tampered), time.Minute, 90 * time.Second},
		"the hundredth permanent failure":             {slices.Repeat([]End{{Reason: Exited, Permanent: true}}, 100), 4 * time.Minute, 5 * time.Minute},
		"a permanent failure that is over":            {append([]End{{Reason: Exited, Permanent: true}}, ends(Killed)...), 800 * time.Millisecond, 1200 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			for _, random := range []float64{0, 0.25, 0.5, 1, -3, 7} {
				if got := (Policy{}).Wait(test.history, random); got < test.from || got > test.to {
					t.Errorf("with %v: %v is not from %v to %v", random, got, test.from, test.to)
				}
			}
			if got := (Policy{}).Wait(test.history, 0); test.to > 0 && got == (Policy{}).Wait(test.history, 1) {
				t.Errorf("is always %v", got)
			}
		})
	}
}

// history makes any history.
func history(r *rand.Rand) []End {
	all := make([]End, r.IntN(40))
	for i := range all {
		all[i] = End{Reasons()[r.IntN(len(Reasons()))], r.IntN(4) == 0, time.Duration(r.Int64N(int64(3 * time.Minute)))}
	}
	return all
}

func TestWhateverHappenedTheWaitIsBoundedAndTheHistoryThatCountsShort(t *testing.T) {
	holds := func(seed uint64, random float64) bool {
		h := history(rand.New(rand.NewPCG(seed, 1)))
		wait := (Policy{}).Wait(h, random)
		if wait < 0 || wait > 5*time.Minute || wait != (Policy{}).Wait(h, random) {
			return false
		}
		if len(h) > 0 && h[len(h)-1].Reason.Failure() && wait < 400*time.Millisecond {
			return false
		}
		if len(h) > 0 && h[len(h)-1].Reason.Failure() && h[len(h)-1].Permanent && wait < time.Minute {
			return false
		}
		short := h[max(0, len(h)-Remembered):]
		if wait != (Policy{}).Wait(short, random) {
			return false
		}
		more := (Policy{}).Wait(append(slices.Clone(h), End{Reason: Crashed}), random)
		return more >= (Policy{}).Wait(append(slices.Clone(h), End{Reason: Asked}), random)
	}
	if err := quick.Check(holds, &quick.Config{MaxCount: 20000}); err != nil {
		t.Error(err)
	}
}

func TestEachFurtherFailureWaitsNoShorter(t *testing.T) {
	last := time.Duration(0)
	for n := range 100 {
		wait := (Policy{}).Wait(slices.Repeat(ends(Exited), n), 0.5)
		if wait < last {
			t.Fatalf("after %d failures %v, after one less %v", n, wait, last)
		}
		last = wait
	}
	if last != 5*time.Minute {
		t.Errorf("ends at %v", last)
	}
}
