package motion

// unmasked tells for each pixel whether it counts: no mask covers its middle. A mask is a rectangle of four
// numbers (left, top, right, bottom) or a polygon of six and more (x, y of each corner), in fractions of
// the picture's width and height.
func unmasked(masks map[string][]float64, of size) []bool {
	counts := make([]bool, of.width*of.height)
	for y := range of.height {
		for x := range of.width {
			counts[y*of.width+x] = !covered(masks, (float64(x)+0.5)/float64(of.width), (float64(y)+0.5)/float64(of.height))
		}
	}
	return counts
}

func covered(masks map[string][]float64, x, y float64) bool {
	for _, m := range masks {
		switch {
		case len(m) == 4 && x >= m[0] && x < m[2] && y >= m[1] && y < m[3]:
			return true
		case len(m) >= 6 && within(m, x, y):
			return true
		}
	}
	return false
}

// within counts the sides of a polygon to the right of a point: an odd number of them is around it.
func within(corners []float64, x, y float64) bool {
	inside := false
	n := len(corners) / 2
	for i := range n {
		ax, ay := corners[2*i], corners[2*i+1]
		bx, by := corners[2*((i+1)%n)], corners[2*((i+1)%n)+1]
		if (ay > y) != (by > y) && x < ax+(y-ay)/(by-ay)*(bx-ax) {
			inside = !inside
		}
	}
	return inside
}
