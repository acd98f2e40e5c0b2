package probe

import (
	"sync"
	"time"

	"sightline/pipeline"
	"sightline/sources/rtsp"
)

// settle is how long after the first picture nothing is concluded from when pictures come: servers send
// what they have kept at once.
const settle = time.Second

// meter counts what comes. take is called from one goroutine, progress from any.
type meter struct {
	began time.Time // when connecting began

	mu        sync.Mutex
	first     time.Time // arrival of the first picture, and of the last
	last      time.Time
	pictures  int
	keyframes int
	bytes     uint64

	codec      pipeline.Codec
	origin     pipeline.Origin // of the last picture
	low, high  time.Duration   // presentation times
	bRun, bMax int             // pictures in a row that are shown before one that came earlier
	settledAt  time.Time       // the first picture after settle
	settledPTS time.Duration

	keyAt   int // number of the last keyframe
	keyPTS  time.Duration
	gops    gops
	stream  stream
	learned bool
}

// gops are the distances between keyframes.
type gops struct {
	count               int
	shortest, longest   time.Duration
	fewest, most, total int
}

func (m *meter) take(u *pipeline.Unit) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.pictures == 0 {
		m.first, m.low, m.high = u.Received, u.PTS, u.PTS
	}
	m.pictures++
	m.last, m.codec, m.origin = u.Received, u.Codec, u.Origin
	for _, n := range u.NALs {
		m.bytes += uint64(len(n))
	}
	if u.PTS < m.high {
		m.bRun++
		m.bMax = max(m.bMax, m.bRun)
	} else {
		m.bRun = 0
	}
	m.low, m.high = min(m.low, u.PTS), max(m.high, u.PTS)
	if m.settledAt.IsZero() && u.Received.Sub(m.first) >= settle {
		m.settledAt, m.settledPTS = u.Received, m.high
	}
	if u.Keyframe {
		m.keyframe(u)
	}
}

func (m *meter) keyframe(u *pipeline.Unit) {
	if !m.learned {
		m.stream, m.learned = describe(u.Codec, u.NALs)
	}
	if m.keyframes++; m.keyframes > 1 {
		m.gops.add(m.pictures-m.keyAt, u.PTS-m.keyPTS)
	}
	m.keyAt, m.keyPTS = m.pictures, u.PTS
}

func (g *gops) add(pictures int, length time.Duration) {
	if g.count == 0 {
		g.shortest, g.longest, g.fewest, g.most = length, length, pictures, pictures
	}
	g.count++
	g.total += pictures
	g.shortest, g.longest = min(g.shortest, length), max(g.longest, length)
	g.fewest, g.most = min(g.fewest, pictures), max(g.most, pictures)
}

func (m *meter) lasted() time.Duration { return m.last.Sub(m.first) }

func (m *meter) progress(length time.Duration) Progress {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := Progress{Began: m.pictures > 0, Length: length, Pictures: m.pictures, Bytes: m.bytes}
	if p.Began {
		p.Measured = min(time.Since(m.first), length)
	}
	return p
}

// video says what the pictures are like, once they have ended.
func (m *meter) video(f rtsp.Facts, seen sight) Video {
	v := Video{
		Codec: string(m.codec), Profile: m.stream.profile, Level: m.stream.level,
		Width: m.stream.width, Height: m.stream.height, Chroma: m.stream.chroma, Depth: m.stream.depth, Interlaced: m.stream.interlaced,
		DeclaredFPS: m.stream.fps, BFrames: m.bMax, Pictures: m.pictures, Keyframes: m.keyframes,
		InBandOnly: m.codec != pipeline.MJPEG && !f.Announced,
	}
	if f.FrameRate > 0 {
		v.DeclaredFPS = f.FrameRate
	}
	if seen.pictures > 0 {
		v.Width, v.Height, v.Chroma, v.Depth = seen.width, seen.height, seen.chroma, seen.depth
	}
	if span := (m.high - m.low).Seconds(); span > 0 {
		v.FPS = float64(m.pictures-1) / span
		v.BitRate = float64(m.bytes) * 8 / float64(m.pictures) * v.FPS
	}
	if passed := m.last.Sub(m.settledAt).Seconds(); !m.settledAt.IsZero() && passed >= 2*settle.Seconds() {
		v.Pace = (m.high - m.settledPTS).Seconds() / passed
	}
	if g := m.gops; g.count > 0 {
		v.GOP = &GOP{
			Pictures: float64(g.total) / float64(g.count), Fewest: g.fewest, Most: g.most,
			Shortest: g.shortest.Seconds(), Longest: g.longest.Seconds(),
		}
	}
	return v
}
