package scale

import (
	"math"

	"sightline/pipeline"
	"sightline/sources/picture"
)

// The reference: every pixel to RGB of 8 bits first, then Pillow's BILINEAR resize in floating
// point, across and then down, rounded to 8 bits after each as Pillow does.

type image struct {
	width, height int
	pixels        []float64 // three a pixel
}

func (i *image) at(x, y, c int) float64 { return i.pixels[(y*i.width+x)*3+c] }

func round8(v float64) float64 { return min(max(math.Floor(v+0.5), 0), 255) }

// sample returns a sample in levels of 8 bits.
func sample(p *picture.Picture, component, x, y int) float64 {
	c := &p.Components[component]
	if p.Model == picture.YUV && component > 0 {
		x, y = x>>p.SubX, y>>p.SubY
	}
	at := y*c.Stride + x*c.Step
	if p.Depth == 8 {
		return float64(c.Data[at])
	}
	v := (int(c.Data[at]) | int(c.Data[at+1])<<8) >> p.Shift
	return float64(v) / float64(int(1)<<(p.Depth-8))
}

func referenceRGB(p *picture.Picture) *image {
	out := &image{width: p.Width, height: p.Height}
	luma, black, chroma := 255.0/219, 16.0, 255.0/224
	if p.FullRange {
		luma, black, chroma = 1, 0, 1
	}
	red, blue := 0.299, 0.114
	if p.Matrix == picture.BT709 {
		red, blue = 0.2126, 0.0722
	}
	for y := range p.Height {
		for x := range p.Width {
			var s [3]float64
			for i := range p.Count() {
				s[i] = sample(p, i, x, y)
			}
			r, g, b := s[0], s[1], s[2]
			switch p.Model {
			case picture.Gray:
				r = (s[0] - black) * luma
				g, b = r, r
			case picture.YUV:
				v, u, l := (s[2]-128)*chroma, (s[1]-128)*chroma, (s[0]-black)*luma
				r, b = l+2*(1-red)*v, l+2*(1-blue)*u
				g = (l - red*r - blue*b) / (1 - red - blue)
			}
			out.pixels = append(out.pixels, round8(r), round8(g), round8(b))
		}
	}
	return out
}

// side brings one side from low…high to size pixels.
func referenceSide(n int, low, high float64, size int) (from []int, weights [][]float64) {
	scale := (high - low) / float64(size)
	wide := math.Max(scale, 1)
	for i := range size {
		center := low + (float64(i)+0.5)*scale
		first, last := n, 0
		var ws []float64
		sum := 0.0
		for x := max(int(math.Floor(low)), int(center-wide)-2); x < min(int(math.Ceil(high)), int(center+wide)+3); x++ {
			if w := 1 - math.Abs(float64(x)+0.5-center)/wide; w > 0 {
				first, last = min(first, x), x
				ws = append(ws, w)
				sum += w
			}
		}
		_ = last
		for k := range ws {
			ws[k] /= sum
		}
		from, weights = append(from, first), append(weights, ws)
	}
	return from, weights
}

func referenceResize(in *image, box [4]float64, width, height int) *image {
	from, weights := referenceSide(in.width, box[0], box[2], width)
	middle := &image{width: width, height: in.height, pixels: make([]float64, width*in.height*3)}
	for y := int(box[1]); y < min(int(math.Ceil(box[3])), in.height); y++ {
		for x := range width {
			for c := range 3 {
				sum := 0.0
				for k, w := range weights[x] {
					sum += w * in.at(from[x]+k, y, c)
				}
				middle.pixels[(y*width+x)*3+c] = round8(sum)
			}
		}
	}
	from, weights = referenceSide(in.height, box[1], box[3], height)
	out := &image{width: width, height: height, pixels: make([]float64, width*height*3)}
	for y := range height {
		for x := range width {
			for c := range 3 {
				sum := 0.0
				for k, w := range weights[y] {
					sum += w * middle.at(x, from[y]+k, c)
				}
				out.pixels[(y*width+x)*3+c] = round8(sum)
			}
		}
	}
	return out
}

// reference is what Scale should give.
func reference(full *image, w *pipeline.Wish, r pipeline.Region) []byte {
	fw, fh := float64(full.width), float64(full.height)
	box := [4]float64{r.Left * fw, r.Top * fh, r.Right * fw, r.Bottom * fh}
	bw, bh := box[2]-box[0], box[3]-box[1]
	width, height, left, top := w.Width, w.Height, 0, 0 // of the resized picture, and where the frame's corner is in it
	switch w.Resize {
	case pipeline.ResizeCrop:
		fraction := w.CropFraction
		if fraction == 0 {
			fraction = 1
		}
		short := math.Round(float64(w.Width) / fraction) // only square frames
		width, height = int(short), int(short)
		if bw > bh {
			width = int(short * bw / bh)
		} else {
			height = int(short * bh / bw)
		}
		left, top = int(math.RoundToEven(float64(width-w.Width)/2)), int(math.RoundToEven(float64(height-w.Height)/2))
	case pipeline.ResizeFit, pipeline.ResizeLetterbox:
		scale := math.Min(float64(w.Width)/bw, float64(w.Height)/bh)
		width, height = int(math.Round(bw*scale)), int(math.Round(bh*scale))
		if w.Resize == pipeline.ResizeLetterbox {
			left, top = -((w.Width - width) / 2), -((w.Height - height) / 2)
		}
	}
	resized := referenceResize(full, box, width, height)
	out := make([]byte, w.Width*w.Height*3)
	for y := range w.Height {
		for x := range w.Width {
			for c := range 3 {
				v := float64(w.Pad)
				if sx, sy := x+left, y+top; sx >= 0 && sx < width && sy >= 0 && sy < height {
					v = resized.at(sx, sy, c)
				}
				at := c
				if w.Color == pipeline.BGR {
					at = 2 - c
				}
				out[(y*w.Width+x)*3+at] = byte(v)
			}
		}
	}
	return out
}
