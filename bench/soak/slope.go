package soak

import (
	"math"
	"time"
)

// Slope is how something the program uses changes while it lives.
type Slope struct {
	Name    string  `json:"name"`
	Unit    string  `json:"unit"`
	Mean    float64 `json:"mean"`
	PerHour float64 `json:"per_hour"`
	// Margin is half the interval that PerHour is in with 95 % confidence.
	Margin float64 `json:"margin_per_hour"`
	// Floor is what growth over the time that was looked at has to exceed to be taken for growth.
	Floor   float64 `json:"floor"`
	Hours   float64 `json:"hours"` // looked at
	Blocks  int     `json:"blocks"`
	Verdict string  `json:"verdict"`
}

// The verdicts. Only Growing is bad.
const (
	Flat    = "flat"           // growth by more than the floor is ruled out
	Unseen  = "no growth seen" // neither seen nor ruled out
	Growing = "GROWING"        // by more than the floor
	Unknown = "too short to tell"
)

// blocks is how many pieces the time is cut into. Neighbouring samples hang together, so that counting
// each of them would feign confidence; means over long pieces hardly do.
const blocks = 24

// point is a sample of one quantity.
type point struct {
	at    time.Duration
	life  int
	value float64
}

// fit finds the slope that all lives of the program have in common, each with a level of its own: least
// squares over the means of blocks, after the first third of all and the beginning of each life. A run of a
// minute or two in which the program is killed again and again is too short to tell.
//
// It is growing when even the lower end of the interval of confidence makes more than floor of the time
// looked at, and flat when not even the upper end does. So a short run finds large leaks, and a long one
// small ones too.
func fit(name, unit string, points []point, floor float64) Slope {
	s := Slope{Name: name, Unit: unit, Floor: floor, Verdict: Unknown}
	means := gather(points)
	if len(means) == 0 {
		return s
	}
	levels := map[int]*level{}
	for _, m := range means {
		l := levels[m.life]
		if l == nil {
			l = &level{}
			levels[m.life] = l
		}
		l.n++
		l.t += m.at.Hours()
		l.v += m.value
		s.Mean += m.value / float64(len(means))
	}
	var tt, tv float64
	for _, m := range means {
		t, v := levels[m.life].centred(m)
		tt, tv = tt+t*t, tv+t*v
	}
	s.Blocks, s.Hours = len(means), (means[len(means)-1].at - means[0].at).Hours()
	free := len(means) - len(levels) - 1
	if free < 3 || tt == 0 {
		return s
	}
	s.PerHour = tv / tt
	var rest float64
	for _, m := range means {
		t, v := levels[m.life].centred(m)
		rest += (v - s.PerHour*t) * (v - s.PerHour*t)
	}
	s.Margin = student(free) * math.Sqrt(rest/float64(free)/tt)
	switch {
	case (s.PerHour-s.Margin)*s.Hours > s.Floor:
		s.Verdict = Growing
	case (s.PerHour+s.Margin)*s.Hours > s.Floor:
		s.Verdict = Unseen
	default:
		s.Verdict = Flat
	}
	return s
}

// level is what one life of the program has in the mean.
type level struct{ n, t, v float64 }

func (l *level) centred(p point) (t, v float64) { return p.at.Hours() - l.t/l.n, p.value - l.v/l.n }

// warming is how long a life takes at least until it uses what it will: every connection is made, and the
// heap has the size that its collector gives it. Lives that are shorter tell nothing.
const warming = 30 * time.Second

// gather leaves out the first third, and of every life its first third and all of its warming, and takes
// means of what is left over blocks of time, each of one life.
func gather(points []point) []point {
	if len(points) == 0 {
		return nil
	}
	first, last := points[0].at, points[len(points)-1].at
	length := (last - first) / blocks
	begins, ends := map[int]time.Duration{}, map[int]time.Duration{}
	for _, p := range points {
		if _, ok := begins[p.life]; !ok {
			begins[p.life] = p.at
		}
		ends[p.life] = p.at
	}
	var means []point
	n, until := 0.0, time.Duration(0)
	for _, p := range points {
		warm := begins[p.life] + max(warming, (ends[p.life]-begins[p.life])/3)
		if p.at < first+(last-first)/3 || p.at < warm {
			continue
		}
		if k := len(means) - 1; k >= 0 && means[k].life == p.life && p.at < until {
			n++
			means[k].at += time.Duration(float64(p.at-means[k].at) / n)
			means[k].value += (p.value - means[k].value) / n
			continue
		}
		means, n, until = append(means, p), 1, p.at+length
	}
	return means
}

// student is the quantile 0.975 of Student's distribution, by the expansion of Cornish and Fisher
// (Abramowitz and Stegun 26.7.5), to a percent from three degrees of freedom on.
func student(free int) float64 {
	const z = 1.959964
	n := float64(free)
	return z + (z*z*z+z)/(4*n) + (5*math.Pow(z, 5)+16*z*z*z+3*z)/(96*n*n) +
		(3*math.Pow(z, 7)+19*math.Pow(z, 5)+17*z*z*z-15*z)/(384*n*n*n)
}
