package models

import (
	"encoding/binary"
	"errors"
)

var errTruncated = errors.New("its protobuf is cut off or damaged")

// message walks over the fields of one protobuf message (protobuf.dev, "Encoding"), without copying.
type message struct {
	rest   []byte
	number int
	varint uint64 // of wire type 0
	bytes  []byte // of wire type 2
	err    error
}

// next moves to the next field; false at the end or at damage, which err then holds.
func (m *message) next() bool {
	if len(m.rest) == 0 || m.err != nil {
		return false
	}
	key := m.uvarint()
	m.number, m.bytes, m.varint = int(key>>3), nil, 0
	switch key & 7 {
	case 0:
		m.varint = m.uvarint()
	case 1:
		m.take(8)
	case 2:
		m.bytes = m.take(m.uvarint())
	case 5:
		m.take(4)
	default:
		m.err = errTruncated
	}
	return m.err == nil
}

func (m *message) uvarint() uint64 {
	v, n := binary.Uvarint(m.rest)
	if n <= 0 {
		m.err, m.rest = errTruncated, nil
		return 0
	}
	m.rest = m.rest[n:]
	return v
}

func (m *message) take(n uint64) []byte {
	if n > uint64(len(m.rest)) {
		m.err, m.rest = errTruncated, nil
		return nil
	}
	part := m.rest[:n]
	m.rest = m.rest[n:]
	return part
}

// each calls visit for every field, and stops at the first error.
func each(data []byte, visit func(*message) error) error {
	m := message{rest: data}
	for m.next() {
		if err := visit(&m); err != nil {
			return err
		}
	}
	return m.err
}
