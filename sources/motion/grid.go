package motion

// scratch is memory for the steps below. All of them work on pictures of one byte a pixel, rows from the
// top without padding, and repeat the border beyond it, so that they are as quick as they are small.
type scratch struct {
	bytes []uint8
	rows  []uint16
	stack []int32
}

func (s *scratch) resize(of size) {
	n := of.width * of.height
	s.bytes, s.rows, s.stack = make([]uint8, n), make([]uint16, n), make([]int32, 0, n)
}

// blur replaces each pixel by the mean of the nine around it.
func (s *scratch) blur(pixels []uint8, of size) {
	w := of.width
	for y := range of.height {
		row, out := pixels[y*w:(y+1)*w], s.rows[y*w:(y+1)*w]
		for x := range row {
			out[x] = uint16(row[max(x-1, 0)]) + uint16(row[x]) + uint16(row[min(x+1, w-1)])
		}
	}
	for y := range of.height {
		above, here, below := s.rows[max(y-1, 0)*w:], s.rows[y*w:], s.rows[min(y+1, of.height-1)*w:]
		out := pixels[y*w : (y+1)*w]
		for x := range out {
			out[x] = uint8((above[x] + here[x] + below[x] + 4) / 9)
		}
	}
}

// open removes what is less than three pixels wide or high, and gives the rest its shape back.
func (s *scratch) open(mask []uint8, of size) {
	s.erode(mask, of)
	s.dilate(mask, of)
}

// erode keeps the pixels whose eight neighbours are set too.
func (s *scratch) erode(mask []uint8, of size) {
	w := of.width
	for y := range of.height {
		row, out := mask[y*w:(y+1)*w], s.bytes[y*w:(y+1)*w]
		for x := range row {
			out[x] = row[max(x-1, 0)] & row[x] & row[min(x+1, w-1)]
		}
	}
	for y := range of.height {
		above, here, below := s.around(y, of)
		out := mask[y*w : (y+1)*w]
		for x := range out {
			out[x] = above[x] & here[x] & below[x]
		}
	}
}

// dilate sets the eight neighbours of each pixel.
func (s *scratch) dilate(mask []uint8, of size) {
	w := of.width
	for y := range of.height {
		row, out := mask[y*w:(y+1)*w], s.bytes[y*w:(y+1)*w]
		for x := range row {
			out[x] = row[max(x-1, 0)] | row[x] | row[min(x+1, w-1)]
		}
	}
	for y := range of.height {
		above, here, below := s.around(y, of)
		out := mask[y*w : (y+1)*w]
		for x := range out {
			out[x] = above[x] | here[x] | below[x]
		}
	}
}

// around returns a row of the scratch bytes with the one above and the one below.
func (s *scratch) around(y int, of size) (above, here, below []uint8) {
	row := func(y int) []uint8 { return s.bytes[y*of.width : (y+1)*of.width] }
	return row(max(y-1, 0)), row(y), row(min(y+1, of.height-1))
}

// largest returns how many pixels the largest thing has, whose pixels touch by a side or a corner. It
// clears mask.
func (s *scratch) largest(mask []uint8, of size) int {
	most := 0
	for i := range mask {
		if mask[i] == 0 {
			continue
		}
		most = max(most, s.flood(mask, of, int32(i)))
	}
	return most
}

// flood clears one thing and returns how many pixels it had.
func (s *scratch) flood(mask []uint8, of size, from int32) int {
	mask[from] = 0
	s.stack = append(s.stack[:0], from)
	n := 0
	for len(s.stack) > 0 {
		at := int(s.stack[len(s.stack)-1])
		s.stack = s.stack[:len(s.stack)-1]
		n++
		x, y := at%of.width, at/of.width
		for v := max(y-1, 0); v <= min(y+1, of.height-1); v++ {
			for u := max(x-1, 0); u <= min(x+1, of.width-1); u++ {
				if i := v*of.width + u; mask[i] != 0 {
					mask[i] = 0
					s.stack = append(s.stack, int32(i))
				}
			}
		}
	}
	return n
}
