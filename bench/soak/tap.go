package soak

import (
	"bytes"
	"encoding/binary"
	"sync"
)

// tap reads MQTT on its way between a publisher and a real broker, and calls taken with every payload
// that the broker has acknowledged: PUBLISH with QoS 1, then PUBACK with its identifier (MQTT 3.1.1 §3.3,
// §3.4). So what counts as received is what the broker answered for, whatever becomes of it there.
type tap struct {
	taken func(topic string, payload []byte)

	up, down stream

	mu     sync.Mutex
	flying map[uint16]message
}

type message struct {
	topic   string
	payload []byte
}

var _ watcher = (*tap)(nil)

func newTap(taken func(topic string, payload []byte)) *tap {
	return &tap{taken: taken, flying: map[uint16]message{}}
}

// The types of packets that count (MQTT 3.1.1 §2.2.1).
const (
	typePublish = 3
	typePuback  = 4
)

func (t *tap) toServer(p []byte) { t.up.read(p, t.published) }
func (t *tap) toClient(p []byte) { t.down.read(p, t.answered) }
func (t *tap) gaveClient()       {}
func (t *tap) broke()            {}

func (t *tap) published(first byte, body []byte) {
	if first>>4 != typePublish || first&0x06 != 0x02 || len(body) < 2 {
		return
	}
	n := 2 + int(binary.BigEndian.Uint16(body))
	if len(body) < n+2 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.flying[binary.BigEndian.Uint16(body[n:])] = message{string(body[2:n]), bytes.Clone(body[n+2:])}
}

func (t *tap) answered(first byte, body []byte) {
	if first>>4 != typePuback || len(body) < 2 {
		return
	}
	id := binary.BigEndian.Uint16(body)
	t.mu.Lock()
	m, ok := t.flying[id]
	delete(t.flying, id)
	t.mu.Unlock()
	if ok {
		t.taken(m.topic, m.payload)
	}
}

// stream finds control packets in a stream of bytes.
type stream struct {
	rest []byte
	lost bool // the stream is none of MQTT
}

// read takes more of the stream, and calls found with the first byte and the body of each whole packet.
func (s *stream) read(p []byte, found func(first byte, body []byte)) {
	if s.lost {
		return
	}
	s.rest = append(s.rest, p...)
	for {
		n, begin, ok := s.measure()
		if s.lost || !ok || len(s.rest) < begin+n {
			return
		}
		found(s.rest[0], s.rest[begin:begin+n])
		s.rest = append(s.rest[:0], s.rest[begin+n:]...)
	}
}

// measure reads the remaining length (MQTT 3.1.1 §2.2.3): seven bits a byte, at most four of them.
func (s *stream) measure() (n, begin int, ok bool) {
	for i := 1; i < len(s.rest); i++ {
		n |= int(s.rest[i]&0x7f) << (7 * (i - 1))
		switch {
		case s.rest[i]&0x80 == 0:
			return n, i + 1, true
		case i == 4:
			s.lost, s.rest = true, nil
			return 0, 0, false
		}
	}
	return 0, 0, false
}
