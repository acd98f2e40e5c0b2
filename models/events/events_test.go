package events_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"sightline/models/events"
	"sightline/pipeline"
)

var start = time.Date(2026, 11, 22, 3, 4, 5, 0, time.UTC)

// result is number n of a source, made at some time after start.
func result(n int, at time.Duration, class string, confidence float32) *pipeline.Result {
	r := &pipeline.Result{
		Schema: pipeline.SchemaVersion, ID: fmt.Sprintf("0f1e-scene-%d", n), Device: "porch", Source: "gate", Stage: "scene",
		Sequence: uint64(n), Captured: start.Add(at - 20*time.Millisecond), Inferred: start.Add(at),
		Model: pipeline.ModelInfo{Name: "scenes", Digest: "sha256:00"}, Provider: "cpu",
	}
	if class != "" {
		r.Predictions = []pipeline.Prediction{{Class: class, ClassID: len(class), Confidence: confidence}}
		r.Top = &r.Predictions[0]
	}
	return r
}

// brief writes messages shortly: "new car".
func brief(list []pipeline.Event) string {
	var words []string
	for _, e := range list {
		words = append(words, fmt.Sprintf("%s %s", e.Type, e.Class))
	}
	return strings.Join(words, ", ")
}

var rule = events.Rule{Agree: 3, Of: 5, Hold: 2 * time.Second}

// Each letter is a result: c a car, p a person, . nothing; one every 500 ms. want says what follows
// after which result, from 1.
func TestEventsOfASequence(t *testing.T) {
	for _, c := range []struct {
		name, results string
		rule          events.Rule
		want          string
	}{
		{"three of five agree", "c.c.c", rule, "5: new car"},
		{"two of five do not", "c...c...c..", rule, ""},
		{"nothing is no class", ".......", rule, ""},
		{"the first result suffices when one is asked for", "c", events.Rule{Agree: 1, Of: 1}, "1: new car"},
		{"without hold it ends at once", "c.c", events.Rule{Agree: 1, Of: 1}, "1: new car; 2: end car; 3: new car"},
		{"a short gap is bridged", "ccc....ccc....", rule, "3: new car"},
		{"it ends when it is not agreed on for hold", "ccc..........", rule, "3: new car; 10: end car"},
		{"what is agreed on again in time goes on", "ccc...ccc....ccc", rule, "3: new car"},
		{"another class takes over once the first has lasted hold", "cccccccppppp", rule, "3: new car; 10: end car, new person"},
		{"but not before", "cccppppppp", rule, "3: new car; 7: end car, new person"},
		{"two classes in turn make neither", "cpcpcpcpcp", events.Rule{Agree: 4, Of: 5, Hold: 2 * time.Second}, ""},
		{"of two that agree in turn the first goes on", "cpcpcpcpcpcpcpcp", events.Rule{Agree: 2, Of: 5, Hold: 2 * time.Second}, "3: new car"},
		{"a tie is the newest's", "cp", events.Rule{Agree: 1, Of: 2, Hold: time.Second}, "1: new car"},
		{"groups of three switch only once in hold", "cccpppcccpppcccpppccc", rule,
			"3: new car; 7: end car, new person; 11: end person, new car; 18: end car, new person"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := events.New(c.rule)
			var got []string
			for i, letter := range c.results {
				class := map[rune]string{'c': "car", 'p': "person"}[letter]
				if made := d.Take(result(i+1, time.Duration(i+1)*500*time.Millisecond, class, 0.5)); len(made) > 0 {
					got = append(got, fmt.Sprintf("%d: %s", i+1, brief(made)))
				}
			}
			if strings.Join(got, "; ") != c.want {
				t.Errorf("%q gives\n%s\nwant\n%s", c.results, strings.Join(got, "; "), c.want)
			}
		})
	}
}

func TestMessagesSayWhatIsThereAndSinceWhen(t *testing.T) {
	d := events.New(rule)
	var all []pipeline.Event
	for i, confidence := range []float32{0.4, 0, 0.6, 0.5, 0.61, 0.7, 0.9, 0.2, 0.8} {
		class := "car"
		if confidence == 0 {
			class = ""
		}
		all = append(all, d.Take(result(i+1, time.Duration(i+1)*time.Second, class, confidence))...)
	}
	for i := 10; i < 18; i++ {
		all = append(all, d.Take(result(i, time.Duration(i)*time.Second, "", 0))...)
	}
	if brief(all) != "new car, update car, update car, end car" {
		t.Fatal(brief(all))
	}
	id := "0f1e-scene-4-event"
	for i, want := range []pipeline.Event{
		{ID: id + "-0", Confidence: 0.5, Best: 0.6, Results: 3, Last: start.Add(4*time.Second - 20*time.Millisecond), Result: "0f1e-scene-4"},
		{ID: id + "-1", Confidence: 0.7, Best: 0.7, Results: 5, Last: start.Add(6*time.Second - 20*time.Millisecond), Result: "0f1e-scene-6"},
		{ID: id + "-2", Confidence: 0.2, Best: 0.9, Results: 7, Last: start.Add(8*time.Second - 20*time.Millisecond), Result: "0f1e-scene-8"},
		{ID: id + "-3", Confidence: 0.8, Best: 0.9, Results: 8, Last: start.Add(9*time.Second - 20*time.Millisecond), Result: "0f1e-scene-9"},
	} {
		e := all[i]
		if e.Event != id || e.Schema != 1 || e.Device != "porch" || e.Source != "gate" || e.Stage != "scene" || e.ClassID != 3 ||
			!e.Started.Equal(start.Add(980*time.Millisecond)) || e.Model.Name != "scenes" || e.Provider != "cpu" {
			t.Errorf("message %d: %+v", i, e)
		}
		if e.ID != want.ID || e.Confidence != want.Confidence || e.Best != want.Best || e.Results != want.Results ||
			!e.Last.Equal(want.Last) || e.Result != want.Result {
			t.Errorf("message %d is %+v, want %+v", i, e, want)
		}
		if (e.Ended != nil) != (e.Type == pipeline.EventEnd) {
			t.Errorf("message %d ended %v", i, e.Ended)
		}
	}
	// Seconds 7 to 9 have votes until 12; from 12 on two are left, and hold is two seconds.
	if ended := *all[3].Ended; !ended.Equal(start.Add(14*time.Second - 20*time.Millisecond)) {
		t.Errorf("ended %s", ended)
	}
}

func TestUpdatesAreFew(t *testing.T) {
	d := events.New(events.Rule{Agree: 1, Of: 1, Hold: 0})
	var all []pipeline.Event
	for i := range 10000 { // 100 s of 100 results a second, ever surer
		all = append(all, d.Take(result(i+1, time.Duration(i)*10*time.Millisecond, "car", 0.5+float32(i)/20000))...)
	}
	if len(all) > 8 || len(all) < 6 {
		t.Errorf("%d messages: %s", len(all), brief(all))
	}
}

func TestAResultThatComesAgainChangesNothing(t *testing.T) {
	once, twice := events.New(rule), events.New(rule)
	var list []*pipeline.Result
	for i := range 300 {
		list = append(list, result(i+1, time.Duration(i)*300*time.Millisecond, []string{"car", "", "person", "car"}[i/7%4], 0.5))
	}
	var a, b []pipeline.Event
	for i, r := range list {
		a, b = append(a, once.Take(r)...), append(b, twice.Take(r)...)
		for back := range min(i, 100) { // the last 100 come again
			if made := twice.Take(list[i-back]); len(made) > 0 {
				t.Fatalf("result %d again makes %s", i-back, brief(made))
			}
		}
	}
	if same(a) != same(b) || len(a) < 10 {
		t.Errorf("once %s\ntwice %s", brief(a), brief(b))
	}
}

func TestRegionsAndSourcesAreApart(t *testing.T) {
	d := events.New(events.Rule{Agree: 2, Of: 2})
	var all []pipeline.Event
	for i := range 4 {
		for n, region := range []string{"", "left", "right"} {
			r := result(10*i+n, time.Duration(i)*time.Second, []string{"car", "person", ""}[n], 0.5)
			r.Region = region
			all = append(all, d.Take(r)...)
		}
	}
	if brief(all) != "new car, new person" || all[1].Region != "left" {
		t.Errorf("%+v", all)
	}
	if open := d.Open(); len(open) != 2 || open[0].ID != all[0].ID || open[1].Region != "left" {
		t.Errorf("open: %+v", open)
	}
	if kept := d.Keep(func(source, region string) bool { return source == "gate" && region != "left" }); brief(kept) != "end person" || kept[0].Region != "left" {
		t.Errorf("%+v", kept)
	}
	if ends := d.Drop("yard"); len(ends) != 0 {
		t.Errorf("%+v", ends)
	}
	ends := d.Drop("gate")
	if brief(ends) != "end car" || !ends[0].Ended.Equal(start.Add(3*time.Second-20*time.Millisecond)) || len(d.Open()) != 0 {
		t.Errorf("%+v", ends)
	}
}

func TestAnEventEndsWhenNothingComesAnyMore(t *testing.T) {
	for _, c := range []struct {
		name        string
		every, want time.Duration
	}{
		{"five results a second", 200 * time.Millisecond, 2600*time.Millisecond + 100*time.Millisecond},
		{"one in ten seconds", 10 * time.Second, 32*time.Second + 100*time.Millisecond},
		{"one in five minutes", 5 * time.Minute, 15*time.Minute + 2*time.Second + 100*time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := events.New(rule)
			const step = 100 * time.Millisecond
			var all []pipeline.Event
			for i := range 5 {
				all = append(all, d.Take(result(i, time.Duration(i)*c.every, "car", 0.5))...)
				for range c.every / step {
					all = append(all, d.Pass(step, nil)...)
				}
			}
			if brief(all) != "new car" {
				t.Fatal(brief(all))
			}
			passed := c.every
			for ; len(all) == 1 && passed < time.Hour; passed += step {
				all = append(all, d.Pass(step, nil)...)
			}
			if brief(all) != "new car, end car" || passed != c.want {
				t.Errorf("%s after %s, want %s", brief(all), passed, c.want)
			}
			if all[1].Ended == nil || !all[1].Ended.Equal(all[1].Last) {
				t.Errorf("ended %v", all[1].Ended)
			}
			if late := d.Pass(time.Hour, nil); len(late) > 0 {
				t.Errorf("more: %s", brief(late))
			}
		})
	}
}

func TestBehindAMotionGateWhatIsThereStays(t *testing.T) {
	still := func(source string) bool { return source == "gate" }
	fill := func(classes ...string) *events.Decider {
		d := events.New(rule)
		for i, class := range classes {
			d.Take(result(i, time.Duration(i)*200*time.Millisecond, class, 0.5))
		}
		return d
	}
	d := fill("car", "car", "car")
	if made := d.Pass(24*time.Hour, still); len(made) > 0 || len(d.Open()) != 1 {
		t.Errorf("a car that stands still: %s", brief(made))
	}
	if made := d.Pass(time.Second, nil); len(made) > 0 {
		t.Errorf("as soon as the gate opens: %s", brief(made))
	}
	d = fill("car", "car", "car", "", "", "")
	if made := append(d.Pass(time.Second, still), d.Pass(time.Second, still)...); brief(made) != "end car" {
		t.Errorf("a car that has gone before nothing moved: %q", brief(made))
	}
}

// The host's clock jumps by years either way, in the middle of an event and while it is in doubt.
func TestClockJumpsNeitherEndNorFreezeEvents(t *testing.T) {
	const year = 366 * 24 * time.Hour
	results := "cccccccc...cccccc........cccc"
	var want string
	for _, jump := range []time.Duration{0, 10 * year, -10 * year, 100 * time.Hour, -100 * time.Hour} {
		for at := range results {
			d := events.New(rule)
			var got []string
			for i, letter := range results {
				when := time.Duration(i) * 500 * time.Millisecond
				if i >= at {
					when += jump
				}
				d.Pass(500*time.Millisecond, nil)
				r := result(i, when, map[rune]string{'c': "car"}[letter], 0.5)
				r.Captured = start // the camera's clock stands still
				for _, e := range d.Take(r) {
					got = append(got, fmt.Sprintf("%d %s", i, e.Type))
				}
			}
			text := strings.Join(got, ", ")
			if jump == 0 {
				want = text
			} else if text != want {
				t.Errorf("jump of %s before result %d: %s, want %s", jump, at, text, want)
			}
		}
	}
	if want != "2 new, 23 end, 27 new" {
		t.Errorf("without a jump: %s", want)
	}
}

func TestOddResultsMakeNoEventsAndDoNoHarm(t *testing.T) {
	one := events.Rule{Agree: 1, Of: 1}
	for name, change := range map[string]func(*pipeline.Result){
		"no id":                          func(r *pipeline.Result) { r.ID = "" },
		"an id that is no text":          func(r *pipeline.Result) { r.ID = "\xff" },
		"a class too long":               func(r *pipeline.Result) { r.Top.Class = strings.Repeat("x", 1025) },
		"a source too long":              func(r *pipeline.Result) { r.Source = strings.Repeat("x", 1025) },
		"a confidence that is no number": func(r *pipeline.Result) { r.Top.Confidence = float32(math.NaN()) },
	} {
		d := events.New(one)
		r := result(1, 0, "car", 0.5)
		change(r)
		if made := d.Take(r); len(made) > 0 {
			t.Errorf("%s: %+v", name, made)
		}
		if _, err := d.State(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	d := events.New(one)
	r := result(1, 0, "car", -3)
	r.Captured, r.Inferred = time.Unix(1<<60, 0), time.Unix(-1<<60, 0) // no year that can be said
	if made := d.Take(r); brief(made) != "new car" || !made[0].Last.IsZero() {
		t.Errorf("%+v", made)
	}
	if _, err := d.State(); err != nil {
		t.Error(err)
	}
}

func TestPlacesAreBounded(t *testing.T) {
	d := events.New(events.Rule{Agree: 1, Of: 1})
	n := 0
	for i := range 5000 {
		r := result(i, 0, "car", 0.5)
		r.Source = fmt.Sprint("camera-", i)
		n += len(d.Take(r))
	}
	if n != 1024 {
		t.Errorf("%d places", n)
	}
}

func TestRulesThatCannotBeAreRefused(t *testing.T) {
	for _, r := range []events.Rule{{}, {Agree: 2, Of: 1}, {Agree: 1, Of: 1001}, {Agree: -1, Of: 5}, {Agree: 1, Of: 1, Hold: -1}, {Agree: 1, Of: 1, Hold: math.MaxInt64}} {
		if r.Check() == nil {
			t.Errorf("%+v is accepted", r)
		}
	}
	if err := rule.Check(); err != nil {
		t.Error(err)
	}
}

func TestMostResultsCostLittle(t *testing.T) {
	d := events.New(rule)
	var list []*pipeline.Result
	for i := range 1100 {
		list = append(list, result(i, time.Duration(i)*time.Second, "car", 0.5))
	}
	for _, r := range list[:50] {
		d.Take(r)
	}
	i := 50
	if n := testing.AllocsPerRun(1000, func() { d.Take(list[i]); i++ }); n > 0 {
		t.Errorf("%v allocations for a result", n)
	}
}

func same(list []pipeline.Event) string {
	var b strings.Builder
	for _, e := range list {
		ended := time.Time{}
		if e.Ended != nil {
			ended = *e.Ended
		}
		e.Ended = nil
		fmt.Fprintf(&b, "%+v %s\n", e, ended)
	}
	return b.String()
}
