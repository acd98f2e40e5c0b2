package habits

import (
	"bytes"
	"encoding/binary"

	"sightline/pipeline"
)

// The ways of packing NAL units (RFC 6184 §5, RFC 7798 §4.4), right and wrong.
const (
	packRight      = ""
	packAggregated = "aggregated"  // all units of a picture in one STAP-A
	packByteStream = "byte_stream" // all units of a picture in one, with start codes between them
	packWholeFU    = "whole_fu"    // fragments that are first and last at once
	packNoEnd      = "no_end"      // the last fragment does not say so
	packNoStart    = "no_start"    // the first fragment does not say so
	packEmpty      = "empty"       // packets of nothing, and units of nothing in an aggregation
	packNested     = "nested"      // an aggregation inside an aggregation
	packReserved   = "reserved"    // a packet of a reserved type before each picture
)

func packings() []string {
	return []string{packRight, packAggregated, packByteStream, packWholeFU, packNoEnd, packNoStart, packEmpty, packNested, packReserved}
}

// pack makes the payloads of one picture's packets.
func pack(codec pipeline.Codec, way string, units [][]byte, size int) [][]byte {
	var out [][]byte
	switch way {
	case packAggregated:
		return [][]byte{aggregate(units)}
	case packNested:
		return [][]byte{aggregate([][]byte{aggregate(units)})}
	case packByteStream:
		return [][]byte{bytes.Join(units, []byte{0, 0, 0, 1})}
	case packEmpty:
		return [][]byte{{}, append(aggregate(units), 0, 0, 0)}
	case packReserved:
		out = append(out, []byte{30, 1, 2, 3})
	}
	for _, u := range units {
		if len(u) <= size && way != packWholeFU {
			out = append(out, u)
			continue
		}
		out = append(out, fragment(codec, way, u, size)...)
	}
	return out
}

// aggregate makes a STAP-A (RFC 6184 §5.7.1).
func aggregate(units [][]byte) []byte {
	out := []byte{24 | 0x60}
	for _, u := range units {
		out = append(binary.BigEndian.AppendUint16(out, uint16(len(u))), u...)
	}
	return out
}

// fragment makes FU-As (RFC 6184 §5.8) or, of H.265, FUs (RFC 7798 §4.4.3).
func fragment(codec pipeline.Codec, way string, unit []byte, size int) [][]byte {
	header, kind, rest := []byte{unit[0]&0xe0 | 28}, unit[0]&31, unit[1:]
	if codec == pipeline.H265 {
		header, kind, rest = []byte{unit[0]&0x81 | 49<<1, unit[1]}, unit[0]>>1&63, unit[2:]
	}
	var out [][]byte
	for first := true; len(rest) > 0; first = false {
		n := min(size, len(rest))
		flags := kind
		if first && way != packNoStart {
			flags |= 0x80
		}
		if n == len(rest) && way != packNoEnd {
			flags |= 0x40
		}
		out = append(out, append(append(bytes.Clone(header), flags), rest[:n]...))
		rest = rest[n:]
	}
	return out
}
