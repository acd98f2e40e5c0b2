package scene

import (
	"image/color"
	"math"
)

// paintLeg draws a leg with a knee and a shoe; swing is -1 to 1, bend lifts the foot.
func paintLeg(b *brush, c, shoe color.RGBA, hip, swing, bend float64) {
	knee, foot := swing*0.22, swing*0.34-0.12*bend
	lift := 0.05 + 0.14*bend
	b.limb(c, 0, hip, knee, hip*0.52, 0.17)
	b.limb(c, knee, hip*0.52, foot, lift+0.04, 0.14)
	b.limb(shoe, foot, lift, foot+0.14, lift, 0.1)
}

// paintArm draws an arm with a hand, from the shoulder.
func paintArm(b *brush, c, skin color.RGBA, shoulder, swing float64) {
	elbow, hand := swing*0.14, swing*0.32+0.08
	b.limb(c, 0, shoulder, elbow, shoulder-0.28, 0.12)
	b.limb(c, elbow, shoulder-0.28, hand, shoulder-0.5, 0.1)
	b.disc(skin, hand, shoulder-0.52, 0.06)
}

// paintHead draws a head with hair, a cap or a helmet.
func paintHead(b *brush, a actor, x, y float64) {
	hair := []color.RGBA{{R: 40, G: 30, B: 26}, {R: 120, G: 84, B: 44}, {R: 196, G: 170, B: 110}, {R: 150, G: 150, B: 150}}[a.variant%4]
	if a.variant%3 == 0 {
		hair = a.second
	}
	b.limb(a.skin, x-0.02, y-0.2, x, y-0.08, 0.1)
	b.oval(hair, x-0.02, y+0.01, 0.13, 0.145, 0)
	b.oval(a.skin, x+0.035, y-0.03, 0.095, 0.12, 0)
	b.disc(a.skin, x+0.13, y-0.03, 0.025)
	b.oval(hair, x-0.005, y+0.085, 0.125, 0.065, 10)
	if a.variant%3 == 0 { // a cap's peak
		b.limb(hair, x+0.06, y+0.07, x+0.19, y+0.05, 0.03)
	}
	b.disc(rubber(), x+0.08, y-0.005, 0.016)
}

// paintPerson draws somebody who has walked some metres.
func paintPerson(b *brush, a actor, walked float64) {
	phase := walked*4.2 + a.stride
	swing, back := math.Sin(phase), math.Cos(phase)
	shoe := color.RGBA{R: 48, G: 40, B: 38}
	dark := mix(a.paint, color.RGBA{}, 0.25)
	legs := mix(a.second, color.RGBA{R: 40, G: 44, B: 60}, 0.4)
	bob := 0.025 * math.Abs(back)
	paintArm(b, dark, a.skin, 1.4+bob, swing)
	paintLeg(b, mix(legs, color.RGBA{}, 0.25), shoe, 0.88+bob, -swing, math.Max(0, -back))
	paintLeg(b, legs, shoe, 0.88+bob, swing, math.Max(0, back))
	wide := 0.19 + 0.012*float64(a.variant%4)
	b.polygon(a.paint, -wide, 1.42+bob, -wide*0.85, 0.86+bob, wide*0.85, 0.86+bob, wide, 1.42+bob, wide*0.5, 1.5+bob, -wide*0.5, 1.5+bob)
	if a.variant%5 == 1 { // a rucksack
		b.ellipse(mix(a.second, color.RGBA{}, 0.2), -wide-0.08, 1.2+bob, 0.12, 0.23)
	}
	paintArm(b, mix(a.paint, color.RGBA{}, 0.12), a.skin, 1.4+bob, -swing)
	paintHead(b, a, 0.02, 1.66+bob)
}

// paintBicycle draws a bicycle and who rides it.
func paintBicycle(b *brush, a actor, rolled float64) {
	const r, rear, front = 0.35, -0.54, 0.54
	frame := mix(a.second, color.RGBA{R: 255, G: 255, B: 255}, 0.15)
	angle := -rolled * 1.6
	px, py := 0.17*math.Cos(angle), 0.17*math.Sin(angle)
	paintPedalLeg(b, mix(a.second, color.RGBA{}, 0.45), -px-0.05, 0.32-py)
	for _, x := range []float64{rear, front} {
		b.ring(rubber(), x, r, r-0.02, 0.06)
		for i := range 4 {
			turn := -rolled/r + float64(i)*math.Pi/4
			dx, dy := math.Cos(turn)*(r-0.04), math.Sin(turn)*(r-0.04)
			b.bar(steel(), x-dx, r-dy, x+dx, r+dy, 0.012)
		}
	}
	for _, l := range [][4]float64{
		{rear, r, -0.05, 0.32}, {rear, r, -0.2, 0.85}, {-0.05, 0.32, -0.22, 0.95}, {-0.2, 0.85, 0.38, 0.88},
		{-0.05, 0.32, 0.38, 0.84}, {front, r, 0.36, 1.0}, {0.36, 1.0, 0.5, 1.04},
	} {
		b.bar(frame, l[0], l[1], l[2], l[3], 0.05)
	}
	b.limb(rubber(), -0.34, 0.97, -0.12, 0.97, 0.07)
	paintPedalLeg(b, mix(a.second, color.RGBA{}, 0.25), px-0.05, 0.32+py)
	paintRider(b, a)
}

// paintPedalLeg draws a leg from the saddle to a pedal.
func paintPedalLeg(b *brush, c color.RGBA, x, y float64) {
	knee := 0.2 + 0.5*(x+0.05)
	high := 0.62 + 0.6*(y-0.2)
	b.limb(c, -0.2, 1.02, knee, high, 0.16)
	b.limb(c, knee, high, x, y+0.05, 0.12)
	b.limb(color.RGBA{R: 48, G: 40, B: 38}, x-0.04, y, x+0.12, y, 0.08)
}

// paintRider draws the upper part of a cyclist.
func paintRider(b *brush, a actor) {
	b.polygon(a.paint, -0.36, 1.0, -0.08, 0.98, 0.24, 1.42, 0.12, 1.56, -0.08, 1.46)
	b.limb(mix(a.paint, color.RGBA{}, 0.15), 0.14, 1.44, 0.32, 1.2, 0.11)
	b.limb(a.skin, 0.32, 1.2, 0.48, 1.08, 0.08)
	paintHead(b, a, 0.26, 1.7)
	b.ellipse(a.second, 0.23, 1.78, 0.16, 0.09)
}

// paintDog draws a dog that has run some metres.
func paintDog(b *brush, a actor, walked float64) {
	phase := walked*7 + a.stride
	dark := mix(a.paint, color.RGBA{}, 0.3)
	paw := func(c color.RGBA, x, offset float64) {
		swing := math.Sin(phase + offset)
		lift := 0.06 * math.Max(0, math.Cos(phase+offset))
		b.limb(c, x, 0.4, x+0.05*swing-0.02, 0.22, 0.095)
		b.limb(c, x+0.05*swing-0.02, 0.22, x+0.13*swing, 0.04+lift, 0.07)
	}
	paw(dark, -0.27, 0)
	paw(dark, 0.25, math.Pi)
	wag := 0.06 * math.Sin(phase*1.7)
	b.limb(a.paint, -0.36, 0.5, -0.56, 0.68+wag, 0.065)
	b.ellipse(a.paint, 0, 0.45, 0.4, 0.145)
	b.ellipse(a.paint, 0.22, 0.44, 0.2, 0.18)
	if a.variant%3 == 0 { // a pale belly
		b.ellipse(mix(a.paint, color.RGBA{R: 250, G: 244, B: 232}, 0.6), 0.2, 0.38, 0.16, 0.09)
	}
	paw(a.paint, -0.29, math.Pi)
	paw(a.paint, 0.27, 0)
	b.limb(a.paint, 0.3, 0.5, 0.42, 0.66, 0.17)
	b.ellipse(a.paint, 0.44, 0.7, 0.13, 0.11)
	b.limb(a.paint, 0.5, 0.67, 0.6, 0.65, 0.08)
	b.disc(rubber(), 0.62, 0.67, 0.028)
	b.disc(rubber(), 0.48, 0.73, 0.018)
	if a.variant%2 == 0 {
		b.oval(dark, 0.37, 0.68, 0.05, 0.11, 20)
	} else {
		b.polygon(dark, 0.34, 0.76, 0.37, 0.9, 0.45, 0.78)
	}
}
