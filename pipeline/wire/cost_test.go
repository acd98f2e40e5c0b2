package wire

import (
	"context"
	"fmt"
	"net"
	"testing"

	"sightline/pipeline"
)

// costSizes are what classifiers wish for, and a whole picture.
var costSizes = []struct {
	name string
	wish pipeline.Wish
}{
	{"224x224", pipeline.Wish{Width: 224, Height: 224, Color: pipeline.RGB, Resize: pipeline.ResizeStandard}},
	{"1920x1080", pipeline.Wish{Width: 1920, Height: 1080, Color: pipeline.RGB, Resize: pipeline.ResizeStandard}},
}

// hop is a way of frames from a producer to an inbox.
type hop struct {
	put  *pipeline.FrameLink
	take *pipeline.Inbox
}

// one brings one frame across and waits for it.
func (h *hop) one(tb testing.TB, p *pipeline.FramePool, w pipeline.Wish, sequence uint64, room []*pipeline.Frame) {
	f := p.New(w.Width, w.Height)
	f.Source, f.Sequence, f.Color = "gate", sequence, w.Color
	h.put.Put(f)
	got, err := h.take.Take(context.Background(), never, 1, 0, room)
	if err != nil || got[0].Sequence != sequence {
		tb.Fatalf("frame %d: %v", sequence, err)
	}
	got[0].Release()
}

// hops are the ways to measure: direct is a connection of its own between two boxes under one kernel,
// wire is from a box to the supervisor, supervisor from box to box through it: two wires.
var hops = []struct {
	name string
	open func(tb testing.TB, w pipeline.Wish) *hop
}{
	{"memory", func(_ testing.TB, w pipeline.Wish) *hop {
		inbox := pipeline.NewInbox("scene", pipeline.NewStats())
		link := inbox.Link("it")
		link.Open(w)
		return &hop{link, inbox}
	}},
	{"direct-unix", func(tb testing.TB, w pipeline.Wish) *hop { return direct(tb, w, unixPair) }},
	{"direct-tcp", func(tb testing.TB, w pipeline.Wish) *hop { return direct(tb, w, tcpPair) }},
	{"wire-unix", func(tb testing.TB, w pipeline.Wish) *hop { return wired(tb, w, "unix") }},
	{"wire-tcp", func(tb testing.TB, w pipeline.Wish) *hop { return wired(tb, w, "tcp") }},
	{"supervisor-unix", func(tb testing.TB, w pipeline.Wish) *hop { return throughSupervisor(tb, w, "unix") }},
	{"supervisor-tcp", func(tb testing.TB, w pipeline.Wish) *hop { return throughSupervisor(tb, w, "tcp") }},
}

func direct(tb testing.TB, w pipeline.Wish, pair func(testing.TB) (net.Conn, net.Conn)) *hop {
	a, b := pair(tb)
	output := NewFrameOutput("gate", "scene", pipeline.NewStats())
	inbox := pipeline.NewInbox("scene", pipeline.NewStats())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{}, 2)
	go func() { output.Send(ctx, a, w, nil); done <- struct{}{} }()
	go func() { ReceiveFrames(ctx, b, inbox.Link("gate"), w, nil); done <- struct{}{} }()
	tb.Cleanup(func() { cancel(); b.Close(); <-done; <-done })
	until(tb, "the link is open", func() bool { return output.Link().Wish() != nil })
	return &hop{output.Link(), inbox}
}

func wired(tb testing.TB, w pipeline.Wish, way string) *hop {
	r, inbox, link, _ := framesOf(tb, way)
	link.Open(w)
	output := r.stage.FrameOutputs()[0]
	until(tb, "the link is open", func() bool { return output.Wish() != nil })
	return &hop{output, inbox}
}

func throughSupervisor(tb testing.TB, w pipeline.Wish, way string) *hop {
	c := couplesBy(tb, way, nil)
	_, links := c.model.stage.Inbox()
	links[0].Open(w)
	output := c.capture.stage.FrameOutputs()[0]
	until(tb, "the link is open", func() bool { return output.Wish() != nil && output.Wish().Width == w.Width })
	return &hop{output, c.inbox}
}

// TestAFrameCostsNoMemory counts what one frame allocates on its way, both ends together. A
// connection of its own costs nothing; through a wire the multiplexer costs a few small pieces for
// each of its frames of at most 256 KiB, and never anything of the size of the picture.
func TestAFrameCostsNoMemory(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates, and its pools forget on purpose")
	}
	w := costSizes[0].wish
	for _, h := range hops {
		most := map[string]float64{"wire-unix": 16, "wire-tcp": 16, "supervisor-unix": 32, "supervisor-tcp": 32}[h.name]
		t.Run(h.name, func(t *testing.T) {
			way := h.open(t, w)
			room, n := make([]*pipeline.Frame, 0, 1), uint64(0)
			var p pipeline.FramePool
			one := func() { n++; way.one(t, &p, w, n, room) }
			for range 20 {
				one()
			}
			// A collection in between empties the pools: the average over many frames, rounded down,
			// forgives that.
			if got := testing.AllocsPerRun(200, one); got > most {
				t.Errorf("%v allocations a frame, want at most %v", got, most)
			}
		})
	}
}

// BenchmarkFrame measures one frame from Put to Take, alone on its way.
func BenchmarkFrame(b *testing.B) {
	for _, size := range costSizes {
		for _, h := range hops {
			b.Run(fmt.Sprintf("%s/%s", size.name, h.name), func(b *testing.B) {
				way := h.open(b, size.wish)
				room, n := make([]*pipeline.Frame, 0, 1), uint64(0)
				var p pipeline.FramePool
				b.SetBytes(int64(size.wish.Width * size.wish.Height * 3))
				b.ReportAllocs()
				for b.Loop() {
					n++
					way.one(b, &p, size.wish, n, room)
				}
			})
		}
	}
}

// BenchmarkResult measures one result from Send to Receive, in a stream of them.
func BenchmarkResult(b *testing.B) {
	for _, way := range []string{"unix", "tcp"} {
		b.Run(way, func(b *testing.B) {
			link := pipeline.NewResultLink(256)
			r := start(b, way, BoxOptions{Ticket: ticket(Classify), Ends: Ends{ResultsIn: map[string]*Inlet{"out": into(link)}}}, StageOptions{})
			out, result := r.stage.ResultOutputs()[0], newResult(1)
			go func() {
				for out.Send(r.ctx, result) == nil {
				}
			}()
			b.ReportAllocs()
			var room []*pipeline.Result
			got := 0
			for b.Loop() {
				for got == 0 {
					var err error
					if room, err = link.Receive(r.ctx, never, 64, room[:0]); err != nil {
						b.Fatal(err)
					}
					got = len(room)
				}
				got--
			}
		})
	}
}
