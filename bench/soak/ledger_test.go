package soak

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// got has a book receive results of a run, a second apart.
func got(b *book, run string, begin int, numbers ...int) {
	for _, n := range numbers {
		b.take(fmt.Appendf(nil, `{"id":"%s-%d","source":"gate","inferred":%q,"predictions":[]}`,
			run, n, noon.Add(time.Duration(begin+n)*time.Second).Format(time.RFC3339Nano)))
	}
}

// counted is a look with so many results made, and some lost by the hook.
func counted(at, made, lost int) look {
	return look{
		at: noon.Add(time.Duration(at) * time.Second), made: float64(made),
		waiting: map[string]queue{}, losses: map[string]map[string]float64{sinkHook: {"spool_full": float64(lost)}},
	}
}

// lived is a life of the program with looks at it.
func lived(hard bool, end int, looks ...look) *life {
	l := &life{end: noon.Add(time.Duration(end) * time.Second), hard: hard}
	for _, k := range looks {
		l.see(k)
	}
	return l
}

func TestTheBooksBalanceToTheOne(t *testing.T) {
	killedAt := noon.Add(10 * time.Second)
	for name, c := range map[string]struct {
		lives []*life
		cuts  []time.Time
		hook  func(b *book)
		want  Account
	}{
		"all came": {
			lives: []*life{lived(false, 20, counted(19, 5, 0))},
			hook:  func(b *book) { got(b, "a-scene", 0, 1, 2, 3, 4, 5) },
			want:  Account{Made: 5, Received: 5},
		},
		"one is missing that nobody counted": {
			lives: []*life{lived(false, 20, counted(19, 5, 0))},
			hook:  func(b *book) { got(b, "a-scene", 0, 1, 2, 4, 5) },
			want:  Account{Made: 5, Received: 4, Unexplained: 1},
		},
		"the last is missing, of a program that was not killed": {
			lives: []*life{lived(false, 20, counted(19, 5, 0))},
			hook:  func(b *book) { got(b, "a-scene", 0, 1, 2, 3, 4) },
			want:  Account{Made: 5, Received: 4, Unexplained: 1},
		},
		"a loss that was counted": {
			lives: []*life{lived(false, 20, counted(19, 5, 2))},
			hook:  func(b *book) { got(b, "a-scene", 0, 3, 4, 5) },
			want:  Account{Made: 5, Received: 3, Lost: map[string]int{"spool_full": 2}},
		},
		"a loss that was counted twice": {
			lives: []*life{lived(false, 20, counted(19, 5, 2))},
			hook:  func(b *book) { got(b, "a-scene", 0, 2, 3, 4, 5) },
			want:  Account{Made: 5, Received: 4, Lost: map[string]int{"spool_full": 2}, Unexplained: -1},
		},
		"what came twice counts once": {
			lives: []*life{lived(false, 20, counted(19, 3, 0))},
			hook:  func(b *book) { got(b, "a-scene", 0, 1, 2, 1, 2, 3) },
			want:  Account{Made: 3, Received: 3, Duplicates: 2},
		},
		"a kill takes the last, just made": {
			lives: []*life{lived(true, 10, counted(7, 4, 0), counted(9, 6, 0)), lived(false, 30, counted(29, 2, 0))},
			cuts:  []time.Time{killedAt},
			hook:  func(b *book) { got(b, "a-scene", 0, 1, 2, 3, 4, 5); got(b, "b-scene", 20, 1, 2) },
			want:  Account{Made: 8, Received: 7, Unsafe: 1},
		},
		"what waited at a kill and was let go later counts once": {
			lives: []*life{lived(true, 10, counted(7, 4, 0), counted(9, 6, 0)), lived(false, 30, counted(29, 2, 2))},
			cuts:  []time.Time{killedAt},
			hook:  func(b *book) { got(b, "a-scene", 0, 1, 2, 3, 4); got(b, "b-scene", 20, 1, 2) },
			want:  Account{Made: 8, Received: 6, Lost: map[string]int{"spool_full": 2}},
		},
		"a kill excuses no more than was made just before it": {
			lives: []*life{lived(true, 10, counted(6, 5, 0), counted(9, 6, 0)), lived(false, 30, counted(29, 2, 0))},
			cuts:  []time.Time{killedAt},
			hook:  func(b *book) { got(b, "a-scene", 0, 1, 2, 3); got(b, "b-scene", 20, 1, 2) },
			want: Account{
				Made: 8, Received: 5, Unsafe: 1, Unexplained: 2,
				Wrong: []string{"kill 1 took results that were older than 2s: 5 were made by then, 3 came"},
			},
		},
		"a kill does not excuse what is missing in the middle": {
			lives: []*life{lived(true, 10, counted(9, 6, 0)), lived(false, 30, counted(29, 2, 0))},
			cuts:  []time.Time{killedAt},
			hook:  func(b *book) { got(b, "a-scene", 0, 1, 2, 4, 5, 6); got(b, "b-scene", 20, 1, 2) },
			want:  Account{Made: 8, Received: 7, Unexplained: 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBook()
			c.hook(b)
			d := &diary{lives: c.lives, cuts: c.cuts}
			end := c.lives[len(c.lives)-1].last
			a := settle([]string{sinkHook}, map[string]*book{sinkHook: b}, d, end)[0]
			c.want.Sink = sinkHook
			if fmt.Sprint(a) != fmt.Sprint(c.want) && !(len(a.Lost) == 0 && len(c.want.Lost) == 0 && sameButLost(a, c.want)) {
				t.Errorf("%+v, want %+v", a, c.want)
			}
		})
	}
}

func sameButLost(a, b Account) bool {
	a.Lost, b.Lost = nil, nil
	return fmt.Sprint(a) == fmt.Sprint(b)
}

func TestAKillMayNotTakeWhatHadToBeSafe(t *testing.T) {
	b := newBook()
	got(b, "a-scene", 0, 1, 2, 3)
	got(b, "b-scene", 20, 1)
	d := &diary{cuts: []time.Time{noon.Add(10 * time.Second)}, lives: []*life{
		lived(true, 10, counted(1, 4, 0), counted(5, 6, 0), counted(9, 8, 0)), lived(false, 30, counted(29, 1, 0)),
	}}
	a := settle([]string{sinkHook}, map[string]*book{sinkHook: b}, d, look{})[0]
	if a.balanced() || len(a.Wrong) != 1 || !strings.Contains(a.Wrong[0], "6 were made by then, 3 came") {
		t.Errorf("%+v", a)
	}
}

func TestABookSeesWrongOrderAndBrokenEvents(t *testing.T) {
	event := func(b *book, n int, kind string) {
		b.take(fmt.Appendf(nil, `{"id":"a-scene-7-event-%d","event":"a-scene-7-event","type":%q}`, n, kind))
	}
	for name, c := range map[string]struct {
		happens func(*book)
		want    string
	}{
		"nothing wrong":                 {func(b *book) { event(b, 0, "new"); event(b, 1, "update"); event(b, 1, "update"); event(b, 2, "end") }, ""},
		"order":                         {func(b *book) { got(b, "a-scene", 0, 1, 3, 2) }, "came after number 3"},
		"late, as nobody waited for it": {func(b *book) { got(b, "a-scene", 0, 1, 3, 2); b.unheard([]string{"a-scene-2"}) }, ""},
		"no beginning":                  {func(b *book) { event(b, 1, "update") }, "message 1 came where 0 was due"},
		"a gap":                         {func(b *book) { event(b, 0, "new"); event(b, 2, "end") }, "message 2 came where 1 was due"},
		"after the end":                 {func(b *book) { event(b, 0, "new"); event(b, 1, "end"); event(b, 2, "update") }, "ended before: true"},
		"new twice":                     {func(b *book) { event(b, 0, "new"); event(b, 1, "new") }, `message 1 is "new"`},
		"no JSON":                       {func(b *book) { b.take([]byte("{")) }, "unreadable"},
		"no number":                     {func(b *book) { b.take([]byte(`{"id":"x"}`)) }, "no number"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBook()
			c.happens(b)
			wrong := strings.Join(b.sum().wrong, "\n")
			if (c.want == "") != (wrong == "") || !strings.Contains(wrong, c.want) {
				t.Errorf("%q, want %q", wrong, c.want)
			}
		})
	}
}
