package motion

import (
	"image"
	"image/color"
	"math/rand/v2"
	"testing"

	"gocv.io/x/gocv"
)

// OpenCV's steps are the reference: the gate takes the same ones, without OpenCV's 22 MB in its box.

// grey is a picture of smooth patches and noise.
func grey(of size, seed uint64) []uint8 {
	random := rand.New(rand.NewPCG(seed, 1))
	data := make([]uint8, of.width*of.height)
	for i := range data {
		x, y := i%of.width, i/of.width
		data[i] = uint8((x*3+y*5+int(seed)*40)%200 + random.IntN(50))
	}
	return data
}

// mask has specks and things of all sizes.
func mask(of size, seed uint64) []uint8 {
	random := rand.New(rand.NewPCG(seed, 2))
	data := make([]uint8, of.width*of.height)
	for range 60 {
		x, y, w, h := random.IntN(of.width), random.IntN(of.height), 1+random.IntN(12), 1+random.IntN(12)
		for v := y; v < min(y+h, of.height); v++ {
			for u := x; u < min(x+w, of.width); u++ {
				data[v*of.width+u] = 1
			}
		}
	}
	return data
}

func mat(t testing.TB, of size, data []uint8) gocv.Mat {
	t.Helper()
	m, err := gocv.NewMatFromBytes(of.height, of.width, gocv.MatTypeCV8U, append([]byte(nil), data...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

var sizes = []size{{160, 90}, {90, 160}, {160, 16}, {160, 160}}

func TestTheStepsAreOpenCVs(t *testing.T) {
	for _, of := range sizes {
		for seed := range uint64(5) {
			var s scratch
			s.resize(of)

			found, want := grey(of, seed), mat(t, of, grey(of, seed))
			s.blur(found, of)
			must(t, gocv.CopyMakeBorder(want, &want, 1, 1, 1, 1, gocv.BorderReplicate, color.RGBA{}))
			must(t, gocv.Blur(want, &want, image.Pt(3, 3)))
			inner := want.Region(image.Rect(1, 1, 1+of.width, 1+of.height))
			want = inner.Clone()
			inner.Close()
			if n := differ(found, want.ToBytes(), 1); n > 0 {
				t.Errorf("%v: %d pixels are blurred otherwise", of, n)
			}

			found, want = mask(of, seed), mat(t, of, mask(of, seed))
			kernel := gocv.GetStructuringElement(gocv.MorphRect, image.Pt(3, 3))
			defer kernel.Close()
			must(t, gocv.MorphologyEx(want, &want, gocv.MorphOpen, kernel))
			s.open(found, of)
			if n := differ(found, want.ToBytes(), 0); n > 0 {
				t.Errorf("%v: %d pixels are left otherwise", of, n)
			}

			if found, want := s.largest(found, of), largestOf(want); found != want {
				t.Errorf("%v: the largest thing has %d pixels, want %d", of, found, want)
			}
		}
	}
}

// largestOf is OpenCV's answer.
func largestOf(m gocv.Mat) int {
	labels, stats, middles := gocv.NewMat(), gocv.NewMat(), gocv.NewMat()
	defer labels.Close()
	defer stats.Close()
	defer middles.Close()
	most := 0
	for i := 1; i < gocv.ConnectedComponentsWithStats(m, &labels, &stats, &middles); i++ {
		most = max(most, int(stats.GetIntAt(i, int(gocv.CC_STAT_AREA))))
	}
	return most
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func differ(a, b []byte, by int) (n int) {
	for i := range a {
		if d := int(a[i]) - int(b[i]); d > by || -d > by {
			n++
		}
	}
	return n
}

// The same steps on the same small picture, here and in OpenCV.
func BenchmarkSteps(b *testing.B) {
	of := size{160, 90}
	b.Run("here", func(b *testing.B) {
		var s scratch
		s.resize(of)
		pixels, things := grey(of, 1), mask(of, 1)
		again := make([]uint8, len(things))
		for b.Loop() {
			s.blur(pixels, of)
			copy(again, things)
			s.open(again, of)
			s.largest(again, of)
		}
	})
	b.Run("OpenCV", func(b *testing.B) {
		pixels, things, again := mat(b, of, grey(of, 1)), mat(b, of, mask(of, 1)), gocv.NewMat()
		defer again.Close()
		kernel := gocv.GetStructuringElement(gocv.MorphRect, image.Pt(3, 3))
		defer kernel.Close()
		for b.Loop() {
			_ = gocv.Blur(pixels, &pixels, image.Pt(3, 3)) // the test above looks at errors
			_ = gocv.MorphologyEx(things, &again, gocv.MorphOpen, kernel)
			largestOf(again)
		}
	})
}
