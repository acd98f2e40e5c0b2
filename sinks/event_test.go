package sinks_test

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"sightline/pipeline"
	"sightline/sinks"
	"sightline/sinks/sinktest"
)

// eventVariants are messages of events at the edges of what the form must carry.
func eventVariants() map[string]*pipeline.Event {
	of := func(t pipeline.EventType, change func(*pipeline.Event)) *pipeline.Event {
		e := sinktest.Event("gate", 2, t)
		change(e)
		return e
	}
	return map[string]*pipeline.Event{
		"new":                   of(pipeline.EventNew, func(*pipeline.Event) {}),
		"an update":             of(pipeline.EventUpdate, func(*pipeline.Event) {}),
		"an end":                of(pipeline.EventEnd, func(*pipeline.Event) {}),
		"of a region":           of(pipeline.EventNew, func(e *pipeline.Event) { e.Region = "driveway" }),
		"no model version":      of(pipeline.EventNew, func(e *pipeline.Event) { e.Model.Version = "" }),
		"very many results":     of(pipeline.EventEnd, func(e *pipeline.Event) { e.Results = math.MaxUint64 }),
		"raw scores":            of(pipeline.EventNew, func(e *pipeline.Event) { e.Confidence, e.Best = -math.MaxFloat32, -1e-30 }),
		"a class to be escaped": of(pipeline.EventNew, func(e *pipeline.Event) { e.Class = "a\"b\\c\n\x00\x7f<&>\u2028é漢🙂" }),
		"another time zone": of(pipeline.EventEnd, func(e *pipeline.Event) {
			at := e.Ended.In(time.FixedZone("", -7*3600-1800))
			e.Ended, e.Started = &at, at
		}),
	}
}

func normalEvent(e *pipeline.Event) *pipeline.Event {
	c := *e
	c.Started, c.Last, c.Model.Provider = c.Started.UTC(), c.Last.UTC(), ""
	if c.Ended != nil {
		at := c.Ended.UTC()
		c.Ended = &at
	}
	return &c
}

func TestEventFitsItsSchemaAndReadsBackAsItWas(t *testing.T) {
	schemas := sinktest.Compile(t)
	for name, e := range eventVariants() {
		t.Run(name, func(t *testing.T) {
			b, err := sinks.AppendEvent([]byte("before"), e)
			if err != nil {
				t.Fatal(err)
			}
			text, ok := strings.CutPrefix(string(b), "before")
			if !ok {
				t.Fatalf("what stood in the buffer is gone: %s", b)
			}
			sinktest.Check(t, schemas.Event, []byte(text))
			var back pipeline.Event
			if err := json.Unmarshal([]byte(text), &back); err != nil {
				t.Fatal(err)
			}
			if want := normalEvent(e); !reflect.DeepEqual(&back, want) {
				t.Errorf("read back\n%+v\nwant\n%+v", &back, want)
			}
			plain, err := json.Marshal(normalEvent(e))
			if err != nil {
				t.Fatal(err)
			}
			var got, want any
			if err := json.Unmarshal([]byte(text), &got); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(plain, &want); err != nil {
				t.Fatal(err)
			}
			if a, b := shape(got), shape(want); a != b {
				t.Errorf("members\n%s\nwant\n%s", a, b)
			}
		})
	}
}

func TestEventWithoutAFormIsRefusedByName(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*pipeline.Event)
		want   string
	}{
		"a confidence that is no number": {func(e *pipeline.Event) { e.Best = float32(math.NaN()) }, "best is not a finite number"},
		"a year of five digits":          {func(e *pipeline.Event) { *e.Ended = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) }, "ended has a year"},
		"a class as large as a picture":  {func(e *pipeline.Event) { e.Class = strings.Repeat("x", 100_000) }, "more than the 65536"},
	} {
		e := sinktest.Event("gate", 2, pipeline.EventEnd)
		c.change(e)
		b, err := sinks.AppendEvent([]byte("before"), e)
		if !pipeline.IsPermanent(err) || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 400 || string(b) != "before" {
			t.Errorf("%s: %v, %d bytes", name, err, len(b))
		}
	}
}

func TestEventSchemaRefusesWhatIsNoEvent(t *testing.T) {
	schemas := sinktest.Compile(t)
	for name, c := range map[string]struct {
		of     pipeline.EventType
		change func(map[string]any)
	}{
		"an unknown member":     {pipeline.EventNew, func(m map[string]any) { m["picture"] = "base64" }},
		"another type":          {pipeline.EventNew, func(m map[string]any) { m["type"] = "gone" }},
		"an end without a time": {pipeline.EventEnd, func(m map[string]any) { delete(m, "ended") }},
		"new with an end":       {pipeline.EventNew, func(m map[string]any) { m["ended"] = m["last"] }},
		"no results":            {pipeline.EventNew, func(m map[string]any) { m["results"] = 0.0 }},
		"no id":                 {pipeline.EventNew, func(m map[string]any) { m["id"] = "" }},
	} {
		b, err := sinks.AppendEvent(nil, sinktest.Event("gate", 2, c.of))
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]any
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		c.change(m)
		if schemas.Event.Validate(any(m)) == nil {
			t.Errorf("the schema takes %s", name)
		}
	}
}

// No schema takes the messages of another kind, so that whoever gets several can tell them apart.
func TestKindsOfMessagesAreToldApart(t *testing.T) {
	schemas := sinktest.Compile(t)
	result, err := sinks.AppendResult(nil, sinktest.Result("gate", 1, "car"))
	if err != nil {
		t.Fatal(err)
	}
	event, err := sinks.AppendEvent(nil, sinktest.Event("gate", 1, pipeline.EventNew))
	if err != nil {
		t.Fatal(err)
	}
	for text, schema := range map[string]interface{ Validate(any) error }{string(result): schemas.Event, string(event): schemas.Result} {
		var m any
		if err := json.Unmarshal([]byte(text), &m); err != nil {
			t.Fatal(err)
		}
		if schema.Validate(m) == nil {
			t.Errorf("%s fits the other's schema", text)
		}
	}
}

func TestEncodingAnEventAllocatesNothing(t *testing.T) {
	m := pipeline.Message{Event: sinktest.Event("gate", 1, pipeline.EventEnd)}
	b := make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() {
		if _, ok, err := sinks.AppendMessage(b[:0], &m); err != nil || !ok {
			t.Error(ok, err)
		}
	}); n != 0 {
		t.Errorf("%v allocations for one message", n)
	}
	if out, ok, err := sinks.AppendMessage(b, &pipeline.Message{Status: &pipeline.Status{}}); len(out) != 0 || ok || err != nil {
		t.Errorf("a status: %q, %t, %v", out, ok, err)
	}
}

func FuzzEvent(f *testing.F) {
	for _, e := range eventVariants() {
		f.Add(e.ID, e.Region, e.Class, e.Results, e.Started.UnixNano(), e.Best)
	}
	f.Add("\xff\xfe", "\xed\xa0\x80", "\u2028", uint64(1), int64(-1), float32(math.NaN()))
	f.Fuzz(func(t *testing.T, id, region, class string, results uint64, at int64, best float32) {
		e := sinktest.Event("gate", 1, pipeline.EventEnd)
		e.ID, e.Region, e.Class, e.Results, e.Started, e.Best = id, region, class, results, time.Unix(0, at), best
		b, err := sinks.AppendEvent(nil, e)
		if err != nil {
			return
		}
		var back pipeline.Event
		if err := json.Unmarshal(b, &back); err != nil {
			t.Fatalf("%v\n%s", err, b)
		}
		if len(b) > sinks.MaxMessage || back.Best != best || back.Results != results || !back.Started.Equal(e.Started) ||
			utf8.ValidString(class) && back.Class != class {
			t.Fatalf("%+v became %+v", e, back)
		}
	})
}
