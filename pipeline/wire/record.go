package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"unicode/utf8"
)

// A record is one byte of type, four of length, and a body.
const recordHeader = 5

type recordType byte

// appendRecord appends a record to b.
func appendRecord(b []byte, t recordType, body []byte) []byte {
	b = append(b, byte(t))
	b = binary.BigEndian.AppendUint32(b, uint32(len(body)))
	return append(b, body...)
}

// writeRecord writes a record with one call of Write.
func writeRecord(w io.Writer, t recordType, body []byte) error {
	_, err := w.Write(appendRecord(make([]byte, 0, recordHeader+len(body)), t, body))
	return err
}

func writeJSON(w io.Writer, t recordType, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode record %d: %w", t, err)
	}
	return writeRecord(w, t, body)
}

// readRecord reads a record whose body is no larger than limit says for its type; a limit of 0 or
// less means that the type has no place here. The body is in buf when it fits there. io.EOF means
// that the stream ended between records.
func readRecord(r io.Reader, buf []byte, limit func(recordType) int) (recordType, []byte, error) {
	var header [recordHeader]byte
	if _, err := io.ReadFull(r, header[:1]); err != nil {
		return 0, nil, err
	}
	if _, err := io.ReadFull(r, header[1:]); err != nil {
		return 0, nil, cut(err)
	}
	t, size := recordType(header[0]), binary.BigEndian.Uint32(header[1:])
	most := limit(t)
	if most <= 0 {
		return t, nil, fmt.Errorf("record of type %d: %w", t, ErrUnexpected)
	}
	if int64(size) > int64(most) {
		return t, nil, fmt.Errorf("record of type %d: %d bytes, at most %d: %w", t, size, most, ErrTooLarge)
	}
	if uint32(cap(buf)) < size {
		buf = make([]byte, size)
	}
	buf = buf[:size]
	if _, err := io.ReadFull(r, buf); err != nil {
		return t, nil, cut(err)
	}
	return t, buf, nil
}

// cut makes an end in the middle of a message an error of its own.
func cut(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// decodeJSON reads exactly one value, all of whose fields are known.
func decodeJSON(body []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("%w: something follows the value", ErrMalformed)
	}
	return nil
}

// checkText says whether a text of the other side is short enough and holds no control characters.
func checkText(what, text string, most int) error {
	if len(text) > most {
		return fmt.Errorf("%s: %d bytes, at most %d: %w", what, len(text), most, ErrTooLarge)
	}
	if !utf8.ValidString(text) {
		return fmt.Errorf("%s is not UTF-8: %w", what, ErrMalformed)
	}
	for _, c := range text {
		if c < ' ' || c == 0x7f {
			return fmt.Errorf("%s holds control characters: %w", what, ErrMalformed)
		}
	}
	return nil
}

// clip shortens a text to at most n bytes, whole characters only, without control characters.
func clip(text string, n int) string {
	out := make([]rune, 0, min(len(text), n))
	size := 0
	for _, c := range text {
		if c < ' ' || c == 0x7f {
			c = ' '
		}
		if size += utf8.RuneLen(c); size > n {
			break
		}
		out = append(out, c)
	}
	return string(out)
}
