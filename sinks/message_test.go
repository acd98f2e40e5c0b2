package sinks_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"sightline/pipeline"
	"sightline/sinks"
	"sightline/sinks/sinktest"
)

// variants are results at the edges of what the form must carry.
func variants() map[string]*pipeline.Result {
	plain := func(change func(*pipeline.Result)) *pipeline.Result {
		r := sinktest.Result("gate", 1, "car")
		r.Published = r.Inferred.Add(time.Millisecond)
		change(r)
		return r
	}
	return map[string]*pipeline.Result{
		"an ordinary one":       plain(func(*pipeline.Result) {}),
		"of a region":           plain(func(r *pipeline.Result) { r.Region = "driveway" }),
		"nothing above":         plain(func(r *pipeline.Result) { r.Top = nil }),
		"no predictions":        plain(func(r *pipeline.Result) { r.Top, r.Predictions = nil, nil }),
		"no model version":      plain(func(r *pipeline.Result) { r.Model.Version = "" }),
		"captured at arrival":   plain(func(r *pipeline.Result) { r.CaptureOrigin = pipeline.OriginArrival }),
		"never published":       plain(func(r *pipeline.Result) { r.Published = time.Time{} }),
		"the largest sequence":  plain(func(r *pipeline.Result) { r.Sequence, r.Dropped = math.MaxUint64, math.MaxUint64 }),
		"a camera clock ahead":  plain(func(r *pipeline.Result) { r.Latency.Receive = -3.25e-7 }),
		"raw scores":            plain(func(r *pipeline.Result) { r.Predictions[0].Confidence = -math.MaxFloat32 }),
		"a tiny score":          plain(func(r *pipeline.Result) { r.Predictions[0].Confidence = math.SmallestNonzeroFloat32 }),
		"a class to be escaped": plain(func(r *pipeline.Result) { r.Predictions[0].Class = "a\"b\\c\n\r\t\x00\x1f\x7f<&>\u2028é漢🙂" }),
		"another time zone":     plain(func(r *pipeline.Result) { r.Captured = r.Captured.In(time.FixedZone("", -7*3600-1800)) }),
	}
}

// normal is a result as it is after a way through JSON: times in UTC, empty slices nil, and without
// the one field that is not sent.
func normal(r *pipeline.Result) *pipeline.Result {
	c := *r
	for _, t := range []*time.Time{&c.Captured, &c.Received, &c.Decoded, &c.Inferred, &c.Published} {
		*t = t.UTC().Round(0)
	}
	c.Model.Provider = ""
	if len(c.Predictions) == 0 {
		c.Predictions = nil
	}
	return &c
}

func TestResultFitsItsSchemaAndReadsBackAsItWas(t *testing.T) {
	schemas := sinktest.Compile(t)
	for name, r := range variants() {
		t.Run(name, func(t *testing.T) {
			b, err := sinks.AppendResult([]byte("before"), r)
			if err != nil {
				t.Fatal(err)
			}
			text, ok := strings.CutPrefix(string(b), "before")
			if !ok {
				t.Fatalf("what stood in the buffer is gone: %s", b)
			}
			back := schemas.Decode(t, []byte(text))
			if got, want := normal(back), normal(r); !reflect.DeepEqual(got, want) {
				t.Errorf("read back\n%+v\nwant\n%+v", got, want)
			}
		})
	}
}

// Encoding by reflection of pipeline.Result itself must give the same members, so that a field added
// there and forgotten here is found.
func TestResultHasTheMembersOfTheStruct(t *testing.T) {
	for name, r := range variants() {
		b, err := sinks.AppendResult(nil, normal(r))
		if err != nil {
			t.Fatal(err)
		}
		plain, err := json.Marshal(normal(r))
		if err != nil {
			t.Fatal(err)
		}
		var got, want any
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := json.Unmarshal(plain, &want); err != nil {
			t.Fatal(err)
		}
		if a, b := shape(got), shape(want); a != b {
			t.Errorf("%s: members\n%s\nwant\n%s", name, a, b)
		}
	}
}

// shape writes the names of all members; times and empty lists are written in more than one way.
func shape(v any) string {
	m, ok := v.(map[string]any)
	if !ok {
		return ""
	}
	text := ""
	for _, key := range slices.Sorted(maps.Keys(m)) {
		text += key + "{" + shape(m[key]) + "}"
	}
	return text
}

func TestResultWithoutAFormIsRefusedByName(t *testing.T) {
	long := strings.Repeat("x", 1000)
	for name, c := range map[string]struct {
		change func(*pipeline.Result)
		want   string
	}{
		"a confidence that is no number": {func(r *pipeline.Result) { r.Predictions[1].Confidence = float32(math.NaN()) }, "confidence is not a finite number"},
		"an infinite confidence":         {func(r *pipeline.Result) { r.Predictions[1].Confidence = float32(math.Inf(-1)) }, "confidence is not a finite number"},
		"an infinite latency":            {func(r *pipeline.Result) { r.Latency.Infer = math.Inf(1) }, "infer is not a finite number"},
		"a year of five digits":          {func(r *pipeline.Result) { r.Captured = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) }, "captured has a year"},
		"more than the bound": {func(r *pipeline.Result) {
			for i := range 100 {
				r.Predictions = append(r.Predictions, pipeline.Prediction{Class: long, ClassID: i})
			}
		}, "more than the 65536"},
		"an identifier as large as a picture": {func(r *pipeline.Result) { r.ID = strings.Repeat(long, 100) }, "more than the 65536"},
	} {
		t.Run(name, func(t *testing.T) {
			r := sinktest.Result("gate", 7, "car")
			c.change(r)
			b, err := sinks.AppendResult([]byte("before"), r)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v does not say %q", err, c.want)
			}
			if !pipeline.IsPermanent(err) {
				t.Errorf("%v is not permanent", err)
			}
			if string(b) != "before" {
				t.Errorf("buffer holds %d bytes, want what stood there", len(b))
			}
			if len(err.Error()) > 400 {
				t.Errorf("the error itself is %d bytes long", len(err.Error()))
			}
		})
	}
}

func TestStatusFitsItsSchema(t *testing.T) {
	schemas := sinktest.Compile(t)
	since := time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600))
	for _, s := range []pipeline.Status{
		{Stage: "gate", Source: "gate", State: pipeline.StateOnline, Since: since, Detail: "h264 1920x1080"},
		{Stage: "gate", Source: "gate", State: pipeline.StateOffline, Since: since, Reason: "dial tcp: \"refused\""},
		{Stage: "scene", State: pipeline.StateStarting, Since: since},
	} {
		b, err := sinks.AppendStatus(nil, sinktest.Device, &s)
		if err != nil {
			t.Fatal(err)
		}
		sinktest.Check(t, schemas.Status, b)
		var back pipeline.Status
		if err := json.Unmarshal(b, &back); err != nil {
			t.Fatal(err)
		}
		if !back.Since.Equal(s.Since) {
			t.Errorf("since %v, want %v", back.Since, s.Since)
		}
		if back.Since = s.Since; back != s {
			t.Errorf("read back %+v, want %+v", back, s)
		}
	}
}

func TestStateFitsItsSchema(t *testing.T) {
	schemas := sinktest.Compile(t)
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	for name, s := range map[string]sinks.State{
		"a class":  {Device: "d", Source: "gate", Stage: "scene", Top: &pipeline.Prediction{Class: "car", ClassID: 1, Confidence: 0.5}, Captured: at, Since: at},
		"none":     {Device: "d", Source: "gate", Stage: "scene", Captured: at, Since: at},
		"a region": {Device: "d", Source: "gate", Stage: "scene", Region: "left", Captured: at, Since: at},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := sinks.AppendState(nil, &s)
			if err != nil {
				t.Fatal(err)
			}
			sinktest.Check(t, schemas.State, b)
		})
	}
}

func TestSchemasRefuseWhatIsNotAMessage(t *testing.T) {
	schemas := sinktest.Compile(t)
	good, err := sinks.AppendResult(nil, sinktest.Result("gate", 1, "car"))
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(map[string]any){
		"an unknown member":   func(m map[string]any) { m["picture"] = "base64" },
		"a missing member":    func(m map[string]any) { delete(m, "captured") },
		"a local time":        func(m map[string]any) { m["captured"] = "2026-11-22T03:04:05.000000000+01:00" },
		"a time that is none": func(m map[string]any) { m["captured"] = "2026-13-22T03:04:05.000000000Z" },
		"another version":     func(m map[string]any) { m["schema"] = 2.0 },
		"a text as top":       func(m map[string]any) { m["top"] = "car" },
		"an empty source":     func(m map[string]any) { m["source"] = "" },
		"an unknown origin":   func(m map[string]any) { m["capture_origin"] = "ntp" },
		"a negative sequence": func(m map[string]any) { m["sequence"] = -1.0 },
	} {
		var m map[string]any
		if err := json.Unmarshal(good, &m); err != nil {
			t.Fatal(err)
		}
		change(m)
		if schemas.Result.Validate(any(m)) == nil {
			t.Errorf("the schema takes %s", name)
		}
	}
}

func TestEncodingAllocatesNothing(t *testing.T) {
	r := sinktest.Result("gate", 1, "a \"car\"")
	b := make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := sinks.AppendResult(b[:0], r); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations for one result", n)
	}
}

func FuzzResult(f *testing.F) {
	for _, r := range variants() {
		f.Add(r.ID, r.Region, r.Model.Version, r.Sequence, r.Captured.UnixNano(), float32(0.5), r.Latency.Receive)
	}
	f.Add("\xff\xfe", "\xed\xa0\x80", "\u2028", uint64(1), int64(-1), float32(math.NaN()), math.Inf(1))
	f.Fuzz(func(t *testing.T, id, region, version string, sequence uint64, at int64, confidence float32, latency float64) {
		r := sinktest.Result("gate", sequence, "car")
		r.ID, r.Region, r.Model.Version, r.Captured = id, region, version, time.Unix(0, at)
		r.Predictions[1].Confidence, r.Latency.Receive = confidence, latency
		b, err := sinks.AppendResult(nil, r)
		if err != nil {
			return
		}
		var back pipeline.Result
		if err := json.Unmarshal(b, &back); err != nil {
			t.Fatalf("%v\n%s", err, b)
		}
		if len(b) > sinks.MaxMessage {
			t.Fatalf("%d bytes", len(b))
		}
		if back.ID != id && utf8.ValidString(id) {
			t.Fatalf("id %q became %q", id, back.ID)
		}
		if back.Predictions[1].Confidence != confidence || back.Latency.Receive != latency || !back.Captured.Equal(r.Captured) {
			t.Fatalf("%+v became %+v", r, back)
		}
	})
}

func BenchmarkAppendResult(b *testing.B) {
	r := sinktest.Result("gate", 1, "car")
	buffer := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		out, err := sinks.AppendResult(buffer[:0], r)
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(len(out)))
	}
}

func BenchmarkMarshalResult(b *testing.B) {
	r := sinktest.Result("gate", 1, "car")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := json.Marshal(r); err != nil {
			b.Fatal(err)
		}
	}
}

func ExampleAppendState() {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	b, err := sinks.AppendState(nil, &sinks.State{Device: "porch", Source: "gate", Stage: "scene", Captured: at, Since: at})
	fmt.Println(string(b), err)
	// Output:
	// {"schema":1,"device":"porch","source":"gate","stage":"scene","class":null,"class_id":null,"confidence":null,"captured":"2026-01-02T03:04:05.000000000Z","since":"2026-01-02T03:04:05.000000000Z"} <nil>
}
