package file

import (
	"bytes"
	"testing"

	"sightline/pipeline"
)

// Configuration records as containers keep them.
var records = []struct {
	name   string
	codec  pipeline.Codec
	extra  string
	length int
	sets   []string
	wrong  bool
}{
	{"nothing", pipeline.H264, "", 0, nil, false},
	{"start codes", pipeline.H264, "\x00\x00\x00\x01\x67\x42\x00\x00\x01\x68\xce", 0, []string{"\x67\x42", "\x68\xce"}, false},
	{"AVC", pipeline.H264, "\x01\x42\x00\x1e\xff\xe1\x00\x02\x67\x42\x01\x00\x02\x68\xce", 4, []string{"\x67\x42", "\x68\xce"}, false},
	{"AVC with lengths of 2 bytes", pipeline.H264, "\x01\x42\x00\x1e\xfd\xe1\x00\x02\x67\x42\x01\x00\x02\x68\xce", 2, []string{"\x67\x42", "\x68\xce"}, false},
	{"AVC with lengths of 3 bytes", pipeline.H264, "\x01\x42\x00\x1e\xfe\xe1\x00\x02\x67\x42\x01\x00\x02\x68\xce", 3, nil, true},
	{"AVC that ends too early", pipeline.H264, "\x01\x42\x00\x1e\xff\xe1\x00\x09\x67\x42", 4, nil, true},
	{"AVC cut after its first set", pipeline.H264, "\x01\x42\x00\x1e\xff\xe1\x00\x02\x67\x42\x01\x00\x09\x68", 4, []string{"\x67\x42"}, false},
	{"AVC without sets, which come in-band", pipeline.H264, "\x01\x42\x00\x1e\xff\xe0\x00", 4, nil, false},
	{"HEVC", pipeline.H265, "\x01" + "abcdefghijklmnopqrst" + "\xff\x02" + "\x20\x00\x01\x00\x02\x40\x01" + "\x21\x00\x01\x00\x02\x42\x01", 4, []string{"\x40\x01", "\x42\x01"}, false},
	{"HEVC that ends too early", pipeline.H265, "\x01abcdef", 4, nil, true},
	{"JPEG", pipeline.MJPEG, "anything", 0, nil, false},
}

func TestConfigurationRecordsAreRead(t *testing.T) {
	for _, tt := range records {
		t.Run(tt.name, func(t *testing.T) {
			f, err := parseFraming(tt.codec, []byte(tt.extra))
			if (err != nil) != tt.wrong {
				t.Fatalf("%v", err)
			}
			if err != nil {
				return
			}
			if f.lengthSize != tt.length || len(f.sets) != len(tt.sets) {
				t.Fatalf("lengths of %d bytes and %q, want %d and %q", f.lengthSize, f.sets, tt.length, tt.sets)
			}
			for i := range f.sets {
				if string(f.sets[i]) != tt.sets[i] {
					t.Errorf("%q, want %q", f.sets[i], tt.sets[i])
				}
			}
		})
	}
}

func TestPacketsAreSplitByTheirLengths(t *testing.T) {
	f := framing{lengthSize: 2}
	for _, tt := range []struct {
		name, data string
		want       int
		whole      bool
	}{
		{"two units", "\x00\x02ab\x00\x01c", 2, true},
		{"an empty one between", "\x00\x02ab\x00\x00\x00\x01c", 2, true},
		{"a length beyond the end", "\x00\x02ab\x00\x09c", 1, false},
		{"half a length", "\x00\x02ab\x00", 1, false},
		{"nothing", "", 0, true},
	} {
		units, whole := f.split([]byte(tt.data), nil)
		if len(units) != tt.want || whole != tt.whole {
			t.Errorf("%s: %q, whole %v", tt.name, units, whole)
		}
	}
}

func FuzzFraming(f *testing.F) {
	for _, tt := range records {
		f.Add(string(tt.codec), []byte(tt.extra), []byte("\x00\x02ab\x00\x00\x00\x01c"))
	}
	f.Fuzz(func(t *testing.T, codec string, extra, packet []byte) {
		framing, err := parseFraming(pipeline.Codec(codec), extra)
		if err != nil {
			return
		}
		units, _ := framing.split(packet, nil)
		total := 0
		for _, u := range units {
			if len(u) == 0 {
				t.Error("an empty unit")
			}
			total += len(u)
		}
		if total > len(packet) {
			t.Errorf("%d bytes of units out of %d", total, len(packet))
		}
		sets := parameterSets{codec: pipeline.Codec(codec)}
		sets.replace(framing.sets)
		sets.keep(units)
		if len(sets.sets) > maxSets {
			t.Errorf("%d parameter sets", len(sets.sets))
		}
	})
}

func TestParameterSetsThatCameLastCount(t *testing.T) {
	p := parameterSets{codec: pipeline.H264}
	p.replace([][]byte{[]byte("\x67a"), []byte("\x68a")})
	show := func() string { return string(bytes.Join(p.sets, []byte(" "))) }
	for _, step := range []struct {
		units    []string
		complete bool
		want     string
	}{
		{[]string{"\x65picture"}, false, "\x67a \x68a"},
		{[]string{"\x68b", "\x65picture"}, false, "\x67a \x68a \x68b"},
		{[]string{"\x68b", "\x65picture"}, false, "\x67a \x68a \x68b"},
		{[]string{"\x67c", "\x68c", "\x65picture"}, true, "\x67c \x68c"},
	} {
		var units [][]byte
		for _, u := range step.units {
			units = append(units, []byte(u))
		}
		if complete := p.keep(units); complete != step.complete || show() != step.want {
			t.Errorf("after %q: %v, %q", step.units, complete, show())
		}
	}
}
