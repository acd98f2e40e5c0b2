package spool

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"

	"sightline/sinks"
)

// A segment is a text file. Each line is
//
//	<crc> <kind> <fields…>\n
//
// where crc is CRC-32C (Castagnoli) of everything between it and the end of the line, in eight
// hexadecimal digits. Numbers are decimal, times are milliseconds.
//
//	sightline-spool 1 <first> <head> <stamp>   the first line: version, position of the first record
//	m <head> <stamp>                           every record before position head is done with
//	r <position> <time> <JSON>                 a result
//	e <position> <time> <JSON>                 an event
//
// A stamp is <time> <wall> <up> <boot> <trusted>: the queue's own time, the wall clock since 1970, the
// time since the machine's start, which start that was, and whether the wall clock was kept right by
// somebody. JSON holds neither a line feed nor a zero byte, so after damage the next line feed is where
// a good line may begin. Zero bytes up to the end of a file are room that was not used yet.
const (
	version = 1
	magic   = "sightline-spool"

	kindHeader = magic
	kindMark   = "m"
	kindRecord = "r"
	kindEvent  = "e"

	checksum    = 8
	lineMost    = sinks.MaxMessage + 128
	lineFurther = 48 // about what a line has beside the JSON
)

// stamp ties the queue's own time to the clocks around it.
type stamp struct {
	time    int64 // the queue's own time, milliseconds
	wall    int64 // wall clock, milliseconds since 1970
	up      int64 // milliseconds since the machine started
	boot    uint64
	trusted bool // the wall clock is kept right, as by NTP
}

// line is one line of a segment.
type line struct {
	kind     string
	version  uint64 // of a header
	position uint64 // of a record; of a header that of the first record to come
	head     uint64 // of a header and a mark
	stamp    stamp  // of a header and a mark; of a record only its time
	json     []byte // of a record; shares memory with what was parsed
}

func appendHeader(b []byte, first, head uint64, s stamp) []byte {
	start := len(b)
	b = append(b, "00000000 "+kindHeader+" "...)
	b = strconv.AppendUint(b, version, 10)
	b = appendNumber(b, first)
	b = appendNumber(b, head)
	return finishLine(appendStamp(b, s), start)
}

func appendMark(b []byte, head uint64, s stamp) []byte {
	start := len(b)
	b = append(b, "00000000 "+kindMark...)
	b = appendNumber(b, head)
	return finishLine(appendStamp(b, s), start)
}

func appendRecord(b []byte, kind string, position uint64, at int64, json []byte) []byte {
	start := len(b)
	b = append(append(b, "00000000 "...), kind...)
	b = appendNumber(b, position)
	b = appendNumber(b, uint64(max(0, at)))
	b = append(b, ' ')
	return finishLine(append(b, json...), start)
}

func appendNumber(b []byte, n uint64) []byte {
	return strconv.AppendUint(append(b, ' '), n, 10)
}

func appendStamp(b []byte, s stamp) []byte {
	for _, n := range []int64{s.time, s.wall, s.up} {
		b = appendNumber(b, uint64(max(0, n)))
	}
	b = appendNumber(b, s.boot)
	if s.trusted {
		return append(b, " 1"...)
	}
	return append(b, " 0"...)
}

// finishLine puts the checksum in its place and ends the line.
func finishLine(b []byte, start int) []byte {
	const digits = "0123456789abcdef"
	sum := sumOf(b[start+checksum+1:])
	for i := range checksum {
		b[start+i] = digits[sum>>(28-4*i)&15]
	}
	return append(b, '\n')
}

func sumOf(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

var (
	errShort    = errors.New("line is too short")
	errChecksum = errors.New("checksum does not fit")
	errNumber   = errors.New("not a number")
	errKind     = errors.New("unknown kind of line")
	errFields   = errors.New("fields do not fit the kind of line")
)

// parseLine reads a line, given without its line feed. Of a header of another version than ours only
// the version is read.
func parseLine(b []byte) (line, error) {
	if len(b) < checksum+2 || b[checksum] != ' ' {
		return line{}, errShort
	}
	rest := b[checksum+1:]
	if want, err := strconv.ParseUint(string(b[:checksum]), 16, 32); err != nil || uint32(want) != sumOf(rest) {
		return line{}, errChecksum
	}
	kind, rest, ok := bytes.Cut(rest, []byte{' '})
	if !ok {
		return line{}, errFields
	}
	f := fields{rest: rest}
	var l line
	switch string(kind) {
	case kindRecord, kindEvent:
		l = line{kind: string(kind), position: f.small(), stamp: stamp{time: f.time()}, json: f.rest}
		if f.err == nil && (len(l.json) < 2 || bytes.IndexByte(l.json, 0) >= 0) {
			return line{}, errFields
		}
		return l, f.err
	case kindMark:
		l = line{kind: kindMark, head: f.small(), stamp: f.stamp()}
	case kindHeader:
		l = line{kind: kindHeader, version: f.number()}
		if l.version != version && f.err == nil {
			return l, nil
		}
		l.position, l.head, l.stamp = f.small(), f.small(), f.stamp()
	default:
		return line{}, errKind
	}
	if f.err == nil && len(f.rest) > 0 {
		return line{}, errFields
	}
	return l, f.err
}

// fields takes the fields of a line one after another, and remembers the first mistake.
type fields struct {
	rest []byte
	err  error
}

func (f *fields) number() uint64 {
	text, rest, _ := bytes.Cut(f.rest, []byte{' '})
	n, err := strconv.ParseUint(string(text), 10, 64)
	if err != nil && f.err == nil {
		f.err = fmt.Errorf("%w: %.32q", errNumber, text)
	}
	f.rest = rest
	return n
}

// largest is more than any position or time can be.
const largest = 1 << 60

// small is a number that can be added to without a thought.
func (f *fields) small() uint64 {
	n := f.number()
	if n > largest && f.err == nil {
		f.err = fmt.Errorf("%w that can be: %d", errNumber, n)
	}
	return n
}

func (f *fields) time() int64 { return int64(f.small()) }

func (f *fields) stamp() stamp {
	s := stamp{time: f.time(), wall: f.time(), up: f.time(), boot: f.number()}
	s.trusted = f.number() == 1
	return s
}
