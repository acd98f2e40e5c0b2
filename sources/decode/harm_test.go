package decode_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"sightline/pipeline"
	"sightline/pipeline/pipelinetest"
	"sightline/sources/decode"
	"sightline/sources/encode"
	"sightline/sources/picture"
)

func TestBitErrorsAreToldAndDoNoHarm(t *testing.T) {
	file := filepath.Join(pipelinetest.TestData(t), "videos", "derived", "car_bit_errors.h264")
	stream, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	d, good, corrupt, damaged := open(t, decode.Options{Codec: pipeline.H264}), 0, 0, 0
	take := func(p *picture.Picture) {
		if p.Corrupt || p.Partial {
			corrupt++
		} else {
			good++
		}
	}
	refused := 0
	for i, u := range units(pipeline.H264, stream) {
		if err := d.Decode(u, uint64(i+1), take); err != nil {
			refused++
			if errors.Is(err, decode.ErrDamaged) {
				damaged++
			}
		}
	}
	if err := d.Drain(take); err != nil {
		t.Fatal(err)
	}
	if good == 0 || damaged < 20 || good+corrupt+refused+d.Missing() != 100 {
		t.Errorf("%d good, %d corrupt, %d refused, %d missing, of 100", good, corrupt, refused, d.Missing())
	}
}

func TestDamagedAndTruncatedUnitsAreAllAccountedFor(t *testing.T) {
	for _, codec := range []pipeline.Codec{pipeline.H264, pipeline.H265, pipeline.MJPEG} {
		all := encoded(t, encode.Options{Codec: codec, Width: 64, Height: 64, GOP: 5}, 20)
		random := rand.New(rand.NewPCG(7, uint64(len(codec))))
		d := open(t, decode.Options{Codec: codec})
		pictures, refused, total := 0, 0, 0
		take := func(*picture.Picture) { pictures++ }
		for range 60 {
			for _, u := range all {
				total++
				if err := d.Decode(harmed(u, random), uint64(total), take); err != nil {
					refused++
				}
			}
		}
		if err := d.Drain(take); err != nil {
			t.Fatal(err)
		}
		if missing := d.Missing(); pictures+refused+missing != total {
			t.Errorf("%s: %d pictures, %d refused, %d missing of %d units", codec, pictures, refused, missing, total)
		}
		if pictures == 0 || refused == 0 {
			t.Errorf("%s: %d pictures, %d refused: that is no test", codec, pictures, refused)
		}
	}
}

// harmed returns a copy of a unit, most of the time with bits flipped or its end cut off.
func harmed(u *pipeline.Unit, random *rand.Rand) *pipeline.Unit {
	bad := *u
	bad.NALs = nil
	for _, n := range u.NALs {
		n = bytes.Clone(n)
		switch random.IntN(4) {
		case 0:
			n = n[:1+random.IntN(len(n))]
		case 1:
			for range 1 + random.IntN(5) {
				n[random.IntN(len(n))] ^= 1 << random.IntN(8)
			}
		}
		bad.NALs = append(bad.NALs, n)
	}
	return &bad
}

func TestOpeningAndClosingLeaksNothing(t *testing.T) {
	all := encoded(t, encode.Options{Width: 320, Height: 240}, 3)
	once := func() {
		d, err := decode.Open(decode.Options{Codec: pipeline.H264, Decoder: decode.Software})
		if err != nil {
			t.Fatal(err)
		}
		for i, u := range all {
			if err := d.Decode(u, uint64(i+1), func(*picture.Picture) {}); err != nil {
				t.Fatal(err)
			}
		}
		d.Close()
	}
	for range 50 {
		once()
	}
	before := resident(t)
	for range 500 {
		once()
	}
	// One leaked picture of each decoder would be 57 MB.
	if grown := resident(t) - before; grown > 8<<20 {
		t.Errorf("memory grew by %d bytes over 500 decoders", grown)
	}
}

// resident returns the bytes of the process that are in memory (proc(5), statm).
func resident(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skip("memory in use is unknown: ", err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

func TestDecodingAllocatesNothing(t *testing.T) {
	for _, codec := range []pipeline.Codec{pipeline.H264, pipeline.H265, pipeline.MJPEG} {
		all := encoded(t, encode.Options{Codec: codec, Width: 64, Height: 64}, 50)
		d, i, pictures := open(t, decode.Options{Codec: codec}), 0, 0
		take := func(*picture.Picture) { pictures++ }
		found := testing.AllocsPerRun(200, func() {
			if err := d.Decode(all[i%len(all)], uint64(i+1), take); err != nil {
				t.Fatal(err)
			}
			i++
		})
		if found != 0 || pictures < 200 {
			t.Errorf("%s: %v allocations a unit, %d pictures", codec, found, pictures)
		}
	}
}

func FuzzH264(f *testing.F) {
	fuzz(f, pipeline.H264, "h264_conformance/SVA_BA2_D.264", "h264_conformance/SarVui.264", "odd/libvpl_cars_320x240.h264")
}

func FuzzH265(f *testing.F) { fuzz(f, pipeline.H265) }

func FuzzMJPEG(f *testing.F) { fuzz(f, pipeline.MJPEG) }

// fuzz decodes what becomes of made streams, and of the first units of some files where they are there.
func fuzz(f *testing.F, codec pipeline.Codec, files ...string) {
	const keep = 3 // units of each
	seed := func(all []*pipeline.Unit) {
		var stream []byte
		for _, u := range all[:min(keep, len(all))] {
			for _, n := range u.NALs {
				stream = append(append(stream, 0, 0, 1), n...)
			}
		}
		f.Add(stream)
	}
	for _, bframes := range []int{0, 2} {
		if bframes == 0 || codec != pipeline.MJPEG {
			seed(encoded(f, encode.Options{Codec: codec, Width: 32, Height: 32, BFrames: bframes}, 6))
		}
	}
	for _, name := range files {
		if stream, err := os.ReadFile(filepath.Join(os.Getenv("SIGHTLINE_TESTDATA"), "videos", name)); err == nil {
			seed(units(codec, stream))
		}
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		d, err := decode.Open(decode.Options{Codec: codec, Decoder: decode.Software, MaxPixels: 1 << 18})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		sequence := uint64(0)
		take := func(p *picture.Picture) {
			if err := p.Check(); err != nil {
				t.Error(err)
			}
			if p.Sequence > sequence || p.Width*p.Height > 1<<18 {
				t.Errorf("picture of unit %d, %d×%d, out of unit %d", p.Sequence, p.Width, p.Height, sequence)
			}
		}
		all := units(codec, stream)
		if codec == pipeline.MJPEG {
			all = []*pipeline.Unit{{NALs: [][]byte{stream}}}
		}
		for range 2 {
			for _, u := range all {
				sequence++
				if d.Decode(u, sequence, take) != nil && sequence%2 == 0 {
					_ = d.Reset()
				}
			}
		}
		_ = d.Drain(take)
	})
}

func BenchmarkDecode1080p(b *testing.B) {
	all := encoded(b, encode.Options{Width: 1920, Height: 1080, BitRate: 4_000_000, GOP: 30}, 30)
	d, i := open(b, decode.Options{Codec: pipeline.H264}), 0
	b.ReportAllocs()
	for b.Loop() {
		if err := d.Decode(all[i%len(all)], uint64(i+1), func(*picture.Picture) {}); err != nil {
			b.Fatal(err)
		}
		i++
	}
}
