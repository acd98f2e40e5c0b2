package order

import (
	"reflect"
	"strings"
	"testing"
)

func TestAnOrderArrivesAsItWas(t *testing.T) {
	want := Order{Version: 1, Program: []string{"/stage", "a b", "\"\n"}, UID: 1000, PIDs: 20}
	line, err := want.Encode()
	if err != nil || strings.Count(string(line), "\n") != 1 {
		t.Fatalf("%q, %v", line, err)
	}
	if got, err := ParseOrder(line); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v (%v) instead of %+v", got, err, want)
	}
}

func TestOrdersThatMakeNoSenseAreRefused(t *testing.T) {
	for name, o := range map[string]Order{
		"no program":         {UID: 1},
		"a relative program": {Program: []string{"stage"}, UID: 1},
		"as root":            {Program: []string{"/stage"}},
		"a zero byte":        {Program: []string{"/stage", "\x00"}, UID: 1},
		"too long":           {Program: []string{"/stage", strings.Repeat("x", MaxLine)}, UID: 1},
		"negative processes": {Program: []string{"/stage"}, UID: 1, PIDs: -1},
	} {
		if line, err := o.Encode(); err == nil {
			t.Errorf("%s: %s", name, line)
		}
	}
}

func TestAReportArrivesAsItWas(t *testing.T) {
	want := Report{Version: 1, Code: -1, Signal: "SIGKILL", OutOfMemory: true, Error: "execute"}
	line, err := want.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ParseReport(line); err != nil || got != want {
		t.Errorf("%+v (%v) instead of %+v", got, err, want)
	}
	if line, err := (Report{Error: strings.Repeat("\x01", 10*MaxLine)}).Encode(); err != nil || len(line) > MaxLine {
		t.Errorf("%d bytes, %v", len(line), err)
	}
}

func badReports() []string {
	return []string{
		"", "{}", "null", `{"version":2}`, `{"version":1,"code":256}`, `{"version":1,"code":-2}`, `{"version":1,"signal":"a\nb"}`,
		`{"version":1,"signal":"SIGSIGSIGSIGSIGSIGSIG"}`, `{"version":1,"error":"` + strings.Repeat("x", MaxLine) + `"}`,
	}
}

func TestReportsThatMakeNoSenseAreRefused(t *testing.T) {
	for _, line := range badReports() {
		if r, err := ParseReport([]byte(line)); err == nil {
			t.Errorf("%.80s is read as %+v", line, r)
		}
	}
}

func FuzzParseReport(f *testing.F) {
	f.Add([]byte(`{"version":1,"code":3}`))
	for _, line := range badReports() {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := ParseReport(line)
		if err == nil && (strings.ContainsAny(r.Error+r.Signal, "\n\r\x1b") || r.Code > 255) {
			t.Errorf("%+v", r)
		}
	})
}

func FuzzParseOrder(f *testing.F) {
	f.Add([]byte(`{"version":1,"program":["/stage"],"uid":1}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		if o, err := ParseOrder(line); err == nil && (o.UID <= 0 || o.Program[0][0] != '/') {
			t.Errorf("%+v", o)
		}
	})
}
