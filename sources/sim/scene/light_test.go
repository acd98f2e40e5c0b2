package scene

import (
	"image/color"
	"testing"
	"time"
)

func TestTheLightStaysWithinItsBounds(t *testing.T) {
	for at := time.Duration(0); at < 3*time.Minute; at += 50 * time.Millisecond {
		s := skyAt(at, time.Minute)
		for name, v := range map[string]float64{"day": s.day, "sun": s.sun, "turn": s.turn, "side": (s.side + 1) / 2} {
			if v < 0 || v > 1 {
				t.Fatalf("%s at %v is %v", name, at, v)
			}
		}
		if s.gain < 0.9 || s.gain > 1.1 {
			t.Fatalf("gain at %v is %v", at, s.gain)
		}
	}
}

func TestADayHasItsTimes(t *testing.T) {
	day := func(at time.Duration) float64 { return skyAt(at, time.Minute).day }
	if day(0) < 0.9 {
		t.Errorf("the beginning is %v bright, want day", day(0))
	}
	if d := day(14 * time.Second); d < 0.05 || d > 0.8 {
		t.Errorf("after 14 s it is %v bright, want dusk", d)
	}
	if day(27*time.Second) > 0.05 {
		t.Errorf("after 27 s it is %v bright, want night", day(27*time.Second))
	}
	if day(time.Minute) != day(0) {
		t.Errorf("a new day begins with %v, the first with %v", day(time.Minute), day(0))
	}
}

func TestALampLightsWhatIsNear(t *testing.T) {
	night := skyAt(27*time.Second, time.Minute)
	if near, far := night.on(1, 1), night.on(0, 1); near.r <= far.r+0.2 {
		t.Errorf("light by the lamp %v, far from it %v", near, far)
	}
	noon := skyAt(57*time.Second, time.Minute)
	if near, far := noon.on(1, 1), noon.on(0, 1); near.r-far.r > 0.01 {
		t.Errorf("by day, light by the lamp %v, far from it %v", near, far)
	}
}

func TestColoursAreMixedAndLit(t *testing.T) {
	a, b := color.RGBA{R: 0, G: 100, B: 255}, color.RGBA{R: 200, G: 0, B: 255}
	cases := []struct {
		name      string
		got, want color.RGBA
	}{
		{"the first", mix(a, b, 0), a},
		{"the second", mix(a, b, 1), b},
		{"half of each", mix(a, b, 0.5), color.RGBA{R: 100, G: 50, B: 255}},
		{"no light", light{}.on(a), color.RGBA{}},
		{"too much light", light{9, 1, 1}.on(b), color.RGBA{R: 255, G: 0, B: 255}},
	}
	for _, c := range cases {
		if c.got != c.want {
			t.Errorf("%s: %v, want %v", c.name, c.got, c.want)
		}
	}
}
