package scene

import (
	"image/color"
	"math"
	"time"
)

// light is how much of each colour is thrown back, 1 being all.
type light struct{ r, g, b float64 }

// on gives a colour in this light.
func (l light) on(c color.RGBA) color.RGBA {
	part := func(v uint8, by float64) uint8 { return uint8(clamp(float64(v)*by, 0, 255)) }
	return color.RGBA{R: part(c.R, l.r), G: part(c.G, l.g), B: part(c.B, l.b)}
}

// toward goes from one light to another; share 0 is the first.
func (l light) toward(other light, share float64) light {
	return light{
		l.r + (other.r-l.r)*share,
		l.g + (other.g-l.g)*share,
		l.b + (other.b-l.b)*share,
	}
}

// The three lights that a day is mixed of.
func dayLight() light   { return light{1, 1, 1} }
func duskLight() light  { return light{0.72, 0.56, 0.54} }
func nightLight() light { return light{0.31, 0.35, 0.48} }

// sky is the state of the light at one moment.
type sky struct {
	day  float64 // 0 in the night, 1 at noon
	sun  float64 // strength of the sun's shadows, 0 to 1
	turn float64 // where the sun (or, by night, the moon) stands on its way, 0 to 1
	side float64 // where the light comes from, -1 left to 1 right
	gain float64 // exposure: clouds and the camera's regulation
}

// skyAt gives the light at a time from the beginning, when a day takes so long.
func skyAt(at, day time.Duration) sky {
	angle := 2*math.Pi*float64(at%day)/float64(day) + 0.35
	high := math.Cos(angle) // height of the sun, -1 to 1
	bright := clamp(0.5+0.95*high, 0, 1)
	bright = bright * bright * (3 - 2*bright)
	turn := math.Mod(angle/math.Pi+0.5, 1)
	seconds := at.Seconds()
	return sky{
		day:  bright,
		sun:  clamp(high*1.6, 0, 1),
		turn: turn,
		side: 1 - 2*turn,
		gain: 1 + 0.05*math.Sin(seconds*0.9) + 0.03*math.Sin(seconds*2.3+1),
	}
}

// ambient is the light that falls on everything.
func (s sky) ambient() light {
	if s.day < 0.5 {
		return nightLight().toward(duskLight(), s.day*2)
	}
	return duskLight().toward(dayLight(), s.day*2-1)
}

// on is the light at a place x, in picture heights from the left, with a street lamp at another.
func (s sky) on(x, lamp float64) light {
	near := math.Exp(-(x-lamp)*(x-lamp)/0.12) * (1 - s.day) * 0.5
	l := s.ambient()
	return light{l.r + near, l.g + near*0.85, l.b + near*0.55}
}
