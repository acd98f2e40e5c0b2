package container

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// position notes which entries of a log were handed over: the last ones, in a file that outlives this
// process. Entries that were printed at almost the same time come in any order, so it is not enough
// to know the last. It is for one goroutine at a time.
type position struct {
	file  *os.File
	count uint64 // of all that was ever noted
	last  []mark // in the order in which they were handed over
}

// mark is an entry that was handed over.
type mark struct {
	at   int64 // ns since 1970
	hash uint64
}

const (
	marks    = 2048
	markSize = 32 // number, time, hash, and the three xored
)

// makePosition makes the file; os.ErrExist if there is one.
func makePosition(name string) (*position, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make note of the log: %w", err)
	}
	return &position{file: f}, nil
}

// openPosition reads the file; if it is gone, the log is read from its beginning.
func openPosition(name string) (*position, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open note of the log: %w", err)
	}
	data, err := io.ReadAll(io.LimitReader(f, marks*markSize))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read note of the log: %w", err), f.Close())
	}
	p := &position{file: f}
	p.parse(data)
	return p, nil
}

// parse takes the marks that are whole.
func (p *position) parse(data []byte) {
	type numbered struct {
		number uint64
		mark
	}
	var all []numbered
	for ; len(data) >= markSize; data = data[markSize:] {
		n, at, hash := word(data, 0), word(data, 1), word(data, 2)
		if n != 0 && n^at^hash == word(data, 3) {
			all = append(all, numbered{n, mark{int64(at), hash}})
		}
	}
	slices.SortFunc(all, func(a, b numbered) int { return cmp.Compare(a.number, b.number) })
	for _, m := range all {
		p.last = append(p.last, m.mark)
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
	if p.last = append(p.last, m); len(p.last) > 2*marks {
		p.last = append(p.last[:0], p.last[len(p.last)-marks:]...)
	}
	var data [markSize]byte
	for i, w := range []uint64{p.count, uint64(m.at), m.hash, p.count ^ uint64(m.at) ^ m.hash} {
		binary.LittleEndian.PutUint64(data[8*i:], w)
	}
	_, err := p.file.WriteAt(data[:], int64(p.count%marks)*markSize)
	return err
}

// resume returns from when on the log is to be read, zero for its beginning, and how often each entry
// since then was handed over.
func (p *position) resume() (since time.Time, seen map[mark]int) {
	seen = map[mark]int{}
	last := p.last[max(0, len(p.last)-marks):]
	for _, m := range last {
		seen[m]++
	}
	if len(last) > marks/2 { // those before were handed over, whatever came between
		since = time.Unix(0, last[len(last)-marks/2].at)
	}
	return since, seen
}

func (p *position) close() error { return p.file.Close() }
