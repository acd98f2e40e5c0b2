package wire

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/yamux"

	"sightline/pipeline"
)

func muxFrame(version, kind byte, flags uint16, stream, length uint32, body ...byte) []byte {
	b := []byte{version, kind}
	b = binary.BigEndian.AppendUint16(b, flags)
	b = binary.BigEndian.AppendUint32(b, stream)
	b = binary.BigEndian.AppendUint32(b, length)
	return append(b, body...)
}

// muxBreaches are what a stage sends that no multiplexer would.
var muxBreaches = map[string]struct {
	bytes []byte
	err   error
}{
	"another version":                  {muxFrame(7, muxData, 0, 1, 0), ErrMalformed},
	"another type":                     {muxFrame(0, 9, 0, 1, 0), ErrMalformed},
	"a frame of four gigabytes":        {muxFrame(0, muxData, muxSYN, 1, 1<<32-1), ErrTooLarge},
	"a stream of the supervisor's own": {muxFrame(0, muxData, muxSYN, 2, 0), ErrMalformed},
	"stream zero":                      {muxFrame(0, 1, muxSYN, 0, 0), ErrMalformed},
	"pings without end":                {bytes.Repeat(muxFrame(0, muxPing, muxSYN, 0, 1), maxPings+1), ErrFlood},
	"streams without end":              {manyStreams(maxSYNs + 1), ErrFlood},
	"text":                             {[]byte(strings.Repeat("hello supervisor\n", 10)), ErrMalformed},
	"an opening of no type":            {withOpening([]byte{200, 0, 0, 0, 0}), ErrUnexpected},
	"an opening beyond all bounds":     {withOpening([]byte{byte(streamDial), 0xff, 0xff, 0xff, 0xff}), ErrTooLarge},
	"an opening that is no JSON":       {withOpening(appendRecord(nil, streamDial, []byte("picture"))), ErrMalformed},
}

func manyStreams(n int) []byte {
	var b []byte
	for i := range n {
		b = append(b, muxFrame(0, 1, muxSYN, uint32(2*i+1), 0)...)
	}
	return b
}

func withOpening(record []byte) []byte {
	return muxFrame(0, muxData, muxSYN, 1, uint32(len(record)), record...)
}

// liar says a proper hello and then what it likes. It reads all that comes.
func liar(t testing.TB, kind Kind, o BoxOptions, say []byte) error {
	t.Helper()
	a, b := unixPair(t)
	defer b.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	go func() {
		if _, _, err := greet(b, Greeting{Kind: kind, Nonce: nonce}); err != nil {
			t.Error(err)
		}
		go io.Copy(io.Discard, b)
		b.Write(say)
	}()
	box, err := Accept(ctx, a, o)
	if err != nil {
		t.Fatal(err)
	}
	return box.Run(ctx)
}

func TestAStageThatLiesOrFloodsLosesItsWireAndNothingElse(t *testing.T) {
	for name, c := range muxBreaches {
		t.Run(name, func(t *testing.T) {
			if err := liar(t, Publish, BoxOptions{Ticket: ticket(Publish)}, c.bytes); !errors.Is(err, c.err) {
				t.Errorf("error %v, want %v", err, c.err)
			}
			noLeftovers(t)
		})
	}
}

func TestARateIsOfEachSecond(t *testing.T) {
	var r rate
	at := time.Unix(1000, 0)
	now := func() time.Time { return at }
	for range 3 { // three seconds of what is allowed
		for n := range 10 {
			if r.over(10, now) {
				t.Fatalf("event %d is too much", n)
			}
		}
		at = at.Add(rateWindow)
	}
	for range 10 {
		r.over(10, now)
	}
	if !r.over(10, now) {
		t.Error("the eleventh in a second is not too much")
	}
}

func TestAStageWithMoreStreamsThanItsShareIsCutOff(t *testing.T) {
	a, b := unixPair(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	opened := make(chan int, 1)
	go func() {
		if _, _, err := greet(b, Greeting{Kind: Publish, Nonce: nonce}); err != nil {
			t.Error(err)
		}
		config := muxConfig(slog.New(slog.DiscardHandler))
		config.AcceptBacklog = 1 // so that every stream waits for the one before to be accepted
		mux, err := yamux.Client(b, config)
		if err != nil {
			t.Error(err)
			return
		}
		n := 0
		for ; err == nil; n++ {
			_, err = mux.OpenStream()
		}
		mux.Close()
		opened <- n
	}()
	box, err := Accept(ctx, a, BoxOptions{Ticket: ticket(Publish)})
	if err != nil {
		t.Fatal(err)
	}
	if err := box.Run(ctx); !errors.Is(err, ErrFlood) {
		t.Errorf("error %v", err)
	}
	if n := receive(t, opened); n > maxStreams+4 {
		t.Errorf("%d streams were opened", n)
	}
	noLeftovers(t)
}

func TestAStageThatStallsIsGivenUp(t *testing.T) {
	err := liar(t, Publish, BoxOptions{Ticket: ticket(Publish), Silence: 50 * time.Millisecond}, nil)
	if !errors.Is(err, ErrSilent) {
		t.Errorf("error %v", err)
	}
	noLeftovers(t)
}

func TestAStageThatReadsNothingDoesNotHoldTheSupervisorUp(t *testing.T) {
	a, b := unixPair(t)
	defer b.Close()
	go greet(b, Greeting{Kind: Publish, Nonce: nonce})
	outbox := NewOutbox(nil)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	box, err := Accept(ctx, a, BoxOptions{Ticket: ticket(Publish), Silence: 300 * time.Millisecond,
		Ends: Ends{ResultsOut: map[string]*Outbox{"in": outbox}}})
	if err != nil {
		t.Fatal(err)
	}
	full, stop := context.WithCancel(ctx)
	filled := make(chan struct{})
	go func() {
		defer close(filled)
		for n := 0; outbox.Put(full, pipeline.Message{Result: newResult(n)}, nil) == nil; n++ {
		}
	}()
	if err := box.Run(ctx); !errors.Is(err, ErrSilent) {
		t.Errorf("error %v", err)
	}
	stop()
	<-filled
	if n := outbox.Waiting(); n != outboxMessages {
		t.Errorf("%d messages wait, want all %d that found room", n, outboxMessages)
	}
	noLeftovers(t)
}

func TestCreditsAndAcknowledgementsThatLie(t *testing.T) {
	for name, c := range map[string]struct {
		say []byte
		err error
	}{
		"more credits than there are": {bytes.Repeat([]byte{credit}, maxCredits+2), ErrFlood},
		"a credit that is none":       {[]byte("x"), ErrMalformed},
	} {
		a, b := unixPair(t)
		a.Write(c.say)
		if err := NewFrameOutput("gate", "scene", pipeline.NewStats()).Send(t.Context(), b, wish, nil); !errors.Is(err, c.err) {
			t.Errorf("%s: %v", name, err)
		}
		a.Close()
	}
	for name, c := range map[string]struct {
		say []byte
		err error
	}{
		"of a message never sent": {appendRecord(nil, recAck, binary.BigEndian.AppendUint64(nil, 1<<40)), ErrMalformed},
		"of no number":            {appendRecord(nil, recAck, nil), ErrMalformed},
		"with a picture":          {appendRecord(nil, recAck, make([]byte, 100)), ErrTooLarge},
		"that is none":            {appendRecord(nil, recResult, nil), ErrUnexpected},
	} {
		a, b := unixPair(t)
		a.Write(c.say)
		if err := NewOutbox(nil).send(t.Context(), b); !errors.Is(err, c.err) {
			t.Errorf("%s: %v", name, err)
		}
		a.Close()
	}
}

func TestMessagesThatAreOutOfOrderAreRefused(t *testing.T) {
	_, body, err := encodeMessage(pipeline.Message{Result: newResult(1)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, numbers := range map[string][]uint64{"a gap": {1, 3}, "zero": {0}} {
		a, b := unixPair(t)
		go func() {
			for _, n := range numbers {
				a.Write(resultRecord(recResult, n, body))
			}
		}()
		if err := into(pipeline.NewResultLink(10)).receive(t.Context(), b, "e", nil); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
		a.Close()
		b.Close()
	}
}

func TestTheMultiplexersComplaintsAreFewAndShort(t *testing.T) {
	logged := &records{}
	l := &muxLog{log: slog.New(logged)}
	for range 10_000 {
		l.Printf("%s", strings.Repeat("x", 10_000))
	}
	if text := logged.text(); len(text) > 10*maxText {
		t.Errorf("%d bytes of log", len(text))
	}
}

func TestPace(t *testing.T) {
	p := pace{rate: 10, burst: 5}
	at := time.Unix(1000, 0)
	for n := range 5 {
		if d := p.take(at); d != 0 {
			t.Fatalf("event %d waits %s", n, d)
		}
	}
	if d := p.take(at); d != 100*time.Millisecond {
		t.Errorf("the sixth waits %s", d)
	}
	if p.allows(at) {
		t.Error("the seventh is allowed")
	}
	if !p.allows(at.Add(time.Second)) {
		t.Error("after a second nothing is allowed")
	}
}

// FuzzWire lets a stage that has said hello send anything at all.
func FuzzWire(f *testing.F) {
	for _, c := range muxBreaches {
		if len(c.bytes) < 10_000 {
			f.Add(c.bytes)
		}
	}
	f.Add(withOpening(appendRecord(nil, streamControl, []byte("{}"))))
	f.Add(withOpening(append(appendRecord(nil, streamClock, []byte("{}")), make([]byte, 16)...)))
	f.Fuzz(func(t *testing.T, b []byte) {
		supervisor, stage := net.Pipe()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		go func() {
			if _, _, err := greet(stage, Greeting{Kind: Classify, Nonce: nonce}); err != nil {
				return
			}
			go io.Copy(io.Discard, stage)
			stage.Write(b)
			stage.Close()
		}()
		box, err := Accept(ctx, supervisor, BoxOptions{Ticket: ticket(Classify), Ends: Ends{
			ResultsIn: map[string]*Inlet{"out": into(pipeline.NewResultLink(1000))},
			FramesOut: map[string]*FrameOutput{"gate": NewFrameOutput("gate", "it", pipeline.NewStats())},
		}})
		if err != nil {
			t.Fatal(err)
		}
		if err := box.Run(ctx); err == nil || ctx.Err() != nil {
			t.Fatalf("ended with %v", err)
		}
	})
}

// FuzzGuard holds the guard to passing on, unchanged, all that it does not refuse, however it is cut.
func FuzzGuard(f *testing.F) {
	for _, c := range muxBreaches {
		if len(c.bytes) < 10_000 {
			f.Add(c.bytes, 3)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, size int) {
		read := func(size int) ([]byte, error) {
			g := &guard{conn: oneWay{bytes.NewReader(b)}, parity: 1, failed: func(error) {}}
			var out []byte
			buf := make([]byte, size)
			for {
				n, err := g.Read(buf)
				out = append(out, buf[:n]...)
				if err != nil {
					return out, err
				}
			}
		}
		whole, errWhole := read(1 << 12)
		parts, errParts := read(1 + size&0xff)
		if (errWhole == io.EOF) != (errParts == io.EOF) {
			t.Fatalf("%v, and in parts %v", errWhole, errParts)
		}
		if errWhole == io.EOF && (!bytes.Equal(whole, b) || !bytes.Equal(parts, b)) {
			t.Fatal("what was passed on is not what came")
		}
	})
}

func TestTheGuardJoinsAHeadWithItsBody(t *testing.T) {
	a, b := unixPair(t)
	defer a.Close()
	g := &guard{conn: b}
	head := muxFrame(0, muxData, 0, 1, 5)
	if n, err := g.Write(head); n != len(head) || err != nil || g.sent.Load() != 0 {
		t.Fatalf("%d, %v", n, err)
	}
	if n, err := g.Write([]byte("hello")); n != 5 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	g.Write(muxFrame(0, muxPing, 0, 0, 9))
	got := make([]byte, 2*muxHead+5)
	if _, err := io.ReadFull(a, got); err != nil || string(got[muxHead:muxHead+5]) != "hello" || got[muxHead+5+1] != muxPing {
		t.Errorf("%q, %v", got, err)
	}
	if g.sent.Load() != uint64(len(got)) {
		t.Errorf("counted %d bytes of %d", g.sent.Load(), len(got))
	}
}
