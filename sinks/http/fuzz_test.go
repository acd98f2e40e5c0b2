package http

import (
	"io"
	nethttp "net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"sightline/pipeline"
)

func TestRetryAfterIsReadAsWritten(t *testing.T) {
	now := time.Date(2026, 11, 22, 3, 4, 5, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "0": 0, "120": 2 * time.Minute, "-1": 0, "1.5": 0, "soon": 0, "99999999999999999999": 0,
		"Sun, 22 Nov 2026 03:05:05 GMT": time.Minute, "Sun, 22 Nov 2020 03:05:05 GMT": 0, "Sunday, 22-Nov-26 03:05:05 GMT": time.Minute,
	} {
		if got := retryAfter(text, now); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

// Whatever a server answers, what is made of it is short, printable text and a wait that is none below zero.
func FuzzAnswer(f *testing.F) {
	f.Add(503, "120", "", "try later")
	f.Add(302, "", "https://me:hidden@[::1/a?token=hidden", "\x00\xff\x1b[31m<html>")
	f.Add(400, "Sun, 22 Nov 2026 03:05:05 GMT", "//x", strings.Repeat("password=hidden ", 1000))
	f.Fuzz(func(t *testing.T, code int, after, location, text string) {
		a := &nethttp.Response{
			StatusCode: code, Body: io.NopCloser(strings.NewReader(text)),
			Header: nethttp.Header{"Retry-After": {after}, "Location": {location}},
		}
		pause, err := judge(a, time.Unix(1_800_000_000, 0))
		if (err == nil) != (code >= 200 && code < 300) || pause < 0 || pipeline.IsPermanent(err) && code/100 != 4 {
			t.Fatalf("%d %q: %s, %v", code, after, pause, err)
		}
		if err == nil {
			return
		}
		said := err.Error()
		if len(said) > 2000 || !utf8.ValidString(said) || strings.ContainsAny(said, "\n\r\x00\x1b") {
			t.Fatalf("%q", said)
		}
	})
}
