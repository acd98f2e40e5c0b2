package sinks

import (
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"sightline/pipeline"
)

// utcNanos is RFC 3339 in UTC with all nine digits, so that times of equal length compare as text.
const utcNanos = "2006-01-02T15:04:05.000000000Z"

// encoder appends JSON (RFC 8259) to b. It allocates nothing but what b grows by, and remembers the
// first thing that has no JSON form.
type encoder struct {
	b     []byte
	inner bool   // a member stands before the next one
	wrong string // what has no JSON form; empty: nothing
}

func (e *encoder) open() { e.b, e.inner = append(e.b, '{'), false }
func (e *encoder) shut() { e.b, e.inner = append(e.b, '}'), true }

// key writes the comma before a member and its name, which needs no escaping.
func (e *encoder) key(name string) {
	if e.inner {
		e.b = append(e.b, ',')
	}
	e.inner = true
	e.b = append(e.b, '"')
	e.b = append(e.b, name...)
	e.b = append(e.b, '"', ':')
}

func (e *encoder) null(name string) {
	e.key(name)
	e.b = append(e.b, "null"...)
}

func (e *encoder) text(name, value string) {
	e.key(name)
	e.b = appendText(e.b, value)
}

func (e *encoder) optional(name, value string) {
	if value != "" {
		e.text(name, value)
	}
}

func (e *encoder) integer(name string, value int64) {
	e.key(name)
	e.b = strconv.AppendInt(e.b, value, 10)
}

func (e *encoder) count(name string, value uint64) {
	e.key(name)
	e.b = strconv.AppendUint(e.b, value, 10)
}

func (e *encoder) time(name string, value time.Time) {
	e.key(name)
	value = value.UTC()
	if year := value.Year(); year < 0 || year > 9999 {
		e.refuse(name + " has a year that RFC 3339 cannot say")
	}
	e.b = append(e.b, '"')
	e.b = value.AppendFormat(e.b, utcNanos)
	e.b = append(e.b, '"')
}

// number writes the shortest decimal that reads back as value; bits is 32 or 64.
func (e *encoder) number(name string, value float64, bits int) {
	e.key(name)
	if math.IsNaN(value) || math.IsInf(value, 0) {
		e.refuse(name + " is not a finite number")
		return
	}
	format := byte('f')
	if size := math.Abs(value); size != 0 && (size < 1e-6 || size >= 1e21) {
		format = 'e'
	}
	e.b = strconv.AppendFloat(e.b, value, format, -1, bits)
}

func (e *encoder) model(m *pipeline.ModelInfo) {
	e.key("model")
	e.open()
	e.text("name", m.Name)
	e.optional("version", m.Version)
	e.text("digest", m.Digest)
	e.shut()
}

func (e *encoder) predictions(list []pipeline.Prediction) {
	e.key("predictions")
	e.b = append(e.b, '[')
	for i := range list {
		if i > 0 {
			e.b = append(e.b, ',')
		}
		e.prediction(&list[i])
	}
	e.b = append(e.b, ']')
}

func (e *encoder) prediction(p *pipeline.Prediction) {
	if p == nil {
		e.b = append(e.b, "null"...)
		return
	}
	e.open()
	e.fields(p)
	e.shut()
}

func (e *encoder) fields(p *pipeline.Prediction) {
	e.text("class", p.Class)
	e.integer("class_id", int64(p.ClassID))
	e.number("confidence", float64(p.Confidence), 32)
}

func (e *encoder) latency(l *pipeline.Latency) {
	e.key("latency")
	e.open()
	e.number("receive", l.Receive, 64)
	e.number("decode", l.Decode, 64)
	e.number("queue", l.Queue, 64)
	e.number("infer", l.Infer, 64)
	e.number("publish", l.Publish, 64)
	e.shut()
}

func (e *encoder) refuse(why string) {
	if e.wrong == "" {
		e.wrong = why
	}
}

// end returns what was appended after the first start bytes, or refuses it by kind and name.
func (e *encoder) end(start int, kind, name string) ([]byte, error) {
	switch size := len(e.b) - start; {
	case e.wrong != "":
		return e.b[:start], pipeline.Permanentf("encode %s %q: %s", kind, clip(name), e.wrong)
	case size > MaxMessage:
		return e.b[:start], pipeline.Permanentf("encode %s %q: %d bytes are more than the %d that a message may have", kind, clip(name), size, MaxMessage)
	}
	return e.b, nil
}

// clip keeps a name that is itself too large out of messages to the operator.
func clip(name string) string {
	const most = 128
	if len(name) <= most {
		return name
	}
	return name[:most] + "…"
}

// appendText appends a JSON string. Bytes that are not UTF-8 become U+FFFD.
func appendText(b []byte, s string) []byte {
	b = append(b, '"')
	done := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		size := 1
		if c >= utf8.RuneSelf {
			var r rune
			if r, size = utf8.DecodeRuneInString(s[i:]); r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
		}
		b = append(b, s[done:i]...)
		b = appendEscaped(b, c)
		i += size
		done = i
	}
	b = append(b, s[done:]...)
	return append(b, '"')
}

// appendEscaped appends a byte that must not stand in a JSON string as it is.
func appendEscaped(b []byte, c byte) []byte {
	const digits = "0123456789abcdef"
	switch c {
	case '"', '\\':
		return append(b, '\\', c)
	case '\n':
		return append(b, '\\', 'n')
	case '\r':
		return append(b, '\\', 'r')
	case '\t':
		return append(b, '\\', 't')
	}
	if c >= utf8.RuneSelf {
		return append(b, `\ufffd`...)
	}
	return append(b, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
}
