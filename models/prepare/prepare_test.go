package prepare

import (
	"fmt"
	"math"
	"testing"

	"sightline/models"
)

func fitted(width, height int, layout models.Layout, dtype models.DType, card models.Card) *models.Fit {
	channels := 3
	if card.Color == models.Gray {
		channels = 1
	}
	return &models.Fit{
		Input: models.Tensor{Name: "image", Type: dtype}, Layout: layout,
		Width: width, Height: height, Channels: channels, Card: &card,
	}
}

func newPreparer(t testing.TB, f *models.Fit) *Preparer {
	p, err := New(f)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Two pixels above each other: a red one and a mixed one.
var twoPixels = []byte{255, 0, 0, 10, 20, 30}

func TestFloatInputs(t *testing.T) {
	imagenet := models.Card{Color: models.RGB, Scale: 255, Mean: []float64{0.485, 0.456, 0.406}, Std: []float64{0.229, 0.224, 0.225}}
	norm := func(x, mean, std float64) float32 { return float32((x/255 - mean) / std) }
	tests := []struct {
		name   string
		layout models.Layout
		card   models.Card
		want   []float32
	}{
		{"torchvision's normalisation, planes of channels", models.NCHW, imagenet, []float32{
			norm(255, 0.485, 0.229), norm(10, 0.485, 0.229),
			norm(0, 0.456, 0.224), norm(20, 0.456, 0.224),
			norm(0, 0.406, 0.225), norm(30, 0.406, 0.225)}},
		{"torchvision's normalisation, channels together", models.NHWC, imagenet, []float32{
			norm(255, 0.485, 0.229), norm(0, 0.456, 0.224), norm(0, 0.406, 0.225),
			norm(10, 0.485, 0.229), norm(20, 0.456, 0.224), norm(30, 0.406, 0.225)}},
		{"Caffe's mean in bytes", models.NHWC, models.Card{Color: models.BGR, Scale: 1, Mean: []float64{104, 117, 123}},
			[]float32{151, -117, -123, -94, -97, -93}},
		{"only a scale", models.NCHW, models.Card{Color: models.RGB, Scale: 127.5}, []float32{2, float32(10 / 127.5), 0, float32(20 / 127.5), 0, float32(30 / 127.5)}},
		{"grey: luma, then the formula", models.NCHW, models.Card{Color: models.Gray, Scale: 1, Mean: []float64{6}, Std: []float64{2}},
			[]float32{(76 - 6) / 2., (18 - 6) / 2.}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := newPreparer(t, fitted(1, 2, test.layout, models.Float32, test.card))
			got := make([]float32, p.Elements())
			p.Float32(got, twoPixels)
			half := newPreparer(t, fitted(1, 2, test.layout, models.Float16, test.card))
			got16 := make([]uint16, half.Elements())
			half.Float16(got16, twoPixels)
			for i := range test.want {
				if got[i] != test.want[i] {
					t.Errorf("element %d: %v, want %v", i, got[i], test.want[i])
				}
				if got16[i] != Half(test.want[i]) {
					t.Errorf("half-precision element %d: %v, want %v", i, Single(got16[i]), test.want[i])
				}
			}
		})
	}
}

func TestByteInputs(t *testing.T) {
	card := models.Card{Color: models.RGB}
	tests := []struct {
		name   string
		layout models.Layout
		dtype  models.DType
		want   []byte
	}{
		{"uint8 channels together are the frame itself", models.NHWC, models.Uint8, twoPixels},
		{"uint8 planes", models.NCHW, models.Uint8, []byte{255, 10, 0, 20, 0, 30}},
		{"int8 is 128 less", models.NHWC, models.Int8, []byte{127, 0x80, 0x80, 0x8a, 0x94, 0x9e}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := newPreparer(t, fitted(1, 2, test.layout, test.dtype, card))
			got := make([]byte, p.Elements())
			p.Bytes(got, twoPixels)
			if string(got) != string(test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestOtherTypesAreRefused(t *testing.T) {
	if _, err := New(fitted(1, 1, models.NHWC, "int64", models.Card{Color: models.RGB})); err == nil {
		t.Error("int64 was taken")
	}
}

func TestHalfPrecision(t *testing.T) {
	known := map[float32]uint16{ // IEEE 754-2008, binary16
		0: 0, 1: 0x3c00, -2: 0xc000, 65504: 0x7bff, 65520: 0x7c00, 1e9: 0x7c00, 5.9604645e-8: 1, 2.9e-8: 0,
		6.1035156e-5: 0x0400, 0.33325195: 0x3555, 1.00048828125: 0x3c00, 1.00146484375: 0x3c02, 2047.5: 0x6800, 6.103e-5: 0x0400,
	}
	for f, want := range known {
		if got := Half(f); got != want {
			t.Errorf("Half(%g) = %#04x, want %#04x", f, got, want)
		}
	}
	for h := range 1 << 16 {
		f := Single(uint16(h))
		if math.IsNaN(float64(f)) {
			if back := Half(f); back&0x7c00 != 0x7c00 || back&0x3ff == 0 {
				t.Fatalf("NaN %#04x became %#04x", h, back)
			}
			continue
		}
		if got := Half(f); got != uint16(h) {
			t.Fatalf("%#04x is %g, which is %#04x", h, f, got)
		}
	}
}

func TestNothingIsAllocated(t *testing.T) {
	p := newPreparer(t, fitted(224, 224, models.NCHW, models.Float32, models.Card{Color: models.RGB, Scale: 255}))
	dst, frame := make([]float32, p.Elements()), make([]byte, 224*224*3)
	if n := testing.AllocsPerRun(10, func() { p.Float32(dst, frame) }); n != 0 {
		t.Errorf("%v allocations a frame", n)
	}
}

// The bytes a second are those of the frame; BenchmarkCopy is the floor.
func BenchmarkPrepare(b *testing.B) {
	frame := make([]byte, 224*224*3)
	for i := range frame {
		frame[i] = byte(i * 31)
	}
	card := models.Card{Color: models.RGB, Scale: 255, Mean: []float64{0.485, 0.456, 0.406}, Std: []float64{0.229, 0.224, 0.225}}
	for _, layout := range []models.Layout{models.NCHW, models.NHWC} {
		b.Run(fmt.Sprintf("float32 %s", layout), func(b *testing.B) {
			p := newPreparer(b, fitted(224, 224, layout, models.Float32, card))
			dst := make([]float32, p.Elements())
			b.SetBytes(int64(len(frame)))
			b.ReportAllocs()
			for b.Loop() {
				p.Float32(dst, frame)
			}
		})
	}
	b.Run("float16 nchw", func(b *testing.B) {
		p := newPreparer(b, fitted(224, 224, models.NCHW, models.Float16, card))
		dst := make([]uint16, p.Elements())
		b.SetBytes(int64(len(frame)))
		for b.Loop() {
			p.Float16(dst, frame)
		}
	})
	b.Run("uint8 nhwc", func(b *testing.B) {
		p := newPreparer(b, fitted(224, 224, models.NHWC, models.Uint8, models.Card{Color: models.RGB}))
		dst := make([]byte, p.Elements())
		b.SetBytes(int64(len(frame)))
		for b.Loop() {
			p.Bytes(dst, frame)
		}
	})
}

// BenchmarkCopy copies as many bytes as a float32 input has.
func BenchmarkCopy(b *testing.B) {
	src, dst := make([]float32, 224*224*3), make([]float32, 224*224*3)
	b.SetBytes(224 * 224 * 3)
	for b.Loop() {
		copy(dst, src)
	}
}
