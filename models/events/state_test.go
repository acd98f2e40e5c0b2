package events_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"sightline/models/events"
	"sightline/pipeline"
)

// script is a random sequence of calls, the same for the same seed.
type script struct {
	random *rand.Rand
	n      int
	at     time.Duration
	given  []*pipeline.Result
	class  [3]string // what is mostly seen in each region
}

// next makes the next call to a Decider: given to several, it is the same.
func (s *script) next() func(*events.Decider) []pipeline.Event {
	switch k := s.random.IntN(100); {
	case k < 8:
		elapsed := time.Duration(s.random.IntN(3000)) * time.Millisecond
		return func(d *events.Decider) []pipeline.Event { return d.Pass(elapsed, nil) }
	case k < 9:
		s.at += 10 * time.Minute
		return func(d *events.Decider) []pipeline.Event { return d.Pass(10*time.Minute, nil) }
	case k < 10:
		s.at += time.Duration(s.random.Int64N(int64(10*365*24*time.Hour))) - 5*365*24*time.Hour
		return func(*events.Decider) []pipeline.Event { return nil } // the clock jumps
	case k < 11:
		region := fmt.Sprint(s.random.IntN(3))
		s.given = slices.DeleteFunc(s.given, func(r *pipeline.Result) bool { return r.Region == region })
		return func(d *events.Decider) []pipeline.Event {
			return d.Keep(func(_, r string) bool { return r != region })
		}
	case k < 20 && len(s.given) > 0:
		r := s.given[len(s.given)-1-s.random.IntN(min(40, len(s.given)))]
		return func(d *events.Decider) []pipeline.Event { return d.Take(r) }
	}
	return s.result()
}

func (s *script) result() func(*events.Decider) []pipeline.Event {
	s.n++
	s.at += time.Duration(s.random.IntN(700)) * time.Millisecond
	region := s.random.IntN(3)
	if s.random.IntN(12) == 0 {
		s.class[region] = []string{"", "car", "person"}[s.random.IntN(3)]
	}
	class := s.class[region]
	if s.random.IntN(4) == 0 {
		class = []string{"", "car", "person"}[s.random.IntN(3)]
	}
	r := result(s.n, s.at, class, s.random.Float32())
	r.Region = fmt.Sprint(region)
	s.given = append(s.given, r)
	return func(d *events.Decider) []pipeline.Event { return d.Take(r) }
}

// properties are what holds of all the messages that a Decider makes.
type properties struct {
	open map[string]*pipeline.Event // by region
	ids  map[string]bool
	made int
}

func (p *properties) check(t *testing.T, e pipeline.Event) {
	t.Helper()
	p.made++
	before := p.open[e.Region]
	switch {
	case p.ids[e.ID]:
		t.Fatalf("id %s comes twice", e.ID)
	case e.Type == pipeline.EventNew && (before != nil || p.ids[e.Event]):
		t.Fatalf("%+v begins while %+v is open", e, before)
	case e.Type != pipeline.EventNew && (before == nil || before.Event != e.Event):
		t.Fatalf("%+v follows %+v", e, before)
	case before != nil && (e.Class != before.Class || e.Results < before.Results || e.Best < before.Best || !e.Started.Equal(before.Started)):
		t.Fatalf("%+v follows %+v", e, before)
	case e.Type == pipeline.EventUpdate && e.Best <= before.Best:
		t.Fatalf("%+v tells nothing more than %+v", e, before)
	}
	p.ids[e.ID], p.ids[e.Event] = true, true
	p.open[e.Region] = &e
	if e.Type == pipeline.EventEnd {
		delete(p.open, e.Region)
	}
}

// A Decider that is restarted after every call from its state makes the messages of one that is not.
func TestRandomSequencesKeepTheRulesAcrossRestarts(t *testing.T) {
	made := 0
	for seed := range uint64(12) {
		random := rand.New(rand.NewPCG(seed, 1))
		of := 1 + random.IntN(7)
		rule := events.Rule{Agree: 1 + random.IntN(of), Of: of, Hold: time.Duration(random.IntN(4000)) * time.Millisecond}
		whole, restarted := events.New(rule), events.New(rule)
		s := script{random: random}
		p := properties{open: map[string]*pipeline.Event{}, ids: map[string]bool{}}
		for range 250 {
			call := s.next()
			want, got := call(whole), call(restarted)
			if same(want) != same(got) {
				t.Fatalf("seed %d: restarted\n%s\nnot\n%s", seed, same(got), same(want))
			}
			for _, e := range want {
				p.check(t, e)
			}
			restarted = restart(t, restarted, rule)
		}
		if n := len(whole.Open()); n != len(p.open) {
			t.Errorf("seed %d: %d events are open, %d by their messages", seed, n, len(p.open))
		}
		made += p.made
	}
	if made < 200 {
		t.Errorf("only %d messages", made)
	}
}

func restart(t *testing.T, d *events.Decider, rule events.Rule) *events.Decider {
	t.Helper()
	state, err := d.State()
	if err != nil {
		t.Fatal(err)
	}
	next := events.New(rule)
	if err := next.Restore(state); err != nil {
		t.Fatalf("%v\n%s", err, state)
	}
	again, err := next.State()
	if err != nil || !bytes.Equal(again, state) {
		t.Fatalf("%v: state\n%s\nbecame\n%s", err, state, again)
	}
	return next
}

// What was taken after the state was saved comes again: the same messages are made again, with the
// same ids, so that whoever has them already can tell.
func TestFromAnOlderStateTheSameMessagesAreMadeAgain(t *testing.T) {
	d := events.New(rule)
	var state []byte
	made := map[string]string{}
	for i := range 200 {
		if i%37 == 0 {
			state, _ = d.State()
		}
		for _, e := range d.Take(result(i, time.Duration(i)*300*time.Millisecond, []string{"car", "person", ""}[i/17%3], 0.5)) {
			made[e.ID] = same([]pipeline.Event{e})
		}
		if i%37 != 30 {
			continue
		}
		if err := d.Restore(state); err != nil { // power was lost
			t.Fatal(err)
		}
		for j := i - 30; j <= i; j++ {
			for _, e := range d.Take(result(j, time.Duration(j)*300*time.Millisecond, []string{"car", "person", ""}[j/17%3], 0.5)) {
				if made[e.ID] != same([]pipeline.Event{e}) {
					t.Errorf("%+v was\n%s", e, made[e.ID])
				}
			}
		}
	}
	if len(made) < 10 {
		t.Errorf("only %d messages", len(made))
	}
}

func TestAnOpenEventGoesOnByAnotherRule(t *testing.T) {
	d := events.New(rule)
	for i := range 5 {
		d.Take(result(i, time.Duration(i)*time.Second, "car", 0.5))
	}
	state, err := d.State()
	if err != nil {
		t.Fatal(err)
	}
	for _, rule := range []events.Rule{{Agree: 1, Of: 2, Hold: time.Second}, {Agree: 8, Of: 9, Hold: time.Second}} {
		other := events.New(rule)
		if err := other.Restore(state); err != nil {
			t.Fatal(err)
		}
		var made []pipeline.Event
		for i := 5; i < 12; i++ {
			made = append(made, other.Take(result(i, time.Duration(i)*time.Second, "", 0))...)
		}
		if brief(made) != "end car" || made[0].Event != d.Open()[0].Event {
			t.Errorf("%+v: %+v", rule, made)
		}
	}
}

// good is a state with an open event.
func good(t testing.TB) []byte {
	d := events.New(rule)
	for i := range 4 {
		d.Take(result(i, time.Duration(i)*time.Second, "car", 0.5))
	}
	state, err := d.State()
	if err != nil {
		t.Fatal(err)
	}
	return state
}

// bad are changes after which a state is none.
var bad = map[string][2]string{
	"another version":            {`"version":1`, `"version":2`},
	"a key that is none":         {`"idle":`, `"idles":`},
	"a duration below zero":      {`"quiet":0`, `"quiet":-1`},
	"a duration of a century":    {`"quiet":0`, `"quiet":4000000000000000000`},
	"another place's event":      {`"event":{"schema":1`, `"event":{"region":"left","schema":1`},
	"a message of another event": {`-event-0"`, `-event-1"`},
	"an event that has ended":    {`"type":"new"`, `"type":"end"`},
	"an event of another form":   {`"event":{"schema":1`, `"event":{"schema":2`},
	"no count":                   {`"count":1`, `"count":0`},
	"doubt in the future":        {`"doubt":-1`, `"doubt":9000000000000`},
	"something after it":         {"]}", "]}{}"},
	"a year that is none":        {`"at":"2026`, `"at":"12026`},
	"a class of nothing":         {`{"class":"car"`, `{"nothing":true,"class":"car"`},
	"a text too long":            {`"source":"gate","seen"`, `"source":"` + strings.Repeat("x", 2000) + `","seen"`},
}

func TestStatesThatCannotBeAreRefused(t *testing.T) {
	state := string(good(t))
	d := events.New(rule)
	if err := d.Restore([]byte(state)); err != nil {
		t.Fatal(err)
	}
	for name, change := range bad {
		changed := strings.Replace(state, change[0], change[1], 1)
		if changed == state {
			t.Fatalf("%s: %s has no %s", name, state, change[0])
		}
		if err := d.Restore([]byte(changed)); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	var places struct{ Places []json.RawMessage }
	if err := json.Unmarshal([]byte(state), &places); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"", "null", "[]", "{}", `{"version":1,"places":[` + string(places.Places[0]) + "," + string(places.Places[0]) + "]}",
		`{"version":1,"places":[` + strings.Repeat("{},", 1024) + "{}]}", strings.Repeat(" ", events.MaxState+1),
	} {
		if err := d.Restore([]byte(text)); err == nil {
			t.Errorf("%.60q is accepted", text)
		}
	}
	if after, err := d.State(); err != nil || string(after) != state {
		t.Errorf("a refused state has changed the Decider: %s, %v", after, err)
	}
}

func FuzzRestore(f *testing.F) {
	state := good(f)
	f.Add(state)
	for _, change := range bad {
		f.Add([]byte(strings.Replace(string(state), change[0], change[1], 1)))
	}
	f.Fuzz(func(t *testing.T, state []byte) {
		d := events.New(rule)
		if d.Restore(state) != nil {
			return
		}
		// Whatever was accepted can be gone on from and kept.
		for i := range 20 {
			d.Pass(time.Second, nil)
			d.Take(result(100+i, time.Duration(i)*time.Second, []string{"car", "person"}[i/10], 0.5))
		}
		restart(t, d, rule)
		d.Drop("gate")
	})
}
