package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"sightline/pipeline"
)

func contextWithCause(t testing.TB) (context.Context, context.CancelCauseFunc) {
	return context.WithCancelCause(t.Context())
}

func TestARecordIsBoundedBeforeItIsRead(t *testing.T) {
	limit := func(rt recordType) int { return map[recordType]int{7: 3}[rt] }
	for _, c := range []struct {
		name string
		in   []byte
		err  error
	}{
		{"within", appendRecord(nil, 7, []byte("abc")), nil},
		{"empty", appendRecord(nil, 7, nil), nil},
		{"above", appendRecord(nil, 7, []byte("abcd")), ErrTooLarge},
		{"of another type", appendRecord(nil, 8, nil), ErrUnexpected},
		{"four gigabytes announced", []byte{7, 0xff, 0xff, 0xff, 0xff}, ErrTooLarge},
		{"between records", nil, io.EOF},
		{"in the head", []byte{7, 0}, io.ErrUnexpectedEOF},
		{"in the body", []byte{7, 0, 0, 0, 3, 'a'}, io.ErrUnexpectedEOF},
	} {
		if _, _, err := readRecord(bytes.NewReader(c.in), nil, limit); !errors.Is(err, c.err) {
			t.Errorf("%s: error %v, want %v", c.name, err, c.err)
		}
	}
}

func FuzzRecord(f *testing.F) {
	f.Add(appendRecord(nil, recLog, []byte("{}")))
	f.Add([]byte{byte(recStats), 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		rt, body, err := readRecord(bytes.NewReader(b), nil, stageLimit)
		if err == nil && len(body) > stageLimit(rt) {
			t.Fatalf("%d bytes", len(body))
		}
	})
}

func TestWishes(t *testing.T) {
	good := pipeline.Wish{Width: 224, Height: 224, Color: pipeline.BGR, Resize: pipeline.ResizeCrop, CropFraction: 0.875,
		Regions: []pipeline.Region{{Name: "drive", Left: 0, Top: 0.4, Right: 1, Bottom: 1}, pipeline.Whole}}
	if err := CheckWish(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*pipeline.Wish){
		"no width":              func(w *pipeline.Wish) { w.Width = 0 },
		"negative height":       func(w *pipeline.Wish) { w.Height = -224 },
		"a side beyond bounds":  func(w *pipeline.Wish) { w.Width = MaxSide + 1 },
		"more bytes than ever":  func(w *pipeline.Wish) { w.Width, w.Height = MaxSide, MaxSide },
		"a colour not known":    func(w *pipeline.Wish) { w.Color = "grey" },
		"a resize not known":    func(w *pipeline.Wish) { w.Resize = "" },
		"a crop that is none":   func(w *pipeline.Wish) { w.CropFraction = math.NaN() },
		"a region twice":        func(w *pipeline.Wish) { w.Regions = []pipeline.Region{pipeline.Whole, pipeline.Whole} },
		"a region outside":      func(w *pipeline.Wish) { w.Regions = []pipeline.Region{{Right: 2, Bottom: 1}} },
		"a region of nothing":   func(w *pipeline.Wish) { w.Regions = []pipeline.Region{{Left: 1, Right: 1, Bottom: 1}} },
		"a region of no number": func(w *pipeline.Wish) { w.Regions = []pipeline.Region{{Right: math.NaN(), Bottom: 1}} },
		"too many regions":      func(w *pipeline.Wish) { w.Regions = make([]pipeline.Region, MaxRegions+1) },
	} {
		w := good
		change(&w)
		if err := CheckWish(w); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func FuzzOpening(f *testing.F) {
	for _, o := range []opening{
		{kind: streamControl}, {kind: streamFrames, Link: "scene", Wish: &wish}, {kind: streamResults, Link: "out", Epoch: "1"},
		{kind: streamDial, Network: "tcp", Address: "camera"},
	} {
		b, err := encodeOpening(o)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add(appendRecord(nil, streamFrames, []byte(`{"wish":{"Width":-1}}`)))
	f.Fuzz(func(t *testing.T, b []byte) {
		kind, body, err := readRecord(bytes.NewReader(b), nil, openingLimit)
		if err != nil {
			return
		}
		o, err := decodeOpening(kind, body)
		if err != nil {
			return
		}
		if kind == streamFrames && o.Wish.Width*o.Wish.Height*3 > MaxFrame {
			t.Fatalf("wish %+v", o.Wish)
		}
		again, err := encodeOpening(o)
		if err != nil {
			t.Skip("grows by being escaped")
		}
		if back, err := decodeOpening(kind, again[recordHeader:]); err != nil || !reflect.DeepEqual(back, o) {
			t.Fatalf("%+v came back as %+v, %v", o, back, err)
		}
	})
}

func TestAFrameHeadComesBackAsItWas(t *testing.T) {
	for _, origin := range frameOrigins {
		f := newFrame(wish, 9)
		f.Region, f.Dropped, f.Times.Origin = "drive", 4, origin
		f.Deadline = f.Times.Decoded.Add(time.Second)
		f.Times.Received = time.Time{}
		b, err := appendFrameHead(nil, f, nil)
		if err != nil {
			t.Fatal(err)
		}
		h, err := decodeFrameHead(b[:frameHead], &wish, nil)
		if err != nil {
			t.Fatal(err)
		}
		if h.sequence != 9 || h.dropped != 4 || h.times.Origin != origin || !h.times.Captured.Equal(f.Times.Captured) ||
			!h.times.Received.IsZero() || !h.deadline.Equal(f.Deadline) || h.size != len(f.Data) || string(b[frameHead:]) != "gatedrive" {
			t.Errorf("%+v", h)
		}
	}
}

func TestAFrameThatWasNotWishedForIsRefused(t *testing.T) {
	whole, err := appendFrameHead(nil, newFrame(wish, 1), nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(b []byte){
		"another mark":      func(b []byte) { b[0] = 'G' },
		"another colour":    func(b []byte) { b[1] = 2 },
		"no colour":         func(b []byte) { b[1] = 0 },
		"no origin":         func(b []byte) { b[2] = 9 },
		"a fifth time":      func(b []byte) { b[3] = 16 },
		"another width":     func(b []byte) { b[5]++ },
		"another height":    func(b []byte) { b[6]++ },
		"sequence zero":     func(b []byte) { clear(b[8:16]) },
		"another size":      func(b []byte) { b[60] = 0xff },
		"what must be zero": func(b []byte) { b[58] = 1 },
	} {
		b := bytes.Clone(whole)
		change(b)
		if _, err := decodeFrameHead(b[:frameHead], &wish, nil); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func FuzzFrameHead(f *testing.F) {
	b, err := appendFrameHead(nil, newFrame(wish, 1), nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		a, c := unixPair(t)
		defer a.Close()
		go func() { c.Write(b); c.Close() }()
		w := wish
		w.Regions = []pipeline.Region{pipeline.Whole}
		r := frameReceiver{conn: a, wish: &w}
		if got, err := r.read(); err == nil && len(got.Data) != wish.Width*wish.Height*3 {
			t.Fatalf("%d bytes", len(got.Data))
		}
	})
}

func TestAMessageComesBackAsItWas(t *testing.T) {
	result := newResult(1)
	rt, body, err := encodeMessage(pipeline.Message{Result: result}, nil)
	if err != nil {
		t.Fatal(err)
	}
	m, err := decodeMessage(rt, body, nil)
	if err != nil || !reflect.DeepEqual(m.Result, result) {
		t.Errorf("%+v came back as %+v, %v", result, m.Result, err)
	}
	if m.Result.Top != &m.Result.Predictions[0] {
		t.Error("top is a copy")
	}
	status := pipeline.Status{Stage: "gate", Source: "gate", State: pipeline.StateOffline, Since: result.Captured,
		Reason: "dial rtsp://viewer:hunter2@192.0.2.1: refused"}
	rt, body, err = encodeMessage(pipeline.Message{Status: &status}, nil)
	if err != nil || strings.Contains(string(body), "hunter2") {
		t.Fatalf("%s, %v", body, err)
	}
	if m, err = decodeMessage(rt, body, nil); err != nil || m.Status.State != status.State || !m.Status.Since.Equal(status.Since) {
		t.Errorf("%+v, %v", m.Status, err)
	}
}

// smuggled are results that a stage could hide a picture in.
func smuggled() map[string]string {
	body, err := json.Marshal(newResult(1))
	if err != nil {
		panic(err)
	}
	good := string(body)
	picture := strings.Repeat("A", 4000)
	replace := func(old, with string) string {
		if !strings.Contains(good, old) {
			panic(old)
		}
		return strings.Replace(good, old, with, 1)
	}
	return map[string]string{
		"in a field of its own":    replace(`{"schema"`, `{"picture":"`+picture+`","schema"`),
		"in the id":                replace(`"id":"`, `"id":"`+picture),
		"in a class":               replace(`"class":"bird"`, `"class":"`+picture+`"`),
		"in the model's version":   replace(`"name":"scene"`, `"name":"scene","version":"`+picture+`"`),
		"as bytes in a class":      replace(`"class":"bird"`, `"class":"\u0000\u0001"`),
		"behind the result":        good + `"` + picture + `"`,
		"in thousands of classes":  replace(`{"class":"bird"`, strings.Repeat(`{"class":"","class_id":0,"confidence":0},`, maxPredictions)+`{"class":"bird"`),
		"in a top of its own":      replace(`"top":{"class":"car"`, `"top":{"class":"boat"`),
		"in another schema":        replace(`"schema":1`, `"schema":2`),
		"in an origin of its own":  replace(`"arrival"`, `"elsewhere"`),
		"in a class number":        replace(`"class_id":2`, `"class_id":-2`),
		"in a prediction's fields": replace(`"class_id":2`, `"class_id":2,"mask":"`+picture+`"`),
	}
}

func TestNothingButTheSchemaCrossesAResultsLink(t *testing.T) {
	for name, body := range smuggled() {
		if _, err := decodeMessage(recResult, []byte(body), nil); !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestAResultAboveItsBoundIsRefusedWhereItIsMade(t *testing.T) {
	r := newResult(1)
	for len(r.Predictions) < 600 {
		r.Predictions = append(r.Predictions, pipeline.Prediction{Class: strings.Repeat("x", 200), ClassID: 3})
	}
	r.Top = nil
	if err := NewOutbox(nil).Put(t.Context(), pipeline.Message{Result: r}, nil); !errors.Is(err, ErrTooLarge) {
		t.Errorf("error %v", err)
	}
	if err := NewOutbox(nil).Put(t.Context(), pipeline.Message{}, nil); !errors.Is(err, ErrMalformed) {
		t.Errorf("error %v", err)
	}
}

func FuzzMessage(f *testing.F) {
	rt, body, err := encodeMessage(pipeline.Message{Result: newResult(1)}, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(byte(rt), body)
	for _, body := range smuggled() {
		f.Add(byte(recResult), []byte(body))
	}
	f.Add(byte(recStatus), []byte(`{"stage":"gate","state":"online","since":"2026-11-22T01:02:03Z"}`))
	f.Fuzz(func(t *testing.T, rt byte, body []byte) {
		m, err := decodeMessage(recordType(rt), body, nil)
		if err != nil {
			return
		}
		rt2, again, err := encodeMessage(m, nil)
		if errors.Is(err, ErrTooLarge) || len(body) > MaxResult {
			return
		}
		if err != nil {
			t.Fatalf("taken and not to be passed on: %v", err)
		}
		if _, err := decodeMessage(rt2, again, nil); err != nil {
			t.Fatalf("passed on and not taken: %v", err)
		}
	})
}

// controlBreaches are control records of a stage that the supervisor does not take.
var controlBreaches = map[string]struct {
	t    recordType
	body string
	err  error
}{
	"a heartbeat that is none":        {recBeat, `[]`, ErrMalformed},
	"a clock a thousand years off":    {recBeat, `{"number":1,"clock_offset":3e10,"clock_error":0}`, ErrMalformed},
	"a status of another stage":       {recReport, `{"stage":"that","state":"online","since":"2026-11-22T01:02:03Z"}`, ErrMalformed},
	"a state that is none":            {recReport, `{"stage":"it","state":"fine","since":"2026-11-22T01:02:03Z"}`, ErrMalformed},
	"a reason as long as a book":      {recReport, `{"stage":"it","state":"online","since":"2026-11-22T01:02:03Z","reason":"` + strings.Repeat("x", 2000) + `"}`, ErrTooLarge},
	"statistics that are no list":     {recStats, `{}`, ErrMalformed},
	"statistics without an end":       {recStats, `[`, ErrMalformed},
	"statistics and something else":   {recStats, `[]{}`, ErrMalformed},
	"statistics of nothing":           {recStats, `[{}]`, ErrMalformed},
	"a metric that does not exist":    {recStats, `[{"name":"x_total","kind":"counter","labels":[],"value":1}]`, ErrMalformed},
	"a counter that counts down":      {recStats, `[{"name":"sightline_results_total","kind":"counter","labels":[],"value":-1}]`, ErrMalformed},
	"labels that are no pairs":        {recStats, `[{"name":"sightline_results_total","kind":"counter","labels":["a"],"value":1}]`, ErrMalformed},
	"a histogram without its buckets": {recStats, `[{"name":"sightline_infer_seconds","kind":"histogram","labels":[],"counts":[1]}]`, ErrMalformed},
	"more series than there may be": {recStats, "[" + strings.Repeat(`{"name":"sightline_results_total","kind":"counter","labels":[]},`, maxSeries) +
		`{"name":"sightline_results_total","kind":"counter","labels":[]}]`, ErrTooLarge},
	"a log record of many attributes": {recLog, `{"time":"2026-11-22T01:02:03Z","level":0,"message":"x","attributes":[` +
		strings.Repeat(`["a","b"],`, maxAttributes) + `["a","b"]]}`, ErrTooLarge},
	"a log record with more fields":  {recLog, `{"time":"2026-11-22T01:02:03Z","level":0,"message":"x","picture":"AAAA"}`, ErrMalformed},
	"an exit that is none":           {recExit, `7`, ErrMalformed},
	"a configuration from the stage": {recConfigure, `{}`, ErrUnexpected},
}

func TestControlRecordsThatBreakTheProtocol(t *testing.T) {
	for name, c := range controlBreaches {
		t.Run(name, func(t *testing.T) {
			r := start(t, "unix", BoxOptions{Ticket: ticket(Publish)}, StageOptions{})
			s := r.stage.current.Load()
			stream := r.rawControl(s, c.t, []byte(c.body))
			defer stream.Close()
			if err := receive(t, r.ended); !errors.Is(err, c.err) {
				if err = receive(t, r.ended); !errors.Is(err, c.err) {
					t.Errorf("error %v, want %v", err, c.err)
				}
			}
			r.end()
			noLeftovers(t)
		})
	}
}

func FuzzControl(f *testing.F) {
	for _, c := range controlBreaches {
		f.Add(byte(c.t), []byte(c.body))
	}
	samples, err := json.Marshal(statistics().Snapshot())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(byte(recStats), samples)
	f.Add(byte(recStop), []byte(`{"grace":10}`))
	f.Add(byte(recConfigure), []byte(`{"device":"d","stage":"s","secrets":{"a":"b"},"links":{}}`))
	f.Fuzz(func(_ *testing.T, rt byte, body []byte) {
		decodeBeat(body)
		decodeStatus(body)
		decodeStats(body)
		decodeLog(body)
		decodeExit(body)
		decodeStop(body)
		decodeConfiguration(body)
		var d dialledBody
		decodeJSON(body, &d)
		_ = rt
	})
}

func statistics() *pipeline.Stats {
	stats := pipeline.NewStats()
	stats.Counter(pipeline.ResultsMade, "stage", "it").Add(3)
	stats.Gauge(pipeline.SinkUp, "stage", "it").Set(1)
	stats.Histogram(pipeline.InferSeconds, "stage", "it").Observe(time.Millisecond)
	stats.Drops("it", "gate").Add(pipeline.DropStale, 2)
	return stats
}
