package wire

import (
	"context"
	"errors"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"testing"

	"sightline/pipeline"
)

// couple is a capture and a classify stage, each in a box, with a frames link between them.
type couple struct {
	t       testing.TB
	direct  *Direct
	through *FrameOutput // the supervisor's, for when there is no direct way
	capture *rig
	model   *rig
	inbox   *pipeline.Inbox
	sent    atomic.Uint64
}

// couples starts the two over a way.
func couples(t testing.TB, way string) *couple {
	t.Helper()
	c := couplesBy(t, way, &Direct{})
	_, links := c.model.stage.Inbox()
	links[0].Open(wish)
	return c
}

func couplesBy(t testing.TB, way string, direct *Direct) *couple {
	t.Helper()
	c := &couple{t: t, direct: direct, through: NewFrameOutput("gate", "scene", pipeline.NewStats())}
	c.capture = start(t, way, c.captureOptions(), StageOptions{})
	c.model = start(t, way, c.modelOptions(), StageOptions{})
	c.inbox, _ = c.model.stage.Inbox()
	return c
}

func (c *couple) captureOptions() BoxOptions {
	return BoxOptions{Ticket: ticket(Capture), Ends: Ends{
		FramesIn: map[string]*pipeline.FrameLink{"scene": c.through.Link()}, Direct: map[string]*Direct{"scene": c.direct},
	}}
}

func (c *couple) modelOptions() BoxOptions {
	return BoxOptions{Ticket: ticket(Classify), Ends: Ends{
		FramesOut: map[string]*FrameOutput{"gate": c.through}, Direct: map[string]*Direct{"gate": c.direct},
	}}
}

// flows sends frames until one has arrived.
func (c *couple) flows() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if out := c.capture.stage.FrameOutputs()[0]; out.Wish() != nil {
				out.Put(newFrame(wish, c.sent.Add(1)))
			}
			sleep(ctx, reopenAfter/100)
		}
	}()
	defer func() { cancel(); <-done }()
	after := c.sent.Load()
	for {
		frames, err := c.inbox.Take(ctx, never, 1, 0, nil)
		if err != nil {
			c.t.Fatalf("no frame comes: %v", err)
		}
		sequence := frames[0].Sequence
		frames[0].Release()
		if sequence > after {
			return
		}
	}
}

func (c *couple) straight() bool {
	return c.capture.stage.links.straight["scene"].live() && c.model.stage.links.straight["gate"].live()
}

// bypasses checks that frames flow, and not through the supervisor.
func (c *couple) bypasses() {
	c.t.Helper()
	until(c.t, "there is a direct connection", c.straight)
	until(c.t, "nothing is wished for through the supervisor", func() bool { return c.through.Link().Wish() == nil })
	for range 3 {
		c.flows()
	}
	// On a slow machine a direct connection may be made anew meanwhile; it stays the way of frames.
	until(c.t, "frames go past the supervisor", func() bool { return c.straight() && c.through.Link().Wish() == nil })
}

func TestFramesOfTwoBoxesGoPastTheSupervisorAndOutliveIt(t *testing.T) {
	c := couples(t, "unix")
	c.bypasses()
	for range 2 {
		c.capture.cut()
		c.model.cut()
		c.flows()
		c.direct, c.through = &Direct{}, NewFrameOutput("gate", "scene", pipeline.NewStats()) // the next supervisor knows nothing
		c.model.connect("unix", c.modelOptions())
		c.flows()
		c.capture.connect("unix", c.captureOptions())
		c.bypasses()
	}
}

func TestABoxThatIsStartedAgainIsLinkedDirectlyAgain(t *testing.T) {
	c := couples(t, "unix")
	c.bypasses()
	c.capture.close()
	c.capture = start(t, "unix", c.captureOptions(), StageOptions{})
	c.bypasses()
	c.model.close()
	c.model = start(t, "unix", c.modelOptions(), StageOptions{})
	inbox, links := c.model.stage.Inbox()
	c.inbox = inbox
	links[0].Open(wish)
	c.bypasses()
}

func TestWithoutADirectWayFramesGoThroughTheSupervisor(t *testing.T) {
	for _, way := range []string{"tcp", "pipe"} {
		c := couples(t, way)
		c.flows()
		if c.straight() {
			t.Errorf("there is a direct connection over %s", way)
		}
	}
	c := couples(t, "unix")
	c.bypasses()
	c.direct = nil
	c.capture.close()
	o := c.captureOptions()
	o.Ends.Direct = nil // the supervisor doesn't offer one
	c.capture = start(t, "unix", o, StageOptions{})
	c.flows()
}

func TestAWishThatChangesIsMetByAnotherConnection(t *testing.T) {
	c := couples(t, "unix")
	c.bypasses()
	_, links := c.model.stage.Inbox()
	links[0].Shut()
	until(t, "nothing is wished for", func() bool { return c.capture.stage.FrameOutputs()[0].Wish() == nil })
	links[0].Open(wish)
	c.bypasses()
}

func TestAStageThatAsksForNoLinkOfItsOwnBreaksTheRules(t *testing.T) {
	r := start(t, "unix", BoxOptions{Ticket: ticket(Capture)}, StageOptions{})
	s := r.stage.current.Load()
	for s == nil {
		s = r.stage.current.Load()
	}
	r.rawControl(s, recWant, []byte(`{"link":"other"}`))
	breaks := false
	for range 2 {
		breaks = errors.Is(receive(t, r.ended), ErrUnexpected) || breaks
	}
	if !breaks {
		t.Error("the wire did not end with ErrUnexpected")
	}
	r.ended <- nil // for close
	r.ended <- nil
}

func TestALinkWithoutAConnectionBreaksTheRules(t *testing.T) {
	c := couples(t, "unix")
	until(t, "there is a direct connection", c.straight)
	told := c.capture.box.tell(recLink, []byte(`{"link":"scene"}`)) // an error where the wire ended before it returned
	breaks := false
	for range 2 {
		breaks = errors.Is(receive(t, c.capture.ended), ErrMalformed) || breaks
	}
	if !breaks {
		t.Errorf("the wire did not end with ErrMalformed (told: %v)", told)
	}
	c.capture.ended <- nil
	c.capture.ended <- nil
}

// TestNobodyPassesASupervisorAFile checks that what a box sends along is dropped by the kernel.
func TestNobodyPassesASupervisorAFile(t *testing.T) {
	a, b := unixPair(t)
	defer a.Close()
	g := newGuard(&giver{UnixConn: a.(*net.UnixConn)})
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	head := []byte{0, muxPing, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0}
	if _, _, err := b.(*net.UnixConn).WriteMsgUnix(head, syscall.UnixRights(int(null.Fd())), nil); err != nil {
		t.Fatal(err)
	}
	before := descriptors(t)
	if _, err := g.Read(make([]byte, 64)); err != nil {
		t.Fatal(err)
	}
	if after := descriptors(t); after > before { // those of tests before may still be closed
		t.Errorf("%d descriptors became %d", before, after)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// FuzzDirectOpening lets anything come over a direct link to a producer.
func FuzzDirectOpening(f *testing.F) {
	head, err := encodeOpening(opening{kind: streamFrames, Link: "gate", Wish: &wish})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(head)
	f.Add(append(head, credit, credit, 'x'))
	f.Add(appendRecord(nil, streamControl, nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, b := net.Pipe()
		output := NewFrameOutput("gate", "scene", pipeline.NewStats())
		done := make(chan struct{})
		go func() {
			defer close(done)
			giveStraight(output)(t.Context(), a)
			a.Close()
		}()
		b.Write(data)
		b.Close()
		<-done
		if output.Link().Wish() != nil {
			t.Error("it is still open")
		}
	})
}

func FuzzLink(f *testing.F) {
	f.Add([]byte(`{"link":"gate"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if name, err := decodeLink(data); err == nil && len(name) > maxName {
			t.Errorf("name of %d bytes", len(name))
		}
	})
}
