package scene

import (
	"image/color"
	"math"
)

// rubber, glass and steel are what all vehicles are made of.
func rubber() color.RGBA { return color.RGBA{R: 28, G: 28, B: 30} }
func glass() color.RGBA  { return color.RGBA{R: 60, G: 82, B: 100} }
func steel() color.RGBA  { return color.RGBA{R: 150, G: 152, B: 156} }

// paintWheel draws a wheel that has rolled some metres.
func paintWheel(b *brush, x, r, rolled float64) {
	b.disc(rubber(), x, r, r)
	b.disc(steel(), x, r, r*0.58)
	for i := range 3 {
		angle := -rolled/r + float64(i)*math.Pi/3
		dx, dy := math.Cos(angle)*r*0.52, math.Sin(angle)*r*0.52
		b.bar(rubber(), x-dx, r-dy, x+dx, r+dy, r*0.12)
	}
}

// paintLights draws head and tail lights; by night they shine.
func paintLights(b *brush, sky sky, front, rear, y float64) {
	day := b.tint
	shine := (1 - sky.day) * 0.9
	b.tint = day.toward(light{1, 1, 1}, shine)
	b.ellipse(color.RGBA{R: 255, G: 244, B: 205}, front, y, 0.10, 0.09)
	b.ellipse(color.RGBA{R: 220, G: 30, B: 26}, rear, y+0.05, 0.07, 0.10)
	if shine > 0.3 {
		b.disc(color.RGBA{R: 255, G: 250, B: 225}, front+0.04, y, 0.13*shine)
	}
	b.tint = day
}

// paintCar draws a car from its side: a saloon, a hatchback or an estate.
func paintCar(b *brush, a actor, rolled float64, sky sky) {
	rear := []float64{-1.05, -1.55, -1.9}[a.variant%3] // where the roof ends
	roof := []float64{1.42, 1.5, 1.62}[a.variant%3]
	dark := mix(a.paint, color.RGBA{}, 0.28)
	bright := mix(a.paint, color.RGBA{R: 255, G: 255, B: 255}, 0.28)
	tail := math.Max(rear-0.6, -2.1)
	b.polygon(a.paint, tail, 0.9, rear, roof-0.05, rear+0.2, roof, 0.25, roof, 0.55, roof-0.07, 1.25, 0.9)
	b.polygon(glass(), tail+0.28, 0.93, rear+0.12, roof-0.12, -0.32, roof-0.1, -0.32, 0.93)
	b.polygon(glass(), -0.22, 0.93, -0.22, roof-0.1, 0.28, roof-0.1, 0.5, roof-0.15, 1.02, 0.93)
	b.polygon(a.paint, -2.22, 0.35, -2.24, 0.75, -2.1, 0.96, 1.2, 0.95, 1.95, 0.84, 2.2, 0.68, 2.24, 0.35)
	b.polygon(dark, -2.22, 0.3, -2.22, 0.5, 2.24, 0.5, 2.24, 0.3, 1.9, 0.24, -1.9, 0.24)
	b.polygon(bright, -2.08, 0.9, 1.2, 0.9, 1.2, 0.95, -2.1, 0.95)
	for _, x := range []float64{-0.28, 0.85, -1.3} {
		b.bar(dark, x, 0.4, x, 0.92, 0.025)
	}
	b.box(steel(), -0.55, 0.78, -0.38, 0.82)
	b.box(steel(), 0.6, 0.78, 0.77, 0.82)
	for _, x := range []float64{-1.38, 1.36} {
		b.disc(mix(dark, color.RGBA{}, 0.6), x, 0.36, 0.42)
		paintWheel(b, x, 0.34, rolled)
	}
	paintLights(b, sky, 2.12, -2.18, 0.66)
}

// paintTruck draws a lorry: a cab in front, and a box, a canvas cover or a tipper behind.
func paintTruck(b *brush, a actor, rolled float64, sky sky) {
	b.box(rubber(), -3.4, 0.5, 3.3, 0.85)
	paintLoad(b, a)
	paintCab(b, a)
	for _, x := range []float64{-2.65, -1.6, 2.4} {
		b.disc(mix(rubber(), color.RGBA{}, 0.4), x, 0.52, 0.6)
		paintWheel(b, x, 0.5, rolled)
	}
	paintLights(b, sky, 3.4, -3.4, 0.75)
}

// paintCab draws the driver's end of a lorry.
func paintCab(b *brush, a actor) {
	dark := mix(a.paint, color.RGBA{}, 0.3)
	b.polygon(a.paint, 1.75, 0.6, 1.75, 2.65, 2.9, 2.65, 3.25, 1.75, 3.45, 1.6, 3.45, 0.6)
	b.polygon(glass(), 2.25, 1.7, 2.25, 2.4, 2.8, 2.4, 3.08, 1.7)
	b.bar(dark, 2.12, 0.9, 2.12, 2.5, 0.04)
	b.box(dark, 1.75, 0.6, 3.45, 0.85)
	b.box(rubber(), 3.3, 1.5, 3.42, 1.95)
	b.box(steel(), 2.2, 1.42, 2.42, 1.5)
}

// paintLoad draws what a lorry carries.
func paintLoad(b *brush, a actor) {
	c := mix(a.second, color.RGBA{R: 220, G: 220, B: 216}, 0.35)
	dark := mix(c, color.RGBA{}, 0.25)
	top := 2.9 + 0.1*float64(a.variant%5)
	if a.variant%4 == 3 { // a tipper
		b.polygon(c, -3.5, 2.15, -3.2, 0.85, 1.5, 0.85, 1.62, 2.15)
		b.polygon(color.RGBA{R: 132, G: 112, B: 86}, -3.2, 2.15, -2, 2.6, -0.6, 2.5, 0.6, 2.7, 1.4, 2.15)
		for x := -2.8; x < 1.5; x += 0.85 {
			b.bar(dark, x, 0.95, x, 2.1, 0.08)
		}
		return
	}
	b.box(c, -3.5, 0.85, 1.62, top)
	b.box(dark, -3.5, 0.85, 1.62, 1.05)
	b.box(mix(c, color.RGBA{R: 255, G: 255, B: 255}, 0.4), -3.5, top-0.1, 1.62, top)
	if a.variant%4 == 1 { // canvas with ribs
		for x := -2.9; x < 1.5; x += 0.72 {
			b.bar(dark, x, 1.05, x, top-0.1, 0.05)
		}
		return
	}
	b.polygon(a.paint, -2.9, 1.5, -2.5, 2.3, 0.9, 2.3, 0.5, 1.5)
}
