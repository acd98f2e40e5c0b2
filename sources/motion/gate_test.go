package motion

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"sightline/sources"
	"sightline/sources/picture"
)

var usual = sources.Motion{MinArea: 0.005, Threshold: 25}

const width, height = 160, 120

// scene is a place in which things can stand.
type scene struct {
	light  float64 // 1: as it is
	noise  float64 // standard deviation
	random *rand.Rand
	boxes  [][4]int // left, top, right, bottom
	place  []float64
}

func newScene() *scene {
	s := &scene{light: 1, random: rand.New(rand.NewPCG(1, 2)), place: make([]float64, width*height)}
	for i := range s.place {
		x, y := float64(i%width), float64(i/width)
		s.place[i] = 60 + 50*math.Sin(x/8)*math.Cos(y/6) + y/2
	}
	return s
}

func (s *scene) at(pts time.Duration) *picture.Picture {
	data := make([]byte, width*height)
	for i, v := range s.place {
		for _, b := range s.boxes {
			if x, y := i%width, i/width; x >= b[0] && x < b[2] && y >= b[1] && y < b[3] {
				v = 220
			}
		}
		v *= s.light
		if s.noise > 0 {
			v += s.noise * s.random.NormFloat64()
		}
		data[i] = byte(min(max(v, 0), 255))
	}
	p := &picture.Picture{Width: width, Height: height, Model: picture.Gray, FullRange: true, Depth: 8, PTS: pts}
	p.Components[0] = picture.Component{Data: data, Stride: width, Step: 1}
	return p
}

// watch shows pictures at 5 a second to a gate and returns for each whether it went through.
func watch(t *testing.T, g *Gate, from, pictures int, show func(i int) *scene) []bool {
	t.Helper()
	var through []bool
	for i := from; i < from+pictures; i++ {
		m, err := g.Moves(show(i).at(time.Duration(i) * 200 * time.Millisecond))
		if err != nil {
			t.Fatal(err)
		}
		through = append(through, m)
	}
	return through
}

func count(through []bool) (n int) {
	for _, m := range through {
		if m {
			n++
		}
	}
	return n
}

func TestAStillPlaceIsNoMotion(t *testing.T) {
	for _, tt := range []struct {
		name string
		show func(s *scene, i int)
	}{
		{"at all", func(*scene, int) {}},
		{"with the noise of a night", func(s *scene, _ int) { s.noise = 15 }},
		{"while the sun goes behind a cloud", func(s *scene, i int) { s.light = 1 - 0.5*min(float64(i)/60, 1) }},
		{"when the light is switched on", func(s *scene, i int) {
			s.light = 0.3
			if i > 30 {
				s.light = 1.5
			}
		}},
		{"under a lamp that flickers", func(s *scene, i int) { s.light = 1 + 0.2*float64(i%2) }},
		{"while a leaf moves", func(s *scene, i int) { s.boxes = [][4]int{{50 + i%3*2, 50, 53 + i%3*2, 53}} }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g, s := New(usual), newScene()
			defer g.Close()
			through := watch(t, g, 0, 100, func(i int) *scene { tt.show(s, i); return s })
			if n := count(through[1:]); n > 3 {
				t.Errorf("%d of 100 pictures went through", n)
			}
		})
	}
}

func TestWhatWalksThroughIsMotion(t *testing.T) {
	for _, noise := range []float64{0, 8} {
		g, s := New(usual), newScene()
		defer g.Close()
		s.noise = noise
		through := watch(t, g, 0, 60, func(i int) *scene {
			s.boxes = nil
			if i >= 20 && i < 40 {
				s.boxes = [][4]int{{5 + 5*(i-20), 40, 20 + 5*(i-20), 80}}
			}
			return s
		})
		if n := count(through[20:40]); n != 20 {
			t.Errorf("noise %g: %d of 20 pictures with motion went through", noise, n)
		}
		if n := count(through[1:20]) + count(through[42:]); n > 0 {
			t.Errorf("noise %g: %d pictures without motion went through", noise, n)
		}
	}
}

func TestHoldLetsPicturesThroughForAWhile(t *testing.T) {
	g, s := New(sources.Motion{MinArea: 0.005, Threshold: 25, Hold: 2 * time.Second}), newScene()
	defer g.Close()
	through := watch(t, g, 0, 60, func(i int) *scene {
		s.boxes = nil
		if i == 30 {
			s.boxes = [][4]int{{5, 40, 30, 80}}
		}
		return s
	})
	for i, m := range through {
		want := i < 10 || i >= 30 && i < 40 // 2 s from the start, and from the motion
		if m != want {
			t.Errorf("picture %d: %v", i, m)
		}
	}
}

func TestMasksHideMotion(t *testing.T) {
	box := [][4]int{{80, 0, 155, 50}} // upper right
	for _, tt := range []struct {
		name string
		mask []float64
		want bool
	}{
		{"a rectangle over it", []float64{0.5, 0, 1, 0.5}, false},
		{"a rectangle beside it", []float64{0, 0, 0.5, 1}, true},
		{"a triangle over it", []float64{0.4, 0, 1, 0, 1, 1.0}, false},
		{"a triangle beside it", []float64{0, 0, 0, 1, 1, 1}, true},
		{"nearly all", []float64{0, 0.01, 1, 1}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g, s := New(sources.Motion{MinArea: 0.02, Threshold: 25, Masks: map[string][]float64{"here": tt.mask}}), newScene()
			defer g.Close()
			if tt.name == "a triangle over it" {
				box = [][4]int{{125, 0, 159, 50}}
			}
			through := watch(t, g, 0, 20, func(i int) *scene {
				s.boxes = nil
				if i == 15 {
					s.boxes = box
				}
				return s
			})
			if through[15] != tt.want {
				t.Errorf("motion %v", through[15])
			}
		})
	}
}

func TestAnotherSizeBeginsAnew(t *testing.T) {
	g, s := New(usual), newScene()
	defer g.Close()
	watch(t, g, 0, 10, func(int) *scene { return s })
	p := s.at(3 * time.Second)
	p.Height = 60
	if m, err := g.Moves(p); err != nil || !m {
		t.Errorf("%v, %v", m, err)
	}
	if m, err := g.Moves(p); err != nil || m {
		t.Errorf("the same again: %v, %v", m, err)
	}
}

func TestAPictureThatCannotBeReadIsAnError(t *testing.T) {
	g := New(usual)
	defer g.Close()
	p := newScene().at(0)
	p.Components[0].Data = p.Components[0].Data[:10]
	if _, err := g.Moves(p); err == nil {
		t.Error("no error")
	}
}

func TestTallAndFlatPicturesHaveASmallOne(t *testing.T) {
	for _, tt := range []struct{ width, height, wantWidth, wantHeight int }{
		{1920, 1080, 160, 90}, {1080, 1920, 90, 160}, {100, 100, 160, 160}, {32768, 16, 160, 16}, {16, 4320, 16, 160},
	} {
		if s := sizeOf(&picture.Picture{Width: tt.width, Height: tt.height}); s != (size{tt.wantWidth, tt.wantHeight}) {
			t.Errorf("%d×%d: %v", tt.width, tt.height, s)
		}
	}
}
