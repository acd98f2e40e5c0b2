package wire

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"sightline/pipeline"
)

// logBody is a log record on the wire. All of it is text, with passwords in addresses taken out.
type logBody struct {
	Time       time.Time   `json:"time"` // the host's
	Level      int         `json:"level"`
	Message    string      `json:"message"`
	Attributes [][2]string `json:"attributes,omitempty"`
	Omitted    uint64      `json:"omitted,omitempty"` // records before this one that found no room
}

func decodeLog(body []byte) (l logBody, err error) {
	if err := decodeJSON(body, &l); err != nil {
		return l, fmt.Errorf("log record: %w", err)
	}
	if len(l.Attributes) > maxAttributes {
		return l, fmt.Errorf("log record with %d attributes, at most %d: %w", len(l.Attributes), maxAttributes, ErrTooLarge)
	}
	l.Message, l.Level = clip(l.Message, maxText), min(max(l.Level, int(slog.LevelDebug)), int(slog.LevelError))
	for i := range l.Attributes {
		l.Attributes[i] = [2]string{clip(l.Attributes[i][0], maxName), clip(l.Attributes[i][1], maxText)}
	}
	return l, nil
}

// record is the log record for the supervisor's own log.
func (l *logBody) record() slog.Record {
	r := slog.NewRecord(l.Time, slog.Level(l.Level), l.Message, 0)
	for _, a := range l.Attributes {
		r.AddAttrs(slog.String(a[0], a[1]))
	}
	if l.Omitted > 0 {
		r.AddAttrs(slog.Uint64("omitted", l.Omitted))
	}
	return r
}

// logBuffer holds log records until the supervisor takes them. When it is full the oldest is let go
// and counted.
type logBuffer struct {
	mu      sync.Mutex
	records []logBody
	omitted uint64
	signal  func()
}

func (b *logBuffer) put(l logBody) {
	b.mu.Lock()
	if len(b.records) == logsWaiting {
		b.omitted += 1 + b.records[0].Omitted
		b.records = append(b.records[:0], b.records[1:]...)
	}
	b.records = append(b.records, l)
	b.mu.Unlock()
	b.signal()
}

// take returns the oldest record as JSON, nil when there is none.
func (b *logBuffer) take() ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.records) == 0 {
		return nil, nil
	}
	l := b.records[0]
	l.Omitted, b.omitted = l.Omitted+b.omitted, 0
	b.records = append(b.records[:0], b.records[1:]...)
	return json.Marshal(l)
}

// logHandler is the slog.Handler of a stage: it never waits, and never fails.
type logHandler struct {
	buffer *logBuffer
	clock  *Clock
	level  slog.Leveler
	prefix string // of the groups that are open
	given  [][2]string
}

var _ slog.Handler = (*logHandler)(nil)

// Enabled implements slog.Handler.
func (h *logHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level.Level() }

// Handle implements slog.Handler.
func (h *logHandler) Handle(_ context.Context, r slog.Record) error {
	l := logBody{Time: h.clock.ToHost(r.Time), Level: int(r.Level), Message: clip(pipeline.RedactText(r.Message), maxText)}
	l.Attributes = slices.Clone(h.given)
	r.Attrs(func(a slog.Attr) bool {
		l.Attributes = appendAttribute(l.Attributes, h.prefix, a)
		return len(l.Attributes) < maxAttributes
	})
	h.buffer.put(l)
	return nil
}

// WithAttrs implements slog.Handler.
func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *h
	with.given = slices.Clone(h.given)
	for _, a := range attrs {
		with.given = appendAttribute(with.given, h.prefix, a)
	}
	return &with
}

// WithGroup implements slog.Handler.
func (h *logHandler) WithGroup(name string) slog.Handler {
	with := *h
	if name != "" {
		with.prefix += clip(name, maxName) + "."
	}
	return &with
}

func appendAttribute(to [][2]string, prefix string, a slog.Attr) [][2]string {
	if len(to) >= maxAttributes || a.Equal(slog.Attr{}) {
		return to
	}
	value := a.Value.Resolve()
	if value.Kind() != slog.KindGroup {
		return append(to, [2]string{clip(prefix+a.Key, maxName), clip(pipeline.RedactText(value.String()), maxText)})
	}
	if a.Key != "" {
		prefix += a.Key + "."
	}
	for _, inner := range value.Group() {
		to = appendAttribute(to, prefix, inner)
	}
	return to
}
