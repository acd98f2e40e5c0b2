package http

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"

	"sightline/pipeline"
	"sightline/sinks"
)

// part is one message in a body.
type part struct {
	id  string // empty for a status
	end int    // where it ends in bodies.text
}

// body is what one request posts.
type body struct {
	parts []part
	bytes []byte // as sent
	key   string // the same for the same messages
}

// bodies makes bodies of messages.
type bodies struct {
	device string
	lines  bool // a JSON object a line, instead of an array
	most   int  // messages in a body
	bytes  int  // in a body, before it is compressed; a single message may have more
	gzip   bool

	text  []byte // the messages one after another
	parts []part
}

func (b *bodies) encoding() string {
	if b.gzip {
		return "gzip"
	}
	return ""
}

// fill takes the messages that the server does not have yet. Any error is permanent.
func (b *bodies) fill(messages []pipeline.Message, taken map[string]bool) error {
	b.text, b.parts = b.text[:0], b.parts[:0]
	for i := range messages {
		before := len(b.text)
		id, err := b.add(&messages[i], taken)
		if err != nil {
			return pipeline.Permanent(err)
		}
		if len(b.text) > before {
			b.parts = append(b.parts, part{id, len(b.text)})
		}
	}
	return nil
}

func (b *bodies) add(m *pipeline.Message, taken map[string]bool) (id string, err error) {
	switch {
	case m.Result != nil:
		id = m.Result.ID
	case m.Event != nil:
		id = m.Event.ID
	case m.Status != nil:
		b.text, err = sinks.AppendStatus(b.text, b.device, m.Status)
		return "", err
	default:
		return "", errors.New("message holds no result, event or status")
	}
	if !taken[id] {
		b.text, _, err = sinks.AppendMessage(b.text, m)
	}
	return id, err
}

// each returns the bodies. Their bytes are not used again: the client may read them even after an answer.
func (b *bodies) each() iter.Seq[body] {
	return func(yield func(body) bool) {
		start := 0
		for parts := b.parts; len(parts) > 0; {
			n := 1
			for n < len(parts) && n < b.most && b.size(n+1, parts[n].end-start) <= b.bytes {
				n++
			}
			if !yield(b.make(start, parts[:n])) {
				return
			}
			start, parts = parts[n-1].end, parts[n:]
		}
	}
}

// size is that of a body of n messages that have so many bytes.
func (b *bodies) size(n, bytes int) int {
	if b.lines {
		return bytes + n
	}
	return bytes + n + 1
}

func (b *bodies) make(start int, parts []part) body {
	room := make([]byte, 0, parts[len(parts)-1].end-start+len(parts)+1)
	digest := sha256.New()
	for i, p := range parts {
		switch {
		case b.lines:
		case i == 0:
			room = append(room, '[')
		default:
			room = append(room, ',')
		}
		text := b.text[start:p.end]
		room = append(room, text...)
		if b.lines {
			room = append(room, '\n')
		}
		if p.id == "" {
			fmt.Fprintf(digest, "%s\n", text)
		} else {
			fmt.Fprintf(digest, "%q\n", p.id)
		}
		start = p.end
	}
	if !b.lines {
		room = append(room, ']')
	}
	return body{parts: parts, bytes: b.compress(room), key: hex.EncodeToString(digest.Sum(nil)[:16])}
}

func (b *bodies) compress(text []byte) []byte {
	if !b.gzip {
		return text
	}
	var small bytes.Buffer
	pack := gzip.NewWriter(&small)
	_, _ = pack.Write(text) // a buffer takes all
	pack.Close()
	return small.Bytes()
}
