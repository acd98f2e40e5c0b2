package soak

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"time"
)

// Account is the books of one sink: Made = Received + Waiting + all of Lost − LostAnyway + Unsafe + Unexplained.
type Account struct {
	Sink     string `json:"sink"`
	Made     int    `json:"made"`     // results
	Received int    `json:"received"` // of them, each once
	Waiting  int    `json:"waiting"`  // in the spool, at the end
	// Lost are by reason: those that the program let go, as it has counted them, and those that the upstream
	// refused for good, as that has counted them; the program has to count them too.
	Lost map[string]int `json:"lost"`
	// LostAnyway are those that the program let go and counted, though they had come: the answer that
	// said so had not reached it. There are never more than answers that got lost.
	LostAnyway int `json:"lost_anyway"`
	// Unsafe are results that a kill took before they were safe: what is missing, but no more than were made
	// in the last safeAfter before it, nor more than are missing at its very end.
	Unsafe      int      `json:"unsafe"`
	Unexplained int      `json:"unexplained"` // 0, or else it does not balance
	Duplicates  int      `json:"duplicates"`  // deliveries of what had been delivered
	Events      int      `json:"events"`
	OpenEvents  int      `json:"open_events"` // that have not ended
	Wrong       []string `json:"wrong,omitempty"`
}

// balanced tells whether nothing is unexplained or wrong.
func (a *Account) balanced() bool { return a.Unexplained == 0 && len(a.Wrong) == 0 }

// epoch is a stretch of time at whose end results may have been lost that were not safe.
type epoch struct {
	end       time.Time // zero: of all
	cut       bool      // by a kill
	runs      []string  // in the order of time
	most      []int     // by run: the highest number that any sink has received
	made      int       // as the program counted, as far as is known
	firm      int       // of them, those that had to be safe
	mostByAny int       // the sum of most
}

// unsafe is how many results a kill may have taken at the most: those at the very end that a sink has not
// received and that did not have to be safe. top is what it has received of each run's end.
func (e *epoch) unsafe(b *book) (n, top int) {
	for _, prefix := range e.runs {
		_, most := b.received(prefix)
		top += int(most)
	}
	made := max(e.made, e.mostByAny)
	if len(e.runs) == 0 {
		return made - e.firm, top
	}
	last := len(e.runs) - 1
	_, most := b.received(e.runs[last])
	return min(made-(e.mostByAny-e.most[last])-int(most), made-e.firm), top
}

// epochs cuts the time at the kills. When the classify stage lives in a box, what it counts goes on from
// one life of the program to the next, and only the last is used.
func (d *diary) epochs(runs map[string]time.Time) []*epoch {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []*epoch
	for _, at := range d.cuts {
		all = append(all, &epoch{end: at, cut: true})
	}
	all = append(all, &epoch{})
	inOrder := slices.SortedFunc(maps.Keys(runs), func(a, b string) int { return runs[a].Compare(runs[b]) })
	for _, prefix := range inOrder {
		first := runs[prefix]
		for _, e := range all {
			if e.end.IsZero() || first.Before(e.end) {
				e.runs = append(e.runs, prefix)
				break
			}
		}
	}
	if d.boxed {
		return all
	}
	at := 0
	for _, l := range d.lives {
		all[at].made += int(l.last.made)
		if !l.hard {
			all[at].firm += int(l.last.made)
			continue
		}
		all[at].firm += int(l.firm.made)
		at++
	}
	return all
}

// settle makes up the accounts of all sinks. last is the look at the end, when nothing was made any more.
func settle(sinks []string, books map[string]*book, d *diary, last look) []Account {
	runs := map[string]time.Time{}
	for _, b := range books {
		b.first(runs)
	}
	epochs := d.epochs(runs)
	for _, e := range epochs {
		for _, prefix := range e.runs {
			most := uint64(0)
			for _, b := range books {
				_, n := b.received(prefix)
				most = max(most, n)
			}
			e.most = append(e.most, int(most))
			e.mostByAny += int(most)
		}
	}
	var accounts []Account
	for _, sink := range sinks {
		accounts = append(accounts, account(sink, books[sink], epochs, d.boxed, d.counted(sink), last))
	}
	return accounts
}

func account(sink string, b *book, epochs []*epoch, boxed bool, lost map[string]float64, last look) Account {
	sum := b.sum()
	a := Account{
		Sink: sink, Received: sum.results, Waiting: int(last.waiting[sink].results), Lost: map[string]int{},
		Duplicates: sum.duplicates, Events: sum.events, OpenEvents: sum.open, Wrong: sum.wrong,
	}
	total := sum.refused
	if total > 0 {
		a.Lost[refused] = total
	}
	if n := int(lost[refused]); n < total-sum.silent && !boxed {
		a.Wrong = append(a.Wrong, fmt.Sprintf("%d results were refused for good, and %d counted", total, n))
	}
	for why, n := range lost {
		if n > 0 && why != refused {
			a.Lost[why] = int(math.Round(n))
			total += a.Lost[why]
		}
	}
	unsafe := 0
	for i, e := range epochs {
		a.Made += max(e.made, e.mostByAny)
		if !e.cut {
			continue
		}
		n, top := e.unsafe(b)
		unsafe += n
		if top+total < e.firm {
			a.Wrong = append(a.Wrong, fmt.Sprintf("kill %d took results that were older than %s: %d were made by then, %d came",
				i+1, safeAfter, e.firm, top))
		}
	}
	missing := a.Made - a.Received - a.Waiting - total
	a.Unsafe = min(max(0, missing), unsafe)
	a.LostAnyway = min(max(0, -missing), sum.silent, total)
	a.Unexplained = missing - a.Unsafe + a.LostAnyway
	return a
}

// first notes when each run began, as far as this book knows.
func (b *book) first(runs map[string]time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for prefix, r := range b.runs {
		if at, ok := runs[prefix]; !ok || r.first.Before(at) {
			runs[prefix] = r.first
		}
	}
}
