package file

import (
	"encoding/binary"
	"fmt"

	"sightline/pipeline"
	"sightline/sources/nal"
)

// framing says how NAL units stand in the packets of a track, and which parameter sets the container keeps
// for them. All of it takes outside bytes.
type framing struct {
	lengthSize int // bytes before each NAL unit that tell its length; 0: start codes (Annex B)
	sets       [][]byte
}

// parse reads what a container keeps for the decoder: an AVC or HEVC decoder configuration record
// (ISO/IEC 14496-15 §5.3.3.1 and §8.3.3.1), or parameter sets with start codes, or nothing.
func parseFraming(codec pipeline.Codec, extra []byte) (framing, error) {
	switch {
	case codec == pipeline.H264 && len(extra) > 0 && extra[0] == 1:
		return parseAVC(extra)
	case codec == pipeline.H265 && len(extra) > 3 && (extra[0] == 1 || extra[0] == 0 && !startCode(extra)):
		return parseHEVC(extra)
	}
	return framing{sets: nal.Split(extra, nil)}, nil
}

func startCode(b []byte) bool { return b[0] == 0 && b[1] == 0 && (b[2] == 1 || b[2] == 0 && b[3] == 1) }

// record reads big-endian fields; once something is missing, everything is.
type record struct {
	rest  []byte
	short bool
}

func (r *record) take(n int) []byte {
	if n > len(r.rest) {
		r.short = true
		r.rest = nil
		return make([]byte, min(n, 2))
	}
	taken := r.rest[:n:n]
	r.rest = r.rest[n:]
	return taken
}

func (r *record) byte() int { return int(r.take(1)[0]) }

// set reads a NAL unit after its length of two bytes, unless something is missing.
func (r *record) set(into [][]byte) [][]byte {
	unit := r.take(int(binary.BigEndian.Uint16(r.take(2))))
	if r.short || len(unit) == 0 {
		return into
	}
	return append(into, unit)
}

func parseAVC(extra []byte) (framing, error) {
	r := record{rest: extra}
	r.take(4)
	f := framing{lengthSize: r.byte()&3 + 1}
	for range r.byte() & 31 {
		f.sets = r.set(f.sets)
	}
	for range r.byte() {
		f.sets = r.set(f.sets)
	}
	return f.check("AVC", r.short && len(f.sets) == 0)
}

func parseHEVC(extra []byte) (framing, error) {
	r := record{rest: extra}
	r.take(21)
	f := framing{lengthSize: r.byte()&3 + 1}
	for range r.byte() {
		r.byte() // kind of the units that follow
		for range binary.BigEndian.Uint16(r.take(2)) {
			if r.short {
				break
			}
			f.sets = r.set(f.sets)
		}
	}
	return f.check("HEVC", r.short && len(f.sets) == 0)
}

func (f framing) check(codec string, short bool) (framing, error) {
	if short {
		return f, fmt.Errorf("its %s configuration record ends too early", codec)
	}
	if f.lengthSize == 3 {
		return f, fmt.Errorf("its %s configuration record has lengths of 3 bytes", codec)
	}
	return f, nil
}

// split appends the NAL units of a packet to into; they point into it. whole is false when a length
// points beyond the packet: what stands before it is good.
func (f framing) split(data []byte, into [][]byte) (units [][]byte, whole bool) {
	if f.lengthSize == 0 {
		return nal.Split(data, into), true
	}
	for len(data) > 0 {
		if len(data) < f.lengthSize {
			return into, false
		}
		size := 0
		for _, b := range data[:f.lengthSize] {
			size = size<<8 | int(b)
		}
		data = data[f.lengthSize:]
		if size > len(data) {
			return into, false
		}
		if size > 0 {
			into = append(into, data[:size:size])
		}
		data = data[size:]
	}
	return into, true
}
