package rtsp_test

import (
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"testing"
	"time"

	"sightline/pipeline"
	"sightline/sources"
	"sightline/sources/decode"
	"sightline/sources/picture"
	"sightline/sources/rtsp"
	"sightline/sources/sim/habits"
)

// TestHabits holds what every file of the corpus of bad habits expects.
func TestHabits(t *testing.T) {
	all, err := habits.All()
	if err != nil {
		t.Fatal(err)
	}
	known := reference(t)
	for _, h := range all {
		t.Run(h.Name, func(t *testing.T) { t.Parallel(); endure(t, h, known) })
	}
}

// reference returns what the pictures of the clips look like.
func reference(t *testing.T) map[uint32]bool {
	known := map[uint32]bool{}
	for _, clip := range habits.Clips() {
		h := habits.Habit{Media: habits.Media{Clip: clip}}
		c, config := startHabit(t, h)
		env, _ := environment(&network{})
		v := newViewer(t, h.Codec())
		for _, u := range receive(t, &rtsp.Source{Config: config}, env, atLeast(25)) {
			v.take(u)
		}
		v.end()
		c.Stop()
		for _, p := range v.shown {
			known[p.sum] = true
		}
	}
	if len(known) < 20 {
		t.Fatalf("%d pictures are known", len(known))
	}
	return known
}

func startHabit(t *testing.T, h habits.Habit) (*habits.Camera, sources.RTSP) {
	t.Helper()
	c := &habits.Camera{Habit: h}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	config := sources.RTSP{URL: c.URL(), Transport: h.Media.Transport, Stall: patience}
	if config.Transport == "" {
		config.Transport = rtsp.TransportTCP
	}
	if strings.HasPrefix(h.Expect.Refused, "no p") { // a stall, which is to be seen soon
		config.Stall = time.Second
	}
	if h.Auth.Scheme != "" {
		config.Username, config.Password = habits.Username, pipeline.NewSecret(habits.Password)
	}
	return c, config
}

func endure(t *testing.T, h habits.Habit, known map[uint32]bool) {
	c, config := startHabit(t, h)
	defer c.Stop()
	source := &rtsp.Source{Config: config}
	endureOnce(t, source, &granted{address: c.Address()}, h, known)
	if h.Expect.Again {
		h.Expect.Pictures, h.Expect.Refused = max(1, h.Expect.Pictures), ""
		endureOnce(t, source, &granted{address: c.Address()}, h, known)
	}
	if h.Expect.Next != "" {
		h.Expect.Pictures, h.Expect.Refused = 0, h.Expect.Next
		endureOnce(t, source, &granted{address: c.Address()}, h, known)
	}
}

// endureOnce watches one connection.
func endureOnce(t *testing.T, source *rtsp.Source, n pipeline.Network, h habits.Habit, known map[uint32]bool) {
	t.Helper()
	e := h.Expect
	env, logged := environment(n)
	v := newViewer(t, h.Codec())
	defer v.end()
	lost := false
	_, err := tryReceive(t, source, env, func(all []unit) bool {
		u := all[len(all)-1]
		lost = lost || u.Lost > 0
		v.take(u)
		return e.Refused == "" && len(v.shown) >= e.Pictures
	})
	v.drain()
	switch {
	case e.Refused == "" && !errors.Is(err, errEnough):
		t.Errorf("after %d pictures: %v\n%s", len(v.shown), err, logged)
	case e.Refused != "":
		mustContain(t, err, e.Refused)
		if pipeline.IsPermanent(err) != e.Permanent {
			t.Errorf("permanent is not %t: %v", e.Permanent, err)
		}
	}
	hidden(t, err.Error()+logged.String())
	if len(v.shown) < e.Pictures || lost && !e.Lossy {
		t.Errorf("%d pictures, lost is %t, want %d and more\n%s", len(v.shown), lost, e.Pictures, logged)
	}
	v.check(e, known)
}

// check compares what was shown with what the camera has.
func (v *viewer) check(e habits.Expect, known map[uint32]bool) {
	v.t.Helper()
	var sizes []string
	for i, p := range v.shown {
		if !known[p.sum] && len(known) > 0 {
			v.t.Errorf("picture %d of %d is none of the camera's", i, len(v.shown))
		}
		if !slices.Contains(sizes, p.size) {
			sizes = append(sizes, p.size)
		}
	}
	if len(e.Sizes) > 0 && !slices.Equal(sizes, e.Sizes) {
		v.t.Errorf("sizes %v, want %v", sizes, e.Sizes)
	}
}

// viewer decodes units as a capture stage does, and keeps the sums of the pictures.
type viewer struct {
	t        *testing.T
	decoder  *decode.Decoder
	sequence uint64
	awaiting bool
	shown    []seen
}

type seen struct {
	size string
	sum  uint32
}

func newViewer(t *testing.T, codec pipeline.Codec) *viewer {
	t.Helper()
	d, err := decode.Open(decode.Options{Codec: codec})
	if err != nil {
		t.Fatal(err)
	}
	return &viewer{t: t, decoder: d, awaiting: true}
}

func (v *viewer) end() { _ = v.decoder.Close() }

func (v *viewer) drain() {
	if !v.awaiting {
		_ = v.decoder.Drain(v.show)
	}
	v.awaiting = true
}

func (v *viewer) take(u unit) {
	if u.Lost > 0 {
		v.drain()
	}
	if v.awaiting && (!u.Keyframe || u.Lost > 0) {
		return
	}
	v.awaiting = false
	v.sequence++
	if err := v.decoder.Decode(&u.Unit, v.sequence, v.show); err != nil {
		v.awaiting = true
		_ = v.decoder.Reset()
	}
}

func (v *viewer) show(p *picture.Picture) {
	if p.Corrupt || p.Partial {
		return
	}
	sum := crc32.NewIEEE()
	for _, c := range p.Components[:3] {
		for y := range p.Height {
			if row := y * c.Stride; c.Data != nil && (y+1)*c.Stride <= len(c.Data) {
				_, _ = sum.Write(c.Data[row : row+p.Width/2])
			}
		}
	}
	v.shown = append(v.shown, seen{fmt.Sprintf("%dx%d", p.Width, p.Height), sum.Sum32()})
}

// TestACameraThatComesAndGoesIsNotLoggedEachTime: what a connection is like is worth a line once.
func TestACameraThatComesAndGoesIsNotLoggedEachTime(t *testing.T) {
	h := habits.Habit{Media: habits.Media{Pictures: 3, Then: "close", Reports: "wrong"}}
	c, config := startHabit(t, h)
	defer c.Stop()
	env, logged := environment(&network{})
	source := &rtsp.Source{Config: config}
	for range 10 {
		_, err := tryReceive(t, source, env, func([]unit) bool { return false })
		mustContain(t, err, "closed the connection")
	}
	if n := strings.Count(logged.String(), "\n"); n != 2 {
		t.Errorf("%d lines for ten connections, want one for the connection and one for the clock\n%s", n, logged)
	}
}
