package wire

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"
)

// The head of a yamux frame: version, type, flags (2), stream (4), length (4); see its spec.md.
const (
	muxHead         = 12
	muxData    byte = 0
	muxPing    byte = 2
	muxGoAway  byte = 3
	muxSYN          = 1
	muxWindow       = 256 << 10
	maxPings        = 64      // a second
	maxSYNs         = 256     // a second
	maxFrames       = 200_000 // a second, of any type
	rateWindow      = time.Second
)

// guard stands between the multiplexer and the stream. It checks what comes in before the
// multiplexer acts on it (which starts a goroutine for every ping, and takes stream numbers on
// trust), counts bytes, and joins the head of a frame with its body into one write.
type guard struct {
	conn   io.ReadWriteCloser
	gather bool   // conn writes several pieces at once by itself
	parity uint32 // of the numbers of streams that the other side opens
	failed func(error)

	received, sent atomic.Uint64

	// of the reader alone
	head                [muxHead]byte
	have                int
	body                uint32 // bytes of the current frame still to come
	pings, syns, frames rate

	// of the writer alone
	held   [muxHead]byte
	holds  bool
	pieces [2][]byte
	vector net.Buffers
	joined []byte
}

func newGuard(conn io.ReadWriteCloser) *guard {
	g := &guard{conn: conn}
	switch conn.(type) {
	case *net.TCPConn, *net.UnixConn, *giver, *taker:
		g.gather = true
	}
	return g
}

// rate counts events in windows of one second.
type rate struct {
	began time.Time
	count int
}

// over counts one event and tells whether there were more than most in this window. It looks at the
// clock only when the count says that it must.
func (r *rate) over(most int, now func() time.Time) bool {
	if r.count++; r.count > 1 && r.count <= most {
		return false
	}
	at := now()
	if r.count == 1 || at.Sub(r.began) >= rateWindow {
		r.began, r.count = at, 1
		return false
	}
	return true
}

// Read reads from the stream, and fails on what no honest multiplexer sends.
func (g *guard) Read(p []byte) (int, error) {
	n, err := g.conn.Read(p)
	g.received.Add(uint64(n))
	if breach := g.check(p[:n]); breach != nil {
		g.failed(breach)
		return 0, breach
	}
	return n, err
}

func (g *guard) check(p []byte) error {
	for len(p) > 0 {
		if g.body > 0 {
			n := min(uint64(g.body), uint64(len(p)))
			p, g.body = p[n:], g.body-uint32(n)
			continue
		}
		n := copy(g.head[g.have:], p)
		p, g.have = p[n:], g.have+n
		if g.have < muxHead {
			return nil
		}
		g.have = 0
		if err := g.checkHead(); err != nil {
			return err
		}
	}
	return nil
}

func (g *guard) checkHead() error {
	kind, flags := g.head[1], binary.BigEndian.Uint16(g.head[2:])
	stream, length := binary.BigEndian.Uint32(g.head[4:]), binary.BigEndian.Uint32(g.head[8:])
	if g.head[0] != 0 || kind > muxGoAway {
		return fmt.Errorf("multiplexer frame of version %d, type %d: %w", g.head[0], kind, ErrMalformed)
	}
	if g.frames.over(maxFrames, time.Now) {
		return fmt.Errorf("more than %d multiplexer frames a second: %w", maxFrames, ErrFlood)
	}
	if kind == muxPing && g.pings.over(maxPings, time.Now) {
		return fmt.Errorf("more than %d pings a second: %w", maxPings, ErrFlood)
	}
	if kind < muxPing && flags&muxSYN != 0 {
		if stream == 0 || stream%2 != g.parity {
			return fmt.Errorf("stream %d is not for the other side to open: %w", stream, ErrMalformed)
		}
		if g.syns.over(maxSYNs, time.Now) {
			return fmt.Errorf("more than %d streams opened a second: %w", maxSYNs, ErrFlood)
		}
	}
	if kind == muxData {
		if length > muxWindow {
			return fmt.Errorf("multiplexer frame of %d bytes, at most %d: %w", length, muxWindow, ErrTooLarge)
		}
		g.body = length
	}
	return nil
}

// Write writes to the stream. The head of a frame with a body waits for the body, without which it
// says nothing, so that both go out together.
func (g *guard) Write(p []byte) (int, error) {
	if !g.holds && len(p) == muxHead && p[1] == muxData && binary.BigEndian.Uint32(p[8:]) > 0 {
		copy(g.held[:], p)
		g.holds = true
		return len(p), nil
	}
	if !g.holds {
		n, err := g.conn.Write(p)
		g.sent.Add(uint64(n))
		return n, err
	}
	g.holds = false
	if files, ok := g.conn.(*giver); !g.gather || ok && files.waiting() {
		g.joined = append(append(g.joined[:0], g.held[:]...), p...)
		n, err := g.conn.Write(g.joined)
		g.sent.Add(uint64(n))
		return max(n-muxHead, 0), err
	}
	g.pieces = [2][]byte{g.held[:], p}
	g.vector = g.pieces[:]
	n, err := g.vector.WriteTo(g.conn)
	g.sent.Add(uint64(n))
	return max(int(n)-muxHead, 0), err
}

// Close closes the stream.
func (g *guard) Close() error { return g.conn.Close() }

var _ io.ReadWriteCloser = (*guard)(nil)
