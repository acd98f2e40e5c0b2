package wire

import (
	"errors"
	"io"
	"testing"
	"time"

	"sightline/pipeline"
)

const decade = 10 * 365 * 24 * time.Hour

func TestAStagesClockIsCorrectedWhateverItShows(t *testing.T) {
	for _, off := range []time.Duration{decade, -decade, time.Hour, -3 * time.Second} {
		t.Run(off.String(), func(t *testing.T) {
			wrong := func() time.Time { return time.Now().Add(off) }
			r := start(t, "unix", BoxOptions{Ticket: ticket(Capture)}, StageOptions{Now: wrong})
			clock := r.stage.Clock()
			bound, known := clock.Error()
			if apart := (clock.Offset() + off).Abs(); !known || apart > bound || bound > time.Second {
				t.Errorf("offset %s instead of %s: wrong by %s, which it takes for %s", clock.Offset(), -off, apart, bound)
			}
			if apart := time.Since(clock.Now()).Abs(); apart > time.Second {
				t.Errorf("host's time wrong by %s", apart)
			}
			if at := time.Now(); !clock.FromHost(clock.ToHost(at)).Equal(at) || !clock.ToHost(time.Time{}).IsZero() {
				t.Error("there and back is not the same")
			}
		})
	}
}

func TestUnderOneKernelTimesStayAsTheyAre(t *testing.T) {
	for way := range ways {
		r := start(t, way, BoxOptions{Ticket: ticket(Capture)}, StageOptions{})
		if off := r.stage.Clock().Offset(); off != 0 {
			t.Errorf("over %s: offset %s", way, off)
		}
	}
}

func TestTheTimesOfFramesAndResultsAreTheHosts(t *testing.T) {
	wrong := func() time.Time { return time.Now().Add(decade) }
	stats := pipeline.NewStats()
	inbox := pipeline.NewInbox("scene", stats)
	link := inbox.Link("it")
	r := start(t, "unix", BoxOptions{Ticket: ticket(Capture), Ends: Ends{FramesIn: map[string]*pipeline.FrameLink{"scene": link}}}, StageOptions{Now: wrong})
	link.Open(wish)
	until(t, "the link is open", func() bool { return r.stage.FrameOutputs()[0].Wish() != nil })
	camera := time.Date(2001, 2, 3, 4, 5, 6, 7, time.UTC)
	for _, origin := range []pipeline.Origin{pipeline.OriginArrival, pipeline.OriginSenderReport} {
		f := newFrame(wish, 1)
		f.Times = pipeline.Times{Captured: wrong(), Received: wrong(), Decoded: wrong(), Origin: origin}
		f.Deadline = wrong().Add(time.Minute)
		if origin == pipeline.OriginSenderReport {
			f.Times.Captured = camera
		}
		// The producer's own inbox holds the stage's clock against the deadline, and here the stage's
		// clock is a pretence: send past it.
		got := sendOver(t, f, r.stage.clock)
		for what, at := range map[string]time.Time{"received": got.Times.Received, "decoded": got.Times.Decoded, "deadline": got.Deadline.Add(-time.Minute)} {
			if apart := time.Since(at).Abs(); apart > 5*time.Second {
				t.Errorf("%s is %s off", what, apart)
			}
		}
		switch captured := got.Times.Captured; {
		case origin == pipeline.OriginSenderReport && !captured.Equal(camera):
			t.Errorf("the camera's time became %s", captured)
		case origin == pipeline.OriginArrival && time.Since(captured).Abs() > 5*time.Second:
			t.Errorf("captured %s", captured)
		}
	}
	result := newResult(1)
	result.Inferred, result.Captured = wrong(), wrong()
	kind, body, err := encodeMessage(pipeline.Message{Result: result}, r.stage.clock)
	if err != nil {
		t.Fatal(err)
	}
	m, err := decodeMessage(kind, body, nil)
	if err != nil || time.Since(m.Result.Inferred).Abs() > 5*time.Second || time.Since(m.Result.Captured).Abs() > 5*time.Second {
		t.Errorf("result %+v, %v", m.Result, err)
	}
}

// sendOver encodes a frame by a stage's clock and decodes it by the host's.
func sendOver(t *testing.T, f *pipeline.Frame, clock *Clock) *pipeline.Frame {
	t.Helper()
	head, err := appendFrameHead(nil, f, clock)
	if err != nil {
		t.Fatal(err)
	}
	h, err := decodeFrameHead(head[:frameHead], &wish, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &pipeline.Frame{Times: h.times, Deadline: h.deadline}
}

// exchangeOf plays one exchange: the stage's clock when asking, how long the question and the answer
// took, and what the host's clock is ahead.
func exchangeOf(t *testing.T, c *Clock, asked time.Time, there, back, ahead time.Duration) {
	t.Helper()
	host := asked.Add(there + ahead).UnixNano()
	if err := c.learn(asked, there+back, host, host); err != nil {
		t.Fatal(err)
	}
}

func TestTheExchangeWithTheShortestWayCounts(t *testing.T) {
	at := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	c := NewClock(func() time.Time { return at })
	const ahead = 42 * time.Second
	for n := range 20 { // queues on the way there: half of them is an error
		exchangeOf(t, c, at, time.Duration(n%7)*100*time.Millisecond+50*time.Microsecond, 50*time.Microsecond, ahead)
	}
	bound, _ := c.Error()
	if apart := (c.Offset() - ahead).Abs(); apart > bound || bound > 100*time.Microsecond {
		t.Errorf("offset %s, bound %s", c.Offset(), bound)
	}
}

func TestAClockThatIsSetIsFollowedAtOnce(t *testing.T) {
	at := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	c := NewClock(func() time.Time { return at })
	for range 8 {
		exchangeOf(t, c, at, time.Millisecond, time.Millisecond, 0)
	}
	if c.Offset() != 0 {
		t.Fatalf("offset %s", c.Offset())
	}
	exchangeOf(t, c, at, time.Millisecond, time.Millisecond, time.Hour)
	if c.Offset() != time.Hour {
		t.Errorf("offset %s after the host's clock was set", c.Offset())
	}
}

func TestAnAnswerThatCannotBeIsNotLearnt(t *testing.T) {
	at := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		took           time.Duration
		received, sent int64
	}{
		"sent before it was received": {time.Second, at.UnixNano() + 1000, at.UnixNano()},
		"longer there than away":      {time.Second, at.UnixNano(), at.Add(time.Minute).UnixNano()},
		"a thousand years off":        {time.Second, 1<<63 - 1, 1<<63 - 1},
		"numbers that overflow":       {time.Second, -1 << 63, 1<<63 - 1},
	} {
		if err := NewClock(func() time.Time { return at }).learn(at, c.took, c.received, c.sent); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzClock(f *testing.F) {
	f.Add(make([]byte, clockTell*clockBurst))
	f.Add([]byte("short"))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, c := unixPair(t)
		defer a.Close()
		go func() { c.Write(b); c.Close() }()
		clock := NewClock(nil)
		if err := clock.burst(struct {
			io.Reader
			io.Writer
		}{a, io.Discard}, 0); err == nil && clock.Offset().Abs() > clockLimit {
			t.Fatalf("offset %s", clock.Offset())
		}
	})
}
