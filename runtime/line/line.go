// Package line carries the wire of a box over the border of a guest.
//
// A guest has one raw byte stream to its host for as long as it lives: a connection that QEMU
// forwards, or a port of virtio-serial. Supervisors come and go, and when one is killed the stream is
// cut at any byte, in both directions; what the guest writes while there is none is lost. On such a
// stream this package makes one connection after the other, each of which has exactly the bytes that
// were written to it, from the first on and without a gap.
//
// Both sides send frames, of which each is whole or does not count:
//
//	type (1)  length (3)  payload (at most 64 KiB)  mark (1)
//
// Zero bytes between frames mean nothing. The host begins with more of them than a frame has bytes, so
// that a guest which was in the middle of a frame is done with it, and, as the mark is not zero, knows
// that it was cut. Then comes an opening with a random token. The guest ends the connection that was
// there, and sends the token back; the host passes over everything before it, and both are in step.
package line

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	frameOpen  byte = 'O' // host → guest: a connection begins
	frameTaken byte = 'T' // guest → host: it has begun
	frameData  byte = 'D'
	frameClose byte = 'C' // nothing more comes of this connection
	frameMark  byte = 0xA7

	headSize  = 4
	maxData   = 64 << 10
	maxFrame  = headSize + maxData + 1
	tokenSize = 16

	// magic begins the payload of an opening, so that it is found in any stream.
	magic = "sightline/1 line"
)

// ErrMalformed means bytes that the other side of a line does not send.
var ErrMalformed = errors.New("malformed")

// errCut is the end of a frame that was never written to its end.
var errCut = errors.New("frame was cut")

// appendFrame appends a whole frame to b.
func appendFrame(b []byte, kind byte, payload []byte) []byte {
	b = appendHead(b, kind, len(payload))
	return append(append(b, payload...), frameMark)
}

func appendHead(b []byte, kind byte, size int) []byte {
	return append(b, kind, byte(size>>16), byte(size>>8), byte(size))
}

// quiet is what ends a frame that was cut.
func quiet() []byte { return make([]byte, maxFrame) }

// reader reads frames.
type reader struct {
	from *bufio.Reader
	room []byte
}

func newReader(r io.Reader) *reader {
	return &reader{from: bufio.NewReaderSize(r, maxData), room: make([]byte, maxData+1)}
}

// next returns the next frame, whose payload is valid until the next call. After errCut the reader is
// in step, after ErrMalformed it is not.
func (r *reader) next() (kind byte, payload []byte, err error) {
	for kind == 0 {
		if kind, err = r.from.ReadByte(); err != nil {
			return 0, nil, err
		}
	}
	var size [4]byte
	if _, err := io.ReadFull(r.from, size[1:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > maxData || !bytes.Contains([]byte{frameOpen, frameTaken, frameData, frameClose}, []byte{kind}) {
		return 0, nil, fmt.Errorf("frame of type %#x, %d bytes: %w", kind, n, ErrMalformed)
	}
	payload = r.room[:n+1]
	if _, err := io.ReadFull(r.from, payload); err != nil {
		return 0, nil, err
	}
	switch payload[n] {
	case frameMark:
		return kind, payload[:n], nil
	case 0:
		return 0, nil, errCut
	}
	return 0, nil, fmt.Errorf("frame of type %#x without its mark: %w", kind, ErrMalformed)
}

// find passes over everything up to the end of the next pattern.
func (r *reader) find(pattern []byte) error {
	for {
		ahead, err := r.from.Peek(len(pattern))
		if err != nil {
			return err
		}
		if bytes.Equal(ahead, pattern) {
			_, err := r.from.Discard(len(pattern))
			return err
		}
		skip := bytes.IndexByte(ahead[1:], pattern[0]) + 1
		if skip == 0 {
			skip = len(ahead)
		}
		if _, err := r.from.Discard(skip); err != nil {
			return err
		}
	}
}
