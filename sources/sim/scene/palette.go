package scene

import (
	"image/color"
	"math/rand/v2"
)

// pick takes one of the colours and changes it a little.
func pick(r *rand.Rand, from ...color.RGBA) color.RGBA {
	c := from[r.IntN(len(from))]
	by := between(r, 0.88, 1.1)
	return light{by, by, by}.on(c)
}

// paints are the colours of vehicles.
func paints(r *rand.Rand) color.RGBA {
	return pick(r,
		color.RGBA{R: 178, G: 34, B: 40}, color.RGBA{R: 36, G: 72, B: 150}, color.RGBA{R: 200, G: 204, B: 208},
		color.RGBA{R: 235, G: 235, B: 230}, color.RGBA{R: 46, G: 110, B: 82}, color.RGBA{R: 220, G: 160, B: 40},
		color.RGBA{R: 70, G: 74, B: 84}, color.RGBA{R: 96, G: 150, B: 190}, color.RGBA{R: 120, G: 48, B: 92},
	)
}

// clothes are the colours of shirts, trousers and loads.
func clothes(r *rand.Rand) color.RGBA {
	return pick(r,
		color.RGBA{R: 200, G: 50, B: 50}, color.RGBA{R: 40, G: 60, B: 120}, color.RGBA{R: 240, G: 200, B: 70},
		color.RGBA{R: 225, G: 225, B: 225}, color.RGBA{R: 60, G: 130, B: 90}, color.RGBA{R: 40, G: 44, B: 52},
		color.RGBA{R: 230, G: 120, B: 50}, color.RGBA{R: 120, G: 90, B: 160}, color.RGBA{R: 90, G: 160, B: 200},
	)
}

// skins are the colours of faces and hands.
func skins(r *rand.Rand) color.RGBA {
	return pick(r,
		color.RGBA{R: 236, G: 190, B: 160}, color.RGBA{R: 205, G: 150, B: 115},
		color.RGBA{R: 150, G: 100, B: 72}, color.RGBA{R: 96, G: 64, B: 48},
	)
}

// furs are the colours of dogs.
func furs(r *rand.Rand) color.RGBA {
	return pick(r,
		color.RGBA{R: 150, G: 98, B: 52}, color.RGBA{R: 52, G: 44, B: 40}, color.RGBA{R: 222, G: 206, B: 176},
		color.RGBA{R: 110, G: 70, B: 44}, color.RGBA{R: 200, G: 150, B: 84}, color.RGBA{R: 130, G: 128, B: 126},
	)
}

// mix goes from one colour to another; share 0 is the first.
func mix(a, b color.RGBA, share float64) color.RGBA {
	part := func(a, b uint8) uint8 { return uint8(clamp(float64(a)+(float64(b)-float64(a))*share, 0, 255)) }
	return color.RGBA{R: part(a.R, b.R), G: part(a.G, b.G), B: part(a.B, b.B)}
}
