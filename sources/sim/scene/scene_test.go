package scene

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gocv.io/x/gocv"
)

// open makes a scene that ends with the test.
func open(t testing.TB, opt Options) *Scene {
	t.Helper()
	s, err := New(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

// picture gives a copy of the bytes of a rendered moment.
func picture(t testing.TB, s *Scene, at time.Duration) []byte {
	t.Helper()
	m := gocv.NewMat()
	defer m.Close()
	if err := s.Render(at, &m); err != nil {
		t.Fatal(err)
	}
	if m.Type() != gocv.MatTypeCV8UC3 || m.Cols() != s.opt.Width || m.Rows() != s.opt.Height {
		t.Fatalf("picture at %v is %v of %dx%d", at, m.Type(), m.Cols(), m.Rows())
	}
	return m.ToBytes()
}

// mean is the mean level of a picture.
func mean(data []byte) float64 {
	sum := 0
	for _, v := range data {
		sum += int(v)
	}
	return float64(sum) / float64(len(data))
}

// apart is the mean distance of two pictures.
func apart(a, b []byte) float64 {
	sum := 0.0
	for i := range a {
		sum += math.Abs(float64(a[i]) - float64(b[i]))
	}
	return sum / float64(len(a))
}

func TestOneSeedGivesTheSamePictures(t *testing.T) {
	first, second := open(t, Options{Seed: 9}), open(t, Options{Seed: 9})
	times := []time.Duration{0, 1234 * time.Millisecond, 17 * time.Second, 61 * time.Second}
	want := map[time.Duration][]byte{}
	for _, at := range times {
		want[at] = picture(t, first, at)
	}
	slices.Reverse(times)
	for _, at := range times {
		if !bytes.Equal(want[at], picture(t, second, at)) {
			t.Errorf("at %v the pictures differ", at)
		}
	}
}

func TestOtherSeedsAreOtherPlaces(t *testing.T) {
	shots := [][]byte{}
	for _, seed := range []uint64{1, 2, 3, 100000, 100001} {
		shots = append(shots, picture(t, open(t, Options{Seed: seed, Grain: -1}), 0))
	}
	for i := range shots {
		for j := range i {
			if d := apart(shots[i], shots[j]); d < 5 {
				t.Errorf("places %d and %d are only %.1f apart", j, i, d)
			}
		}
	}
}

func TestThePictureChangesOverTime(t *testing.T) {
	s := open(t, Options{Seed: 4})
	last := picture(t, s, 0)
	for at := 66 * time.Millisecond; at < time.Second; at += 66 * time.Millisecond {
		next := picture(t, s, at)
		if apart(last, next) < 0.5 {
			t.Errorf("at %v nothing has changed", at)
		}
		last = next
	}
}

func TestNightIsDarkerThanDusk(t *testing.T) {
	s := open(t, Options{Seed: 4})
	day, dusk, night := mean(picture(t, s, 0)), mean(picture(t, s, 14*time.Second)), mean(picture(t, s, 27*time.Second))
	if !(day > dusk+10 && dusk > night+10 && night > 10) {
		t.Errorf("levels are %.0f by day, %.0f at dusk, %.0f by night", day, dusk, night)
	}
}

func TestThePictureShowsWhatTheTruthSays(t *testing.T) {
	s := open(t, Options{Seed: 12, Width: 320, Height: 180, Grain: -1})
	seen := map[string]int{}
	for at := time.Duration(0); at < 70*time.Second; at += 400 * time.Millisecond {
		truth := s.Truth(at)
		if !truth.Settled {
			continue
		}
		inside, outside := s.footprint(t, at)
		seen[truth.Class]++
		if truth.Class == "empty" && inside+outside > 0 {
			t.Errorf("at %v it is empty, but %d pixels are touched", at, inside+outside)
		}
		if truth.Class != "empty" && (inside < 120 || outside > inside) {
			t.Errorf("at %v the %s touches %d pixels where it should be and %d elsewhere", at, truth.Class, inside, outside)
		}
	}
	for _, c := range Classes() {
		if seen[c] == 0 {
			t.Errorf("%s was never settled", c)
		}
	}
}

// footprint counts the pixels that the actor of a moment changes, within the truth's extent and elsewhere.
func (s *Scene) footprint(t *testing.T, at time.Duration) (inside, outside int) {
	t.Helper()
	seg := s.timeline.segment(at)
	light := skyAt(at, s.opt.Day)
	if err := s.backdrop.paint(at, light, &s.canvas, &s.scratch); err != nil {
		t.Fatal(err)
	}
	before := s.canvas.ToBytes()
	if err := s.paintActor(seg, at, light); err != nil {
		t.Fatal(err)
	}
	after := s.canvas.ToBytes()
	left, right := 0.0, 0.0
	if seg.class != empty {
		left, right = seg.actor.extent(seg.progress(at), float64(s.opt.Width)/float64(s.opt.Height))
	}
	for i := 0; i < len(before); i += 3 {
		if bytes.Equal(before[i:i+3], after[i:i+3]) {
			continue
		}
		x := float64(i/3%s.opt.Width) / float64(s.opt.Height)
		if x >= left && x <= right {
			inside++
		} else {
			outside++
		}
	}
	return inside, outside
}

func TestAnySizeCanBeDrawn(t *testing.T) {
	for _, size := range [][2]int{{32, 32}, {320, 180}, {321, 243}, {180, 320}, {1280, 720}} {
		s := open(t, Options{Seed: 3, Width: size[0], Height: size[1]})
		for at := time.Duration(0); at < 30*time.Second; at += 3 * time.Second {
			picture(t, s, at)
		}
	}
}

func TestATargetOfAnotherSizeIsMadeAnew(t *testing.T) {
	s := open(t, Options{Width: 64, Height: 48})
	m := gocv.NewMatWithSize(10, 10, gocv.MatTypeCV8UC1)
	defer m.Close()
	if err := s.Render(0, &m); err != nil {
		t.Fatal(err)
	}
	if m.Cols() != 64 || m.Rows() != 48 || m.Channels() != 3 {
		t.Errorf("target is %dx%d with %d channels", m.Cols(), m.Rows(), m.Channels())
	}
}

func TestBeforeTheBeginningItIsTheBeginning(t *testing.T) {
	s := open(t, Options{Width: 64, Height: 48})
	if !bytes.Equal(picture(t, s, -time.Second), picture(t, s, 0)) || s.Truth(-time.Second) != s.Truth(0) {
		t.Error("a second before the beginning differs from it")
	}
}

func TestWhatCannotBeDrawnIsRefused(t *testing.T) {
	cases := map[string]struct {
		opt  Options
		want string
	}{
		"too narrow":     {Options{Width: 8}, "8x360"},
		"too high":       {Options{Height: 10000}, "640x10000"},
		"negative width": {Options{Width: -640}, "-640x360"},
		"a negative day": {Options{Day: -time.Second}, "-1s"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s, err := New(c.opt)
			if err == nil {
				s.Close()
				t.Fatal("accepted")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("%q does not name %q", err, c.want)
			}
		})
	}
}

func TestClassesAreTheModelsLabels(t *testing.T) {
	want := []string{"empty", "person", "bicycle", "car", "truck", "dog"}
	if got := Classes(); !slices.Equal(got, want) {
		t.Errorf("classes are %v, want %v", got, want)
	}
}

func TestTruthMayBeAskedDuringRendering(t *testing.T) {
	s := open(t, Options{Width: 64, Height: 48})
	var asking sync.WaitGroup
	asking.Go(func() {
		for i := range 500 {
			s.Truth(time.Duration(i) * 100 * time.Millisecond)
		}
	})
	for i := range 50 {
		picture(t, s, time.Duration(i)*time.Second)
	}
	asking.Wait()
}

func BenchmarkRender(b *testing.B) {
	s := open(b, Options{Seed: 2026})
	m := gocv.NewMat()
	defer m.Close()
	b.ReportAllocs()
	at := time.Duration(0)
	for b.Loop() {
		if err := s.Render(at, &m); err != nil {
			b.Fatal(err)
		}
		at += 66 * time.Millisecond
	}
}
