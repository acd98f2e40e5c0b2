package scale

import "math"

// axis holds the weights that bring one side of a component to one side of the frame.
type axis struct {
	first, end int // samples of the source that are used
	start      []int32
	taps       []int32
	stride     int      // weights kept for a sample of the output
	weights    []uint16 // integers that add up to total; 0 from taps to stride
}

// newAxis returns the weights for components of which each sample covers 2^shift pixels: those of
// the pixels (triangle), added up by sample. So subsampled components come out as if they had been
// brought to full size first by repeating samples. stride is rounded up to a multiple of align.
func newAxis(s span, shift uint8, total, align int) axis {
	a := axis{first: math.MaxInt}
	rows := make([][]float64, s.count)
	for i := range rows {
		from, weights := triangle(s, s.skip+i)
		last := from + len(weights) - 1
		start := from >> shift
		merged := make([]float64, last>>shift-start+1)
		for k, w := range weights {
			merged[(from+k)>>shift-start] += w
		}
		rows[i] = merged
		a.start, a.taps = append(a.start, int32(start)), append(a.taps, int32(len(merged)))
		a.first, a.end = min(a.first, start), max(a.end, start+len(merged))
		a.stride = max(a.stride, (len(merged)+align-1)/align*align)
	}
	a.weights = make([]uint16, len(rows)*a.stride)
	for i, row := range rows {
		quantise(a.weights[i*a.stride:], row, total)
	}
	return a
}

// triangle returns the first pixel and the weights of all pixels that make pixel i of a side: a
// triangle around its centre, as wide as the scale but never narrower than a pixel of the source (the
// filter of Pillow's BILINEAR, and of torchvision's antialias=True). They add up to 1.
func triangle(s span, i int) (from int, weights []float64) {
	scale := s.length() / float64(s.size)
	support := max(scale, 1)
	center := s.low + (float64(i)+0.5)*scale
	from = max(int(math.Floor(center-support+0.5)), s.first)
	end := min(int(math.Floor(center+support+0.5)), s.end)
	sum := 0.0
	for x := from; x < end; x++ {
		w := max(1-math.Abs(float64(x)+0.5-center)/support, 0)
		weights = append(weights, w)
		sum += w
	}
	for k := range weights {
		weights[k] /= sum
	}
	return from, weights
}

// quantise turns weights that add up to 1 into integers that add up to total.
func quantise(into []uint16, weights []float64, total int) {
	sum, given := 0.0, 0
	for k, w := range weights {
		sum += w
		upTo := min(int(math.Round(sum*float64(total))), total)
		into[k] = uint16(upTo - given)
		given = upTo
	}
	into[len(weights)-1] += uint16(total - given)
}
