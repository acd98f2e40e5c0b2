package container

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"slices"
	"time"
)

// position notes which entries of a log were handed over: the last ones, in a file that outlives this
// process. Entries that were printed at almost the same time come in any order, so it is not enough
// to know the last. It is for one goroutine at a time.
type position struct {
	file  *os.File
	count uint64  // of all that was ever noted
	last  []noted // in the order in which they were handed over
}

// mark is an entry that was handed over.
type mark struct {
	at   int64 // ns since 1970; Podman tells whole seconds
	hash uint64
}

// noted is a mark with how many of the same time were handed over right before it.
type noted struct {
	mark
	nth uint64
}

const (
	marks    = 2048
	markSize = 40 // number, time, hash, nth, and the four xored
)

// readPosition reads the file, which it takes over.
func readPosition(file *os.File) (*position, error) {
	data, err := io.ReadAll(io.LimitReader(file, marks*markSize))
	if err != nil {
		return nil, fmt.Errorf("read note of the log: %w", err)
	}
	p := &position{file: file}
	p.parse(data)
	return p, nil
}

// parse takes the marks that are whole.
func (p *position) parse(data []byte) {
	type numbered struct {
		number uint64
		noted
	}
	var all []numbered
	for ; len(data) >= markSize; data = data[markSize:] {
		n, at, hash, nth := word(data, 0), word(data, 1), word(data, 2), word(data, 3)
		if n != 0 && n^at^hash^nth == word(data, 4) {
			all = append(all, numbered{n, noted{mark{int64(at), hash}, nth}})
		}
	}
	slices.SortFunc(all, func(a, b numbered) int { return cmp.Compare(a.number, b.number) })
	for _, m := range all {
		p.last = append(p.last, m.noted)
		p.count = m.number
	}
}

func word(data []byte, i int) uint64 { return binary.LittleEndian.Uint64(data[8*i:]) }

// markOf returns the mark of an entry.
func markOf(e entry) mark {
	hash := fnv.New64a()
	_, _ = hash.Write([]byte{e.stream})
	_, _ = hash.Write(e.text)
	return mark{e.at.UnixNano(), hash.Sum64()}
}

// note notes an entry that was handed over.
func (p *position) note(m mark) error {
	p.count++
	n := noted{mark: m}
	if before := len(p.last) - 1; before >= 0 && p.last[before].at == m.at {
		n.nth = p.last[before].nth + 1
	}
	if p.last = append(p.last, n); len(p.last) > 2*marks {
		p.last = append(p.last[:0], p.last[len(p.last)-marks:]...)
	}
	var data [markSize]byte
	for i, w := range []uint64{p.count, uint64(m.at), m.hash, n.nth, p.count ^ uint64(m.at) ^ m.hash ^ n.nth} {
		binary.LittleEndian.PutUint64(data[8*i:], w)
	}
	_, err := p.file.WriteAt(data[:], int64(p.count%marks)*markSize)
	return err
}

// rest tells the entries that are to be handed over from those that were.
type rest struct {
	since   time.Time    // from when on the log is to be read; zero is its beginning
	skip    uint64       // how many entries of just that time were handed over and are no longer known
	already map[mark]int // how often each entry since then was handed over
}

// resume returns what is to be read next.
func (p *position) resume() *rest {
	r := &rest{already: map[mark]int{}}
	last := p.last[max(0, len(p.last)-marks):]
	if len(last) > marks/2 { // those before were handed over, whatever came between
		since := last[len(last)-marks/2].at
		r.since = time.Unix(0, since)
		first := slices.IndexFunc(last, func(n noted) bool { return n.at == since })
		r.skip = last[first].nth
	}
	for _, n := range last {
		r.already[n.mark]++
	}
	return r
}

// has says whether an entry was handed over; it is to be asked once for each, in their order.
func (r *rest) has(e entry) bool {
	if e.at.Before(r.since) {
		return true
	}
	if r.skip > 0 && e.at.Equal(r.since) {
		r.skip--
		return true
	}
	m := markOf(e)
	if r.already[m] > 0 {
		r.already[m]--
		return true
	}
	return false
}

func (p *position) close() error { return p.file.Close() }
