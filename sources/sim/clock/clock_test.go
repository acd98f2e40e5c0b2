package clock

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// values are counters with all kinds of patterns.
func values() []uint32 {
	return []uint32{0, 1, 15, 0x80000000, 0x55555555, 0xaaaaaaaa, 0xdeadbeef, 1234567, 0xffff0000, 0xffffffff}
}

func TestTheCheckSumIsTheCataloguesOne(t *testing.T) {
	// The check value of CRC-16/IBM-3740 is 0x29b1 for "123456789"; for four bytes, by the same register bit by bit.
	reference := func(data []byte) uint16 {
		sum := uint16(0xffff)
		for _, b := range data {
			sum ^= uint16(b) << 8
			for range 8 {
				if sum&0x8000 != 0 {
					sum = sum<<1 ^ 0x1021
				} else {
					sum <<= 1
				}
			}
		}
		return sum
	}
	if got := reference([]byte("123456789")); got != 0x29b1 {
		t.Fatalf("reference gives %#x, want 0x29b1", got)
	}
	for _, v := range values() {
		want := reference([]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)})
		if got := checksum(v); got != want {
			t.Errorf("checksum(%#x) = %#x, want %#x", v, got, want)
		}
	}
}

func TestWhatIsDrawnIsReadAtAnyScale(t *testing.T) {
	sources := [][2]int{{640, 360}, {321, 241}, {128, 128}}
	targets := [][2]int{{320, 180}, {224, 224}, {160, 96}, {128, 128}, {101, 97}}
	for _, s := range sources {
		for _, to := range targets {
			t.Run(fmt.Sprintf("%dx%d to %dx%d", s[0], s[1], to[0], to[1]), func(t *testing.T) {
				for _, v := range []uint32{0x55555555, 0xdeadbeef} {
					small := scale(drawn(s[0], s[1], v), s[0], s[1], to[0], to[1])
					if got, ok := Read(small, to[0], to[1]); !ok || got != v {
						t.Errorf("read %#x, %v; want %#x", got, ok, v)
					}
				}
			})
		}
	}
}

func TestItIsReadThroughBlurNoiseAndColour(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, v := range values() {
		small := scale(drawn(640, 360, v), 640, 360, 128, 128)
		for i := range small {
			cast := []float64{0.75, 0.9, 0.6}[i%3]
			small[i] = level8(20 + cast*float64(small[i]) + r.NormFloat64()*12)
		}
		if got, ok := Read(small, 128, 128); !ok || got != v {
			t.Errorf("read %#x, %v; want %#x", got, ok, v)
		}
	}
}

func TestTheLumaPlaneCarriesIt(t *testing.T) {
	const width, height, stride = 480, 270, 512
	for _, v := range values() {
		y := make([]byte, stride*(height-1)+width)
		for i := range y {
			y[i] = 90
		}
		DrawI420(y, stride, width, height, v)
		small := scale(fromI420(y, stride, width, height), width, height, 224, 224)
		if got, ok := Read(small, 224, 224); !ok || got != v {
			t.Errorf("read %#x, %v; want %#x", got, ok, v)
		}
	}
}

func TestOnlyTheBandIsTouched(t *testing.T) {
	const width, height, stride = 64, 57, 70
	y := make([]byte, stride*(height-1)+width)
	DrawI420(y, stride, width, height, 0xffffffff)
	rgb := make([]byte, width*height*3)
	DrawRGB(rgb, width, height, 0xffffffff)
	first := bandEnd(height)
	if limit := height/14 + 1; first > limit {
		t.Fatalf("the band is %d lines high, want at most %d", first, limit)
	}
	for row := range height {
		for x := range stride {
			i := row*stride + x
			if (row >= first || x >= width) && i < len(y) && y[i] != 0 {
				t.Fatalf("luma at %d,%d is %d", x, row, y[i])
			}
		}
	}
	for i := first * width * 3; i < len(rgb); i++ {
		if rgb[i] != 0 {
			t.Fatalf("byte %d below the band is %d", i, rgb[i])
		}
	}
}

func TestWhatIsNoClockIsRefused(t *testing.T) {
	flat := make([]byte, 128*128*3)
	for i := range flat {
		flat[i] = 130
	}
	unclear := drawn(128, 128, 77)
	for y := range 4 { // grey over the first block
		for x := range 5 {
			for c := range 3 {
				unclear[(y*128+x)*3+c] = 128
			}
		}
	}
	flipped := drawn(128, 128, 77)
	for y := range 4 {
		for x := range 5 {
			for c := range 3 {
				flipped[(y*128+x)*3+c] ^= 0xff
			}
		}
	}
	cases := map[string]struct {
		data          []byte
		width, height int
	}{
		"nothing":                     {nil, 0, 0},
		"negative sizes":              {make([]byte, 100), -5, -5},
		"too small a picture":         {drawn(128, 128, 1), 24, 28},
		"fewer bytes than the size":   {drawn(128, 128, 1)[:128*127*3], 128, 128},
		"a flat picture":              {flat, 128, 128},
		"a grey block":                {unclear, 128, 128},
		"a wrong bit":                 {flipped, 128, 128},
		"a size beyond all integers":  {make([]byte, 3000), math.MaxInt / 2, math.MaxInt / 2},
		"a width beyond all pictures": {make([]byte, 3000), math.MaxInt, 128},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if v, ok := Read(c.data, c.width, c.height); ok {
				t.Errorf("read %#x", v)
			}
		})
	}
}

func TestNoisePicturesAreNotBelieved(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	data := make([]byte, 64*64*3)
	wrong := 0
	for range 3000 {
		for i := range data {
			data[i] = byte(r.Uint32())
		}
		if _, ok := Read(data, 64, 64); ok {
			wrong++
		}
	}
	if wrong > 1 {
		t.Errorf("%d of 3000 noise pictures were read", wrong)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(drawn(64, 64, 0xdeadbeef), 64, 64)
	f.Add(drawn(48, 56, 1), 48, 56)
	f.Add([]byte{}, 0, 0)
	f.Add([]byte{1, 2, 3}, 1, 1)
	f.Add(make([]byte, 100), -3, math.MaxInt)
	f.Fuzz(func(t *testing.T, data []byte, width, height int) {
		v, ok := Read(data, width, height)
		if !ok {
			return
		}
		DrawRGB(data, width, height, v)
		if again, ok := Read(data, width, height); !ok || again != v {
			t.Errorf("read %#x, then after drawing it %#x, %v", v, again, ok)
		}
	})
}

func BenchmarkRead224(b *testing.B) {
	data := drawn(224, 224, 42)
	b.ReportAllocs()
	for b.Loop() {
		Read(data, 224, 224)
	}
}

func BenchmarkDrawI420(b *testing.B) {
	y := make([]byte, 1920*1080)
	b.ReportAllocs()
	for b.Loop() {
		DrawI420(y, 1920, 1920, 1080, 42)
	}
}

// drawn gives a busy picture with a counter in it.
func drawn(width, height int, v uint32) []byte {
	data := make([]byte, width*height*3)
	for i := range data {
		data[i] = byte(90 + i*7%100)
	}
	DrawRGB(data, width, height, v)
	return data
}

// level8 rounds to a byte.
func level8(v float64) byte { return byte(math.Max(0, math.Min(255, math.Round(v)))) }

// fromI420 makes RGB of a luma plane under the colours of a blue sky, by BT.601 video range.
func fromI420(y []byte, stride, width, height int) []byte {
	const cb, cr = 150 - 128, 112 - 128
	out := make([]byte, 0, width*height*3)
	for row := range height {
		for x := range width {
			l := 1.164 * (float64(y[row*stride+x]) - 16)
			out = append(out, level8(l+1.596*cr), level8(l-0.392*cb-0.813*cr), level8(l+2.017*cb))
		}
	}
	return out
}

// scale resizes as torchvision's antialiased bilinear filter does: a triangle as wide as two target pixels.
func scale(data []byte, w, h, toW, toH int) []byte {
	rows := make([]float64, toW*h*3)
	for x, taps := range triangles(w, toW) {
		for y := range h {
			for _, tap := range taps {
				for c := range 3 {
					rows[(y*toW+x)*3+c] += tap.weight * float64(data[(y*w+tap.at)*3+c])
				}
			}
		}
	}
	out := make([]byte, toW*toH*3)
	for y, taps := range triangles(h, toH) {
		for i := range toW * 3 {
			sum := 0.0
			for _, tap := range taps {
				sum += tap.weight * rows[tap.at*toW*3+i]
			}
			out[y*toW*3+i] = level8(sum)
		}
	}
	return out
}

// tap is one source pixel of a filter.
type tap struct {
	at     int
	weight float64
}

// triangles gives the filter of each target pixel.
func triangles(from, to int) [][]tap {
	out := make([][]tap, to)
	ratio := float64(from) / float64(to)
	reach := math.Max(1, ratio)
	for i := range out {
		centre := (float64(i) + 0.5) * ratio
		sum := 0.0
		for at := max(0, int(centre-reach)); at < min(from, int(centre+reach)+1); at++ {
			if weight := 1 - math.Abs(float64(at)+0.5-centre)/reach; weight > 0 {
				out[i] = append(out[i], tap{at, weight})
				sum += weight
			}
		}
		for k := range out[i] {
			out[i][k].weight /= sum
		}
	}
	return out
}
