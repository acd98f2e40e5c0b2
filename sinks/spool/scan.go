package spool

import (
	"bytes"
	"io"
)

// scanner reads the lines of a segment and steps over what is damaged.
type scanner struct {
	r      io.ReaderAt
	offset int64 // of what stands in buffer[start:]
	limit  int64 // where reading ends

	buffer     []byte
	start, end int
	held       bool // the line in next is to be returned before anything else is read
	next       item

	// The damage being stepped over: from where, and up to which byte that is not zero.
	broken     bool
	from, upTo int64
}

// item is a line, or damage when kind is empty.
type item struct {
	line
	offset int64
	bytes  int64
}

const scanBuffer = lineMost + 64<<10

func newScanner(r io.ReaderAt, limit int64) *scanner {
	return &scanner{r: r, limit: limit}
}

// scan returns the next line or damage; what is in it lasts until the next call. At the end it returns
// io.EOF; once limit grew it may be called again.
func (s *scanner) scan() (item, error) {
	if s.held {
		s.held = false
		return s.next, nil
	}
	for {
		text, at, whole, err := s.piece()
		if err != nil {
			if err == io.EOF && s.broken {
				if damage := s.damage(s.upTo); damage.bytes > 0 {
					return damage, nil
				}
			}
			return item{}, err
		}
		l, skipped, ok := rescue(text)
		if !whole || !ok {
			s.spoil(at, text, whole)
			continue
		}
		found := item{l, at + int64(skipped), int64(len(text) - skipped + 1)}
		if skipped > 0 {
			s.spoil(at, text[:skipped], false)
		}
		if s.broken {
			s.held, s.next = true, found
			return s.damage(found.offset), nil
		}
		return found, nil
	}
}

// rescue parses a line, or the line behind zero bytes that took the place of what was before it.
func rescue(text []byte) (l line, skipped int, ok bool) {
	skipped = bytes.LastIndexByte(text, 0) + 1
	l, err := parseLine(text[skipped:])
	return l, skipped, err == nil
}

// spoil adds text to the damage.
func (s *scanner) spoil(at int64, text []byte, whole bool) {
	if !s.broken {
		s.broken, s.from, s.upTo = true, at, at
	}
	if whole {
		s.upTo = at + int64(len(text)) + 1
	} else if used := len(bytes.TrimRight(text, "\x00")); used > 0 {
		s.upTo = at + int64(used)
	}
}

// damage ends the damage at an offset and returns it.
func (s *scanner) damage(end int64) item {
	s.broken = false
	return item{offset: s.from, bytes: end - s.from}
}

// piece returns the bytes up to the next line feed, without it; or, not whole, as many as there are
// when there is none or it is further away than a line is long.
func (s *scanner) piece() (text []byte, at int64, whole bool, err error) {
	for {
		have := s.buffer[s.start:s.end]
		if i := bytes.IndexByte(have, '\n'); i >= 0 {
			at = s.take(i + 1)
			return have[:i], at, true, nil
		}
		if len(have) >= lineMost {
			n := len(have)
			if zero := bytes.LastIndexByte(have, 0); zero >= 0 {
				n = zero + 1 // a line may begin behind it
			}
			return have[:n], s.take(n), false, nil
		}
		switch err := s.fill(); {
		case err == io.EOF && len(have) > 0:
			have = s.buffer[s.start:s.end]
			return have, s.take(len(have)), false, nil
		case err != nil:
			return nil, 0, false, err
		}
	}
}

func (s *scanner) take(n int) (at int64) {
	at = s.offset
	s.start += n
	s.offset += int64(n)
	return at
}

// fill reads more into the buffer.
func (s *scanner) fill() error {
	buffer := s.buffer
	if left := s.limit - s.offset; len(buffer) < scanBuffer && int64(len(buffer)) < left {
		buffer = make([]byte, min(scanBuffer, left))
	}
	s.end = copy(buffer, s.buffer[s.start:s.end])
	s.start, s.buffer = 0, buffer
	room := min(int64(len(s.buffer)-s.end), s.limit-s.offset-int64(s.end))
	if room <= 0 {
		return io.EOF
	}
	n, err := s.r.ReadAt(s.buffer[s.end:s.end+int(room)], s.offset+int64(s.end))
	s.end += n
	if n > 0 {
		return nil
	}
	return err
}

// salvage reads what can be read: blocks that the disk does not give are zeros, unless it gives none
// of them.
type salvage struct{ io.ReaderAt }

const block = 4096

func (s salvage) ReadAt(p []byte, off int64) (int, error) {
	n, err := s.ReaderAt.ReadAt(p, off)
	if err == nil || err == io.EOF {
		return n, err
	}
	good := n > 0
	for n < len(p) {
		step := int(min(int64(len(p)-n), block-(off+int64(n))%block))
		got, again := s.ReaderAt.ReadAt(p[n:n+step], off+int64(n))
		if again == io.EOF {
			return n + got, again
		}
		if again != nil {
			clear(p[n : n+step])
		} else {
			good = true
		}
		n += step
	}
	if !good {
		return 0, err
	}
	return n, nil
}
