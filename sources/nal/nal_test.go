package nal_test

import (
	"bytes"
	"testing"

	"sightline/pipeline"
	"sightline/sources/nal"
)

var streams = []struct {
	name   string
	stream string
	want   []string
}{
	{"nothing", "", nil},
	{"no start code", "\x65abc", nil},
	{"one unit", "\x00\x00\x01\x65abc", []string{"\x65abc"}},
	{"long start codes", "\x00\x00\x00\x01\x67a\x00\x00\x00\x01\x68b", []string{"\x67a", "\x68b"}},
	{"trailing zeros", "\x00\x00\x01\x67a\x00\x00\x00\x00\x01\x68b\x00\x00", []string{"\x67a", "\x68b"}},
	{"something before", "junk\x00\x00\x01\x65abc", []string{"\x65abc"}},
	{"empty units", "\x00\x00\x01\x00\x00\x01\x65\x00\x00\x01", []string{"\x65"}},
}

func TestAByteStreamIsSplitAtItsStartCodes(t *testing.T) {
	for _, tt := range streams {
		found := nal.Split([]byte(tt.stream), nil)
		if len(found) != len(tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, found, tt.want)
			continue
		}
		for i := range found {
			if string(found[i]) != tt.want[i] {
				t.Errorf("%s: unit %d is %q, want %q", tt.name, i, found[i], tt.want[i])
			}
		}
	}
}

func FuzzSplit(f *testing.F) {
	for _, tt := range streams {
		f.Add([]byte(tt.stream))
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		var again []byte
		found := nal.Split(stream, nil)
		for _, n := range found {
			if len(n) == 0 || bytes.Contains(n, []byte{0, 0, 1}) || n[len(n)-1] == 0 {
				t.Fatalf("unit %x", n)
			}
			again = append(append(again, 0, 0, 1), n...)
		}
		if len(nal.Split(again, nil)) != len(found) {
			t.Error("what was split does not split the same way again")
		}
	})
}

const (
	h265SPS1 = "\x42\x01\x01" // one sub-layer
	h265SPS3 = "\x42\x01\x05" // three
)

// Units one after the other of one stream.
var units = []struct {
	name         string
	codec        pipeline.Codec
	nals         []string
	nonReference bool
	keyframe     bool
}{
	{"h264 parameter sets and IDR", pipeline.H264, []string{"\x67\x42", "\x68\xce", "\x65\x88"}, false, true},
	{"h264 reference P", pipeline.H264, []string{"\x41\x9a"}, false, false},
	{"h264 non-reference B", pipeline.H264, []string{"\x01\x9e"}, true, false},
	{"h264 non-reference of two slices, with SEI", pipeline.H264, []string{"\x06\x05", "\x01\x9e", "\x01\x4e"}, true, false},
	{"h264 one slice of two is reference", pipeline.H264, []string{"\x01\x9e", "\x21\x4e"}, false, false},
	{"h264 IDR with nal_ref_idc 0", pipeline.H264, []string{"\x05\x88"}, false, true},
	{"h264 without slices", pipeline.H264, []string{"\x67\x42", "\x68\xce"}, false, false},
	{"h264 cut short", pipeline.H264, []string{"\x01"}, false, false},
	{"h264 empty", pipeline.H264, []string{""}, false, false},
	{"h265 before any parameter set", pipeline.H265, []string{"\x00\x01\xd0"}, false, false},
	{"h265 parameter set and IDR", pipeline.H265, []string{h265SPS1, "\x26\x01\xaf"}, false, true},
	{"h265 CRA", pipeline.H265, []string{"\x2a\x01\xaf"}, false, true},
	{"h265 TRAIL_N", pipeline.H265, []string{"\x00\x01\xd0"}, true, false},
	{"h265 TRAIL_R", pipeline.H265, []string{"\x02\x01\xd0"}, false, false},
	{"h265 RASL_N with SEI", pipeline.H265, []string{"\x4e\x01\x05", "\x10\x01\xd0"}, true, false},
	{"h265 three sub-layers from here", pipeline.H265, []string{h265SPS3, "\x26\x01\xaf"}, false, true},
	{"h265 TRAIL_N of the lowest of three", pipeline.H265, []string{"\x00\x01\xd0"}, false, false},
	{"h265 TSA_N of the highest of three", pipeline.H265, []string{"\x04\x03\xd0"}, true, false},
	{"h265 cut short", pipeline.H265, []string{"\x00\x01"}, false, false},
	{"jpeg", pipeline.MJPEG, []string{"\xff\xd8\xff"}, false, true},
}

func TestUnitsAreKnownByTheirHeaders(t *testing.T) {
	var inspector nal.Inspector
	for _, tt := range units {
		u := &pipeline.Unit{Codec: tt.codec}
		for _, n := range tt.nals {
			u.NALs = append(u.NALs, []byte(n))
		}
		if found := inspector.NonReference(u); found != tt.nonReference {
			t.Errorf("%s: non-reference %v", tt.name, found)
		}
		if found := nal.Keyframe(u); found != tt.keyframe {
			t.Errorf("%s: keyframe %v", tt.name, found)
		}
	}
}

func FuzzInspect(f *testing.F) {
	for _, tt := range units {
		for _, n := range tt.nals {
			f.Add(string(tt.codec), []byte(n))
		}
	}
	f.Fuzz(func(t *testing.T, codec string, stream []byte) {
		nals := append(nal.Split(stream, nil), stream)
		u := &pipeline.Unit{Codec: pipeline.Codec(codec), NALs: nals}
		var inspector nal.Inspector
		inspector.NonReference(u)
		inspector.Follows(u)
		if inspector.NonReference(u) && nal.Keyframe(u) {
			t.Error("a keyframe on which nothing builds")
		}
		for _, unit := range nal.AccessUnits(u.Codec, nals) {
			if len(unit) == 0 {
				t.Error("an access unit of nothing")
			}
		}
	})
}

func TestUnitsOfAStreamAreGroupedByPicture(t *testing.T) {
	tests := []struct {
		name  string
		codec pipeline.Codec
		nals  []string
		want  []int // NAL units of each picture
	}{
		{"h264", pipeline.H264, []string{"\x67\x42", "\x68\xce", "\x65\x88", "\x41\x9a", "\x09\xf0", "\x41\x9a"}, []int{3, 1, 2}},
		{"h264 of two slices", pipeline.H264, []string{"\x65\x88", "\x65\x08", "\x06\x05", "\x41\x9a", "\x41\x1a"}, []int{2, 3}},
		{"h265", pipeline.H265, []string{"\x40\x01\x0c", h265SPS1, "\x44\x01\xc0", "\x26\x01\xaf", "\x02\x01\xd0", "\x02\x01\x50"}, []int{4, 2}},
		{"no picture", pipeline.H264, []string{"\x67\x42"}, nil},
	}
	for _, tt := range tests {
		var nals [][]byte
		for _, n := range tt.nals {
			nals = append(nals, []byte(n))
		}
		found := nal.AccessUnits(tt.codec, nals)
		if len(found) != len(tt.want) {
			t.Errorf("%s: %d pictures, want %d", tt.name, len(found), len(tt.want))
			continue
		}
		for i := range found {
			if len(found[i]) != tt.want[i] {
				t.Errorf("%s: picture %d has %d units, want %d", tt.name, i, len(found[i]), tt.want[i])
			}
		}
	}
}

// Parameter sets of a stream of 64×64 by x264, in which frame_num has 4 bits, and its slices.
const (
	h264Sequence = "\x67\x42\xc0\x0a\xda\x10\x9b\x01\x10\x00\x00\x03\x00\x10\x00\x00\x03\x03\x20\xf1\x22\x6a"
	h264Picture  = "\x68\xce\x0f\x2c\x80"
)

// slice is the begin of a slice of H.264: first_mb_in_slice 0, slice_type 5, pic_parameter_set_id 0
// and frame_num.
func slice(header byte, number int) []byte {
	bits := uint32(0b1_00110_1)<<25 | uint32(number)<<21
	return []byte{header, byte(bits >> 24), byte(bits >> 16), byte(bits >> 8), 0xff}
}

func TestAMissingReferencePictureOfH264IsNoticed(t *testing.T) {
	var inspector nal.Inspector
	const reference, other = 0x41, 0x01
	tests := []struct {
		name string
		nals [][]byte
		want bool
	}{
		{"before any parameter set", [][]byte{slice(reference, 9)}, true},
		{"IDR", [][]byte{[]byte(h264Sequence), []byte(h264Picture), slice(0x65, 0)}, true},
		{"the next", [][]byte{slice(reference, 1)}, true},
		{"one that nothing builds on", [][]byte{slice(other, 2)}, true},
		{"another", [][]byte{slice(other, 2)}, true},
		{"the next of many slices", [][]byte{slice(reference, 2), slice(reference, 2)}, true},
		{"its second field", [][]byte{slice(reference, 2)}, true},
		{"one is missing", [][]byte{slice(reference, 4)}, false},
		{"then it goes on", [][]byte{slice(reference, 5)}, true},
		{"one that nothing builds on after a gap", [][]byte{slice(other, 7)}, false},
		{"many are missing", [][]byte{slice(reference, 15)}, false},
		{"around", [][]byte{slice(reference, 0)}, true},
		{"an unknown picture set", [][]byte{{reference, 0b1_00110_01, 0b0_0000000, 0xff, 0xff}}, true},
		{"IDR in the middle", [][]byte{slice(0x65, 0)}, true},
		{"cut short", [][]byte{{reference, 0x9a}, {reference}}, true},
		{"the number is doubtful after that", [][]byte{slice(reference, 7)}, true},
		{"and no more", [][]byte{slice(reference, 9)}, false},
	}
	for _, tt := range tests {
		if found := inspector.Follows(&pipeline.Unit{Codec: pipeline.H264, NALs: tt.nals}); found != tt.want {
			t.Errorf("%s: follows %v", tt.name, found)
		}
	}
	told := 0
	for i := range 100 { // every other one is missing
		if !inspector.Follows(&pipeline.Unit{Codec: pipeline.H264, NALs: [][]byte{slice(reference, i*2%16)}}) {
			told++
		}
	}
	if told < 20 || told > 40 {
		t.Errorf("a camera that counts wrongly was told of %d times in 100 pictures", told)
	}
	if !inspector.Follows(&pipeline.Unit{Codec: pipeline.H265, NALs: [][]byte{slice(reference, 3)}}) {
		t.Error("H.265 is taken for H.264")
	}
}
