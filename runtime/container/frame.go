package container

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// A log comes in frames: a byte for the stream, three that are 0, and four for the length of what
// follows, big-endian (Docker Engine API, "Attach to a container").
const (
	frameHead = 8
	maxFrame  = 1 << 20 // bytes; engines cut lines at some 16 KiB

	streamOfEngine = 3 // its own error
)

// entry is one line of a log, or a part of one that is too long.
type entry struct {
	stream byte
	at     time.Time
	text   []byte // without a newline; until the next one is read
}

// frames reads the entries of a log that has times.
type frames struct {
	from io.Reader
	head [frameHead]byte
	body []byte
}

// next returns the next entry; io.EOF at the end.
func (f *frames) next() (entry, error) {
	if _, err := io.ReadFull(f.from, f.head[:]); err != nil {
		return entry{}, err
	}
	if f.head[0] > streamOfEngine || f.head[1]|f.head[2]|f.head[3] != 0 {
		return entry{}, fmt.Errorf("log frame begins with %x, which is no head of one", f.head[:4])
	}
	size := binary.BigEndian.Uint32(f.head[4:])
	if size > maxFrame {
		return entry{}, fmt.Errorf("log frame of %d bytes, more than %d", size, maxFrame)
	}
	if cap(f.body) < int(size) {
		f.body = make([]byte, size)
	}
	f.body = f.body[:size]
	if _, err := io.ReadFull(f.from, f.body); err != nil {
		return entry{}, errors.Join(io.ErrUnexpectedEOF, err)
	}
	if f.head[0] == streamOfEngine {
		return entry{}, fmt.Errorf("engine on its log: %.200q", f.body)
	}
	return parseEntry(f.head[0], f.body)
}

// parseEntry cuts the time from the text.
func parseEntry(stream byte, body []byte) (entry, error) {
	stamp, text, _ := bytes.Cut(body, []byte(" "))
	at, err := time.Parse(time.RFC3339Nano, string(bytes.TrimSpace(stamp)))
	if err != nil {
		return entry{}, fmt.Errorf("log entry without its time: %w", err)
	}
	return entry{stream, at, bytes.TrimSuffix(text, []byte("\n"))}, nil
}
