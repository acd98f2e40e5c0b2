// Package motion tells pictures in which something moves from those that can be left out.
//
// It compares a small grey picture with what it has learnt of the place: the usual brightness of each
// pixel, and how much that varies by itself. What is left after the brightness of the whole picture has
// been evened out, and is not a speck, is motion when it covers enough of the picture.
package motion

import (
	"fmt"
	"time"

	"sightline/pipeline"
	"sightline/sources"
	"sightline/sources/picture"
	"sightline/sources/scale"
)

const (
	longSide = 160 // of the small picture
	leastLow = 16  // least of the other side

	// learning is the time in which the place is learnt anew, and what stands still becomes part of it.
	learning = 10 * time.Second
	settling = 30 * time.Second // the same for how much a pixel varies

	beyond   = 4               // a pixel moves that is off by this many times what is usual for it
	clip     = 64              // most that one picture tells of how much a pixel varies
	most     = 0.5             // of the picture: when more moves it is the light, or another place, and is learnt at once
	many     = 0.1             // of the picture: when more moves it is asked whether it is the light
	early    = 20              // pictures by which the place is learnt at first
	longStep = 2 * time.Second // more than this at once is not learnt from
)

// Gate lets pictures through in which something moves, and those that follow for a while. The first pictures
// count as motion: nothing is known of the place yet. It is used from one goroutine at a time.
type Gate struct {
	config sources.Motion
	scaler scale.Scaler
	wish   pipeline.Wish
	rgb    []byte

	size    size
	counts  []bool // pixels that no mask covers
	counted int    // how many of them
	grey    []uint8
	place   []float32 // usual brightness, 0 to 255
	usual   []float32 // mean absolute difference from it
	moved   []uint8   // 1: a pixel that moves
	scratch scratch

	seen int           // pictures of this size
	pts  time.Duration // of the picture before
	left time.Duration // how long pictures still go through
}

type size struct{ width, height int }

// New returns a gate as the configuration says. Close frees it.
func New(c sources.Motion) *Gate { return &Gate{config: c} }

// Close frees what the gate remembers; it can be used again.
func (g *Gate) Close() { g.scaler.Close() }

// Moves looks at a picture and tells whether it is let through. Pictures come in the order of their times.
func (g *Gate) Moves(p *picture.Picture) (bool, error) {
	if err := g.shrink(p); err != nil {
		return false, fmt.Errorf("look for motion: %w", err)
	}
	step := max(p.PTS-g.pts, 0)
	if g.seen == 0 {
		step = 0
		g.learnAtOnce()
	}
	motion := g.compare(min(step, longStep)) >= g.leastArea() || g.seen == 0
	g.pts, g.left = p.PTS, max(g.left-step, 0)
	g.seen++
	if motion {
		g.left = g.config.Hold
	}
	return motion || g.left > 0, nil
}

// leastArea is how many pixels must move together.
func (g *Gate) leastArea() int {
	return max(int(g.config.MinArea*float64(g.size.width*g.size.height)), 1)
}

// shrink makes the small grey picture.
func (g *Gate) shrink(p *picture.Picture) error {
	if s := sizeOf(p); s != g.size {
		g.resize(s)
	}
	luma := *p
	if luma.Model == picture.YUV {
		luma.Model = picture.Gray
	}
	if err := g.scaler.Scale(&luma, &g.wish, pipeline.Whole, g.rgb); err != nil {
		return err
	}
	for i := range g.grey {
		at := g.rgb[3*i : 3*i+3]
		g.grey[i] = uint8((int(at[0]) + 2*int(at[1]) + int(at[2]) + 2) >> 2)
	}
	g.scratch.blur(g.grey, g.size)
	return nil
}

// sizeOf is the size of a picture's small one.
func sizeOf(p *picture.Picture) size {
	scaled := func(side, other int) int { return min(max(longSide*side/max(other, 1), leastLow), longSide) }
	if p.Width >= p.Height {
		return size{longSide, scaled(p.Height, p.Width)}
	}
	return size{scaled(p.Width, p.Height), longSide}
}

// resize begins anew with another size.
func (g *Gate) resize(s size) {
	n := s.width * s.height
	g.size, g.seen, g.left = s, 0, 0
	g.wish = pipeline.Wish{Width: s.width, Height: s.height, Color: pipeline.RGB, Resize: pipeline.ResizeStandard}
	g.rgb, g.grey, g.moved = make([]byte, 3*n), make([]uint8, n), make([]uint8, n)
	g.place, g.usual = make([]float32, n), make([]float32, n)
	g.counts = unmasked(g.config.Masks, s)
	g.counted = 0
	for _, c := range g.counts {
		if c {
			g.counted++
		}
	}
	g.scratch.resize(s)
}

// learnAtOnce takes the place to be as it is now.
func (g *Gate) learnAtOnce() {
	for i, v := range g.grey {
		g.place[i], g.usual[i] = float32(v), 0
	}
}

// compare learns from the small picture, and returns how many pixels the largest thing covers that moves.
// step is the time since the picture before.
func (g *Gate) compare(step time.Duration) int {
	brighter := g.evenOut()
	moving := 0
	threshold := float32(g.config.Threshold)
	for i, v := range g.grey {
		d := float32(v) - brighter - g.place[i]
		if d < 0 {
			d = -d
		}
		g.moved[i] = 0
		if g.counts[i] && d > max(threshold, beyond*g.usual[i]) {
			g.moved[i] = 1
			moving++
		}
	}
	if share := float64(moving) / float64(max(g.counted, 1)); share > most || share > many && g.lightSays(moving) {
		g.learnAtOnce()
		return 0
	}
	g.learn(step)
	if moving < g.leastArea() {
		return 0
	}
	g.scratch.open(g.moved, g.size)
	return g.scratch.largest(g.moved, g.size)
}

// evenOut returns by how much most of the picture is brighter than usual: the median.
func (g *Gate) evenOut() float32 {
	var counts [511]int
	for i, v := range g.grey {
		if g.counts[i] {
			counts[int(v)-int(g.place[i]+0.5)+255]++
		}
	}
	sum := 0
	for d, n := range counts {
		if sum += n; 2*sum > g.counted {
			return float32(d - 255)
		}
	}
	return 0
}

// lightSays tells whether another light, which makes all pixels brighter or darker by the same factor,
// explains most of those that seem to move.
func (g *Gate) lightSays(moving int) bool {
	var now, before [256]int
	for i, v := range g.grey {
		if g.counts[i] {
			now[v]++
			before[min(uint8(g.place[i]+0.5), 255)]++
		}
	}
	low, high := quarter(&before, g.counted, 1), quarter(&before, g.counted, 3)
	if high-low < 4 {
		return false // it is as good as plain
	}
	nowLow := quarter(&now, g.counted, 1)
	factor := (quarter(&now, g.counted, 3) - nowLow) / (high - low)
	left := 0
	for i, v := range g.grey {
		d := float32(v) - nowLow - factor*(g.place[i]-low)
		if g.counts[i] && max(d, -d) > float32(g.config.Threshold) {
			left++
		}
	}
	return left < moving/4
}

// quarter returns the brightness that so many quarters of the pixels do not exceed.
func quarter(histogram *[256]int, pixels, quarters int) float32 {
	sum := 0
	for v, n := range histogram {
		if sum += n; 4*sum >= quarters*pixels {
			return float32(v)
		}
	}
	return 255
}

// learn moves what is usual toward the small picture: the first pictures count in full.
func (g *Gate) learn(step time.Duration) {
	place := rate(step, learning, g.seen)
	usual := rate(step, settling, g.seen)
	for i, v := range g.grey {
		d := float32(v) - g.place[i]
		g.place[i] += place * d
		if d < 0 {
			d = -d
		}
		g.usual[i] += usual * (min(d, clip) - g.usual[i])
	}
}

// rate is the weight of a picture that came step after the one before. The first ones count in full, so that
// the place is soon known.
func rate(step, in time.Duration, seen int) float32 {
	weight := step.Seconds() / in.Seconds()
	if seen < early {
		weight = max(weight, 1/float64(seen+1))
	}
	return float32(min(weight, 1))
}
