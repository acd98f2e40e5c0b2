// Package clock writes a counter into pictures and reads it back after they were encoded, decoded and scaled, so that the
// way of every picture can be timed.
//
// The counter is drawn as two rows of 24 blocks, white for 1 and black for 0, over the picture's full width and the top
// 1/14 of its height. From the left end of the upper row come the 32 bits of the counter, the highest first, and then a
// check sum of 16 bits: CRC-16/IBM-3740 (polynomial 0x1021, beginning with 0xffff) of the counter's four bytes, the
// highest first. Positions are shares of the picture, so it may be scaled to any size, but not cropped.
package clock

import "math"

// The layout of the blocks, and the smallest picture in which they can be told apart.
const (
	// Columns and Rows are how the blocks are laid out.
	Columns = 24
	Rows    = 2
	// Bands is how many rows of blocks would fill the picture's height.
	Bands = 28
	// MinWidth and MinHeight are the smallest picture, in pixels, that Read looks at: two pixels a block.
	MinWidth  = 2 * Columns
	MinHeight = 2 * Bands
)

// Luma of the blocks: the ends of the range of ITU-R BT.601 and BT.709 video.
const (
	lumaBlack = 16
	lumaWhite = 235
)

// What Read asks of a picture before it believes the blocks, in levels of 0 to 255.
const (
	contrast = 64   // the least distance between the darkest and the brightest block
	margin   = 0.12 // the least distance of each block from the middle, as a share of that distance
)

// DrawI420 writes the counter v into the luma plane of a picture, one byte a pixel, video range. y holds at least
// stride*(height-1)+width bytes. The colour planes are left alone.
func DrawI420(y []byte, stride, width, height int, v uint32) {
	bits := encode(v)
	for row := range bandEnd(height) {
		line := y[row*stride:][:width]
		if row > 0 && bandOf(row, height) == bandOf(row-1, height) {
			copy(line, y[(row-1)*stride:])
			continue
		}
		for x := range line {
			line[x] = lumaBlack
			if bits.at(x, row, width, height) {
				line[x] = lumaWhite
			}
		}
	}
}

// DrawRGB writes the counter v into an interleaved picture of three bytes a pixel, RGB or BGR, without padding. data
// holds at least width*height*3 bytes.
func DrawRGB(data []byte, width, height int, v uint32) {
	bits := encode(v)
	for row := range bandEnd(height) {
		line := data[row*width*3:][:width*3]
		if row > 0 && bandOf(row, height) == bandOf(row-1, height) {
			copy(line, data[(row-1)*width*3:])
			continue
		}
		for x := range width {
			level := byte(0)
			if bits.at(x, row, width, height) {
				level = 255
			}
			line[3*x], line[3*x+1], line[3*x+2] = level, level, level
		}
	}
}

// Read finds the counter in an interleaved picture of three bytes a pixel, RGB or BGR, without padding, that shows the
// whole of the picture that was drawn on, scaled. It is false where there is none, where the blocks are unclear or the
// check sum does not match, and where data is shorter than width*height*3.
func Read(data []byte, width, height int) (uint32, bool) {
	if width < MinWidth || height < MinHeight || len(data)/3/width < height {
		return 0, false
	}
	var levels [Columns * Rows]float64
	low, high := math.Inf(1), math.Inf(-1)
	for i := range levels {
		levels[i] = level(data, width, height, i)
		low, high = math.Min(low, levels[i]), math.Max(high, levels[i])
	}
	if high-low < contrast {
		return 0, false
	}
	var bits word
	middle := (low + high) / 2
	for i, l := range levels {
		if math.Abs(l-middle) < margin*(high-low) {
			return 0, false
		}
		if l > middle {
			bits |= 1 << (Columns*Rows - 1 - i)
		}
	}
	return bits.decode()
}

// word is the counter with its check sum, as the blocks show it: the first block is bit 47.
type word uint64

// encode puts the check sum behind the counter.
func encode(v uint32) word {
	return word(v)<<16 | word(checksum(v))
}

// decode gives the counter, and whether the check sum matches.
func (w word) decode() (uint32, bool) {
	v := uint32(w >> 16)
	return v, uint16(w) == checksum(v)
}

// at says whether a pixel of the band belongs to a white block.
func (w word) at(x, y, width, height int) bool {
	column := x * Columns / width
	row := bandOf(y, height)
	return w>>(Columns*Rows-1-row*Columns-column)&1 == 1
}

// bandOf is the row of blocks that a line belongs to.
func bandOf(y, height int) int { return y * Bands / height }

// bandEnd is the number of lines that the blocks fill.
func bandEnd(height int) int {
	return (Rows*height + Bands - 1) / Bands
}

// checksum is CRC-16/IBM-3740 of the four bytes of v, the highest first.
func checksum(v uint32) uint16 {
	sum := uint16(0xffff)
	for i := 31; i >= 0; i-- {
		top := sum >> 15
		sum <<= 1
		if top != uint16(v>>i&1) {
			sum ^= 0x1021
		}
	}
	return sum
}

// level is the mean over the middle half of block i, of the three bytes of each pixel, green counted twice.
func level(data []byte, width, height, i int) float64 {
	x0, x1 := middle(i%Columns, width, Columns)
	y0, y1 := middle(i/Columns, height, Bands)
	sum, area := 0.0, 0.0
	for y := int(y0); y < int(math.Ceil(y1)); y++ {
		high := overlap(y, y0, y1)
		for x := int(x0); x < int(math.Ceil(x1)); x++ {
			share := high * overlap(x, x0, x1)
			p := data[(y*width+x)*3:][:3]
			sum += share * float64(int(p[0])+2*int(p[1])+int(p[2])) / 4
			area += share
		}
	}
	return sum / area
}

// middle is the middle half of one of several equal parts of a length.
func middle(part, length, parts int) (from, to float64) {
	size := float64(length) / float64(parts)
	return (float64(part) + 0.25) * size, (float64(part) + 0.75) * size
}

// overlap is the share of a pixel that lies from one position to another.
func overlap(pixel int, from, to float64) float64 {
	return math.Min(float64(pixel+1), to) - math.Max(float64(pixel), from)
}
