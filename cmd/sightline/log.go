package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"sightline/pipeline"
)

// newLogger writes records of at least a level to out, as text or json, no message of a stage more
// than a few times in a while.
func newLogger(out io.Writer, level slog.Leveler, format string) *slog.Logger {
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: redact}
	var handler slog.Handler = slog.NewTextHandler(out, options)
	if format == "json" {
		handler = slog.NewJSONHandler(out, options)
	}
	return slog.New(&limiter{next: handler, shared: &limits{windows: map[string]*window{}}})
}

// redact takes passwords out of texts and errors, whoever wrote them.
func redact(_ []string, a slog.Attr) slog.Attr {
	switch v := a.Value.Any().(type) {
	case string:
		a.Value = slog.StringValue(pipeline.RedactText(v))
	case error:
		a.Value = slog.StringValue(pipeline.RedactText(v.Error()))
	}
	return a
}

// The limit of a message: burst times in every period.
const (
	burst       = 5
	period      = 10 * time.Second
	mostWindows = 1024
)

// limiter is a slog.Handler that lets each message of each stage through burst times a period, and
// says how many it left out with the next one.
type limiter struct {
	next   slog.Handler
	stage  string
	shared *limits
}

type limits struct {
	mu      sync.Mutex
	windows map[string]*window
}

type window struct {
	began   time.Time
	seen    int
	skipped int
}

// Enabled asks the handler behind.
func (l *limiter) Enabled(ctx context.Context, level slog.Level) bool {
	return l.next.Enabled(ctx, level)
}

// Handle passes a record on, unless there were too many like it.
func (l *limiter) Handle(ctx context.Context, r slog.Record) error {
	stage := l.stage
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "stage" {
			stage = a.Value.String()
		}
		return a.Key != "stage"
	})
	skipped, ok := l.shared.admit(stage+"\x00"+r.Message, r.Time)
	if !ok {
		return nil
	}
	if skipped > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int("left_out", skipped))
	}
	return l.next.Handle(ctx, r)
}

// admit tells whether one more may pass, and how many did not since the last that did.
func (s *limits) admit(key string, now time.Time) (skipped int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.windows[key]
	if w == nil {
		if len(s.windows) >= mostWindows {
			clear(s.windows)
		}
		w = &window{began: now}
		s.windows[key] = w
	}
	if now.Sub(w.began) >= period {
		w.began, w.seen = now, 0
	}
	w.seen++
	if w.seen > burst {
		w.skipped++
		return 0, false
	}
	skipped, w.skipped = w.skipped, 0
	return skipped, true
}

// WithAttrs keeps the stage for the limit.
func (l *limiter) WithAttrs(attrs []slog.Attr) slog.Handler {
	out := &limiter{next: l.next.WithAttrs(attrs), stage: l.stage, shared: l.shared}
	for _, a := range attrs {
		if a.Key == "stage" {
			out.stage = a.Value.String()
		}
	}
	return out
}

// WithGroup groups what follows.
func (l *limiter) WithGroup(name string) slog.Handler {
	return &limiter{next: l.next.WithGroup(name), stage: l.stage, shared: l.shared}
}

// logLevel reads debug, info, warn or error.
func logLevel(text string) (slog.Level, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(text)); err != nil {
		return 0, fmt.Errorf("log level %q is none of debug, info, warn, error", text)
	}
	return level, nil
}
