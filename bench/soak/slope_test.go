package soak

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// history is samples every five seconds: a level, growth an hour, noise that lasts, and a new life with a
// level of its own every ten minutes.
func history(length time.Duration, perHour, noise float64, restarts bool) (points []point) {
	random := rand.New(rand.NewPCG(1, 2))
	drift := 0.0
	for at := time.Duration(0); at < length; at += 5 * time.Second {
		life := 0
		if restarts {
			life = int(at / (10 * time.Minute))
		}
		drift = 0.8*drift + noise*random.NormFloat64()
		grown := perHour * (at - time.Duration(life)*10*time.Minute).Hours()
		points = append(points, point{at, life, 100 + 7*float64(life%3) + grown + drift})
	}
	return points
}

func TestGrowthIsToldFromNoise(t *testing.T) {
	for name, c := range map[string]struct {
		points []point
		floor  float64
		want   string
	}{
		"an hour without growth":                         {history(time.Hour, 0, 1, false), 4, Flat},
		"an hour that grows by 20":                       {history(time.Hour, 20, 1, false), 4, Growing},
		"an hour that grows by less than the floor":      {history(time.Hour, 3, 0.2, false), 4, Flat},
		"an hour in six lives that each grow by 10":      {history(time.Hour, 60, 0.3, true), 4, Growing},
		"an hour in six lives, of which each starts new": {history(time.Hour, 0, 0.3, true), 8, Flat},
		"two minutes of noise":                           {history(2*time.Minute, 0, 4, false), 1, Unseen},
		"half a minute that grows, as a start does":      {history(30*time.Second, 1000, 0, false), 1, Unknown},
		"three samples":                                  {history(15*time.Second, 0, 1, false), 1, Unknown},
		"none":                                           {nil, 1, Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			if s := fit("memory", "MiB", c.points, c.floor); s.Verdict != c.want {
				t.Errorf("%+v, want %s", s, c.want)
			}
		})
	}
}

func TestTheSlopeIsWhatItIs(t *testing.T) {
	s := fit("memory", "MiB", history(time.Hour, 12, 0, false), 1)
	if math.Abs(s.PerHour-12) > 1e-6 || s.Margin > 1e-6 {
		t.Errorf("%+v, want 12 an hour", s)
	}
}

// The quantiles are those of the tables.
func TestStudent(t *testing.T) {
	for free, want := range map[int]float64{3: 3.182, 5: 2.571, 10: 2.228, 30: 2.042, 1000: 1.962} {
		if got := student(free); math.Abs(got-want) > 0.02*want {
			t.Errorf("student(%d) = %.3f, want %.3f", free, got, want)
		}
	}
}
