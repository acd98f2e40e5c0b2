// Package nal looks at the NAL units of H.264 (ITU-T H.264 §7.3.1) and H.265 (ITU-T H.265 §7.3.1):
// just enough to know, without decoding, what a picture is good for. All of it takes outside bytes.
package nal

import "bytes"

// Split appends the NAL units of a byte stream (Annex B of H.264 and of H.265) to into, without their
// start codes and without trailing zeros. They point into stream. What stands before the first start
// code is ignored.
func Split(stream []byte, into [][]byte) [][]byte {
	_, start := code(stream, 0)
	for start < len(stream) {
		end, following := code(stream, start)
		if unit := bytes.TrimRight(stream[start:end], "\x00"); len(unit) > 0 {
			into = append(into, unit)
		}
		start = following
	}
	return into
}

// code returns where the first start code at or after from begins and ends; both are len(stream)
// when there is none.
func code(stream []byte, from int) (begin, end int) {
	if i := bytes.Index(stream[from:], []byte{0, 0, 1}); i >= 0 {
		return from + i, from + i + 3
	}
	return len(stream), len(stream)
}
