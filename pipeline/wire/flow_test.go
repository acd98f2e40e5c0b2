package wire

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sightline/pipeline"
)

var never = make(chan struct{})

// framesOf makes a wire of a capture stage, whose frames go to an inbox here.
func framesOf(t testing.TB, way string) (*rig, *pipeline.Inbox, *pipeline.FrameLink, *pipeline.Stats) {
	stats := pipeline.NewStats()
	inbox := pipeline.NewInbox("scene", stats)
	link := inbox.Link("it")
	r := start(t, way, BoxOptions{Ticket: ticket(Capture), Ends: Ends{FramesIn: map[string]*pipeline.FrameLink{"scene": link}}}, StageOptions{})
	return r, inbox, link, stats
}

func TestTheWishOfTheConsumerReachesTheProducerAndFramesComeBack(t *testing.T) {
	for way := range ways {
		t.Run(way, func(t *testing.T) {
			r, inbox, link, _ := framesOf(t, way)
			output := r.stage.FrameOutputs()[0]
			if output.Wish() != nil {
				t.Fatal("a wish before there is one")
			}
			w := wish
			w.Regions = []pipeline.Region{{Name: "drive", Right: 1, Bottom: 0.5}}
			link.Open(w)
			until(t, "the wish arrives", func() bool { return output.Wish() != nil })
			if got := output.Wish(); got.Width != w.Width || got.Regions[0] != w.Regions[0] {
				t.Fatalf("wish %+v", got)
			}
			sent := newFrame(w, 5)
			sent.Region = "drive"
			sent.Retain()
			output.Put(sent)
			frames, err := inbox.Take(r.ctx, never, 1, 0, nil)
			if err != nil {
				t.Fatal(err)
			}
			got := frames[0]
			if got.Sequence != 5 || got.Region != "drive" || got.Source != "gate" || string(got.Data) != string(sent.Data) ||
				!got.Times.Captured.Equal(sent.Times.Captured) || got.Times.Origin != sent.Times.Origin || got.Color != sent.Color {
				t.Errorf("got %+v, sent %+v", got, sent)
			}
			got.Release()
			sent.Release()
			link.Shut()
			until(t, "the wish is taken back", func() bool { return output.Wish() == nil })
			r.cut()
			noLeftovers(t)
		})
	}
}

func TestANewWishReplacesTheOldOne(t *testing.T) {
	r, inbox, link, _ := framesOf(t, "unix")
	output := r.stage.FrameOutputs()[0]
	link.Open(wish)
	until(t, "the first wish arrives", func() bool { return output.Wish() != nil })
	larger := wish
	larger.Width = 16
	link.Open(larger)
	until(t, "the second wish arrives", func() bool { w := output.Wish(); return w != nil && w.Width == 16 })
	output.Put(newFrame(wish, 1)) // still of the old size: not for this consumer
	output.Put(newFrame(larger, 2))
	frames, err := inbox.Take(r.ctx, never, 1, 0, nil)
	if err != nil || frames[0].Width != 16 {
		t.Fatalf("%v, %v", frames, err)
	}
}

func TestAConsumerThatIsSlowGetsTheNewestFrameAndTheDropsAreCounted(t *testing.T) {
	a, b := unixPair(t)
	defer a.Close()
	stats := pipeline.NewStats()
	output := NewFrameOutput("gate", "scene", stats)
	large := pipeline.Wish{Width: 1024, Height: 1024, Color: pipeline.RGB, Resize: pipeline.ResizeStandard}
	done := make(chan error, 1)
	go func() { done <- output.Send(t.Context(), b, large, nil) }()
	until(t, "the link is open", func() bool { return output.Link().Wish() != nil })

	// No credit was granted: whatever is put, nothing goes out and only the newest stays.
	const all = 200
	for n := range uint64(all) {
		output.Link().Put(newFrame(large, n+1))
	}
	whole := large
	whole.Regions = []pipeline.Region{pipeline.Whole}
	r := frameReceiver{conn: a, wish: &whole}
	a.Write([]byte{credit})
	got, err := r.read()
	if err != nil || got.Sequence != all {
		t.Fatalf("frame %d, %v; want the newest, %d", got.Sequence, err, all)
	}
	superseded := stats.Counter(pipeline.FramesDropped, "stage", "scene", "source", "gate", "reason", string(pipeline.DropSuperseded)).Value()
	if got.Dropped != all-1 || superseded != all-1 {
		t.Errorf("dropped %d, counted %d, want %d", got.Dropped, superseded, all-1)
	}

	// The consumer stalls with a frame half read; of all that is put meanwhile it then gets one frame
	// that was begun before, and after that the newest.
	a.Write([]byte{credit})
	output.Link().Put(newFrame(large, 1001))
	head := make([]byte, 1)
	if _, err := a.Read(head); err != nil {
		t.Fatal(err)
	}
	for n := range uint64(all) {
		output.Link().Put(newFrame(large, 1002+n))
	}
	r.head[0] = head[0]
	if got, err = r.finish(); err != nil || got.Sequence != 1001 {
		t.Fatalf("frame %d, %v", got.Sequence, err)
	}
	a.Write([]byte{credit})
	if got, err = r.read(); err != nil || got.Sequence != 1001+all {
		t.Fatalf("frame %d, %v; want the newest, %d", got.Sequence, err, 1001+all)
	}
	a.Close()
	if err := receive(t, done); err != nil {
		t.Error(err)
	}
}

func TestAModelThatIsSlowIsNeverBehindByMoreThanWhatIsOnItsWay(t *testing.T) {
	r, inbox, link, _ := framesOf(t, "unix")
	output := r.stage.FrameOutputs()[0]
	link.Open(wish)
	until(t, "the link is open", func() bool { return output.Wish() != nil })
	// While nobody takes, frames go on coming and each replaces the one before.
	for n := uint64(1); n <= 500; n++ {
		output.Put(newFrame(wish, n))
	}
	// What waits here and there is at most: one in the inbox, one on its way, one in the output. The
	// newest is among them, so the third take at the latest has it.
	var newest uint64
	for range 3 {
		frames, err := inbox.Take(r.ctx, never, 1, 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		if frames[0].Sequence <= newest {
			t.Fatalf("frame %d after frame %d", frames[0].Sequence, newest)
		}
		newest = frames[0].Sequence
		frames[0].Release()
		if newest == 500 {
			return
		}
	}
	t.Errorf("after three takes at frame %d of 500", newest)
}

func TestTheSupervisorPassesFramesFromOneBoxToAnother(t *testing.T) {
	// capture box "gate" → supervisor → classify box "scene"
	between := NewFrameOutput("gate", "scene", pipeline.NewStats())
	capture := start(t, "unix", BoxOptions{Ticket: Ticket{Kind: Capture, Name: "gate", Nonce: nonce},
		Ends: Ends{FramesIn: map[string]*pipeline.FrameLink{"scene": between.Link()}}},
		StageOptions{Greeting: Greeting{Kind: Capture, Nonce: nonce}})
	classify := start(t, "tcp", BoxOptions{Ticket: Ticket{Kind: Classify, Name: "scene", Nonce: nonce},
		Ends: Ends{FramesOut: map[string]*FrameOutput{"gate": between}}},
		StageOptions{Greeting: Greeting{Kind: Classify, Nonce: nonce}})
	inbox, links := classify.stage.Inbox()
	links[0].Open(wish)
	output := capture.stage.FrameOutputs()[0]
	until(t, "the model's wish reaches the camera", func() bool { return output.Wish() != nil })
	for n := uint64(1); n <= 20; n++ {
		output.Put(newFrame(wish, n))
	}
	var last uint64
	for last < 20 {
		frames, err := inbox.Take(t.Context(), never, 1, 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		if last = frames[0].Sequence; frames[0].Source != "gate" || frames[0].Data[0] != byte(last) {
			t.Errorf("frame %+v", frames[0])
		}
		frames[0].Release()
	}
	classify.cut() // the model is gone: the camera is to send no more
	until(t, "the wish is taken back", func() bool { return output.Wish() == nil })
}

func TestResultsCrossInOrderAndNoneIsLost(t *testing.T) {
	for way := range ways {
		t.Run(way, func(t *testing.T) {
			const all = 3000
			link := pipeline.NewResultLink(4)
			r := start(t, way, BoxOptions{Ticket: ticket(Classify), Ends: Ends{ResultsIn: map[string]*Inlet{"out": into(link)}}}, StageOptions{})
			go func() {
				for n := range all {
					if r.stage.ResultOutputs()[0].Send(r.ctx, newResult(n)) != nil {
						return
					}
				}
			}()
			for next := 0; next < all; {
				results, err := link.Receive(r.ctx, never, 16, nil)
				if err != nil {
					t.Fatal(err)
				}
				for _, r := range results {
					if r.Sequence != uint64(next) {
						t.Fatalf("result %d where %d was due", r.Sequence, next)
					}
					next++
				}
			}
		})
	}
}

func TestAFullReceiverBlocksTheSenderAndNothingQueuesUpWithoutBound(t *testing.T) {
	link := pipeline.NewResultLink(1) // nobody takes from it
	r := start(t, "unix", BoxOptions{Ticket: ticket(Classify), Ends: Ends{ResultsIn: map[string]*Inlet{"out": into(link)}}}, StageOptions{})
	ctx, cancel := context.WithCancel(r.ctx)
	var sent atomic.Int64
	go func() {
		for n := 0; r.stage.ResultOutputs()[0].Send(ctx, newResult(n)) == nil; n++ {
			sent.Add(1)
		}
	}()
	outbox := r.stage.links.ends.ResultsOut["out"]
	until(t, "the outbox is full", func() bool { return outbox.Waiting() == outboxMessages })
	if n, most := sent.Load(), int64(outboxMessages+2*resultsHeld+16+4); n > most {
		t.Errorf("%d results sent, at most %d find room", n, most)
	}
	cancel()
}

func TestResultsSurviveABrokenWireAndComeOnce(t *testing.T) {
	const all, cuts = 2000, 5
	link := pipeline.NewResultLink(4)
	o := BoxOptions{Ticket: ticket(Classify), Ends: Ends{ResultsIn: map[string]*Inlet{"out": into(link)}}}
	r := start(t, "unix", o, StageOptions{})
	go func() {
		for n := range all {
			if r.stage.ResultOutputs()[0].Send(context.Background(), newResult(n)) != nil {
				return
			}
		}
	}()
	for next := 0; next < all; {
		results, err := link.Receive(t.Context(), never, 16, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, result := range results {
			if result.Sequence != uint64(next) {
				t.Fatalf("result %d where %d was due", result.Sequence, next)
			}
			if next++; next%(all/cuts) == 0 && next < all {
				r.cut()
				r.connect("unix", o)
			}
		}
	}
}

func TestARelayThatDiesLosesNoResult(t *testing.T) {
	// classify box → supervisor → publish box; the supervisor dies with results in its hands, and a
	// new one, that knows nothing, takes over. What the publish stage has must be all, at least once.
	const all = 400
	publish := NewStage(StageOptions{Greeting: Greeting{Kind: Publish, Nonce: nonce}})
	classify := NewStage(StageOptions{Greeting: Greeting{Kind: Classify, Nonce: nonce}})
	defer publish.end()
	defer classify.end()
	supervise := func() (kill func()) {
		ctx, cancel := context.WithCancel(t.Context())
		var work sync.WaitGroup
		outbox := NewOutbox(nil)
		for _, side := range []struct {
			stage *Stage
			o     BoxOptions
		}{
			{publish, BoxOptions{Ticket: ticket(Publish), Ends: Ends{ResultsOut: map[string]*Outbox{"in": outbox}}}},
			{classify, BoxOptions{Ticket: ticket(Classify), Ends: Ends{ResultsIn: map[string]*Inlet{"out": relay(outbox)}}}},
		} {
			a, b := unixPair(t)
			work.Go(func() { side.stage.Serve(ctx, b) })
			box, err := Accept(ctx, a, side.o)
			if err != nil {
				t.Error(err)
				break
			}
			work.Go(func() { box.Run(ctx) })
		}
		return func() { cancel(); work.Wait() }
	}
	kill := supervise()
	go func() {
		if _, err := classify.Configured(t.Context()); err != nil {
			return
		}
		for n := range all {
			if classify.ResultOutputs()[0].Send(t.Context(), newResult(n)) != nil {
				return
			}
		}
	}()
	if _, err := publish.Configured(t.Context()); err != nil {
		t.Fatal(err)
	}
	published := publish.Intake()
	seen, kills := map[uint64]int{}, 0
	for len(seen) < all {
		messages := published.Peek(16, nil)
		if len(messages) == 0 {
			select {
			case <-published.Arrived():
			case <-t.Context().Done():
				t.Fatal("no more results come")
			}
		}
		for _, m := range messages {
			seen[m.Result.Sequence]++
		}
		published.Ack(len(messages))
		if len(seen) > (kills+1)*all/4 && kills < 3 {
			kill()
			kill = supervise()
			kills++
		}
	}
	kill()
	if kills != 3 {
		t.Errorf("the supervisor died %d times, not 3", kills)
	}
}

func TestStatusesStatisticsLogAndHeartbeatsReachTheSupervisor(t *testing.T) {
	beats, statuses, stats := make(chan Heartbeat, 64), make(chan pipeline.Status, 64), make(chan []pipeline.Sample, 64)
	logged := &records{}
	o := BoxOptions{
		Ticket: ticket(Capture), Configuration: Configuration{Device: "porch", Section: []byte(`{"sample":5}`),
			Secrets: map[string]pipeline.Secret{"password": pipeline.NewSecret("hunter2")}},
		Beat: func(h Heartbeat) { beats <- h }, Status: func(s pipeline.Status) { statuses <- s },
		Stats: func(s []pipeline.Sample) { stats <- s }, Stage: slog.New(logged),
	}
	exits := make(chan Exit, 1)
	o.Exit = func(e Exit) { exits <- e }
	r := start(t, "tcp", o, StageOptions{})
	c, _ := r.stage.Configured(r.ctx)
	if c.Device != "porch" || c.Stage != "it" || string(c.Section) != `{"sample":5}` || c.Secrets["password"].Reveal() != "hunter2" {
		t.Errorf("configuration %+v", c)
	}
	if text := fmt.Sprintf("%v %+v %#v", c, c, c); strings.Contains(text, "hunter2") {
		t.Error("the configuration prints a secret")
	}
	receive(t, beats)
	r.env.Report(pipeline.Status{Stage: "it", Source: "it", State: pipeline.StateOnline, Since: time.Now(), Detail: "h264"})
	if s := receive(t, statuses); s.State != pipeline.StateOnline || s.Detail != "h264" {
		t.Errorf("status %+v", s)
	}
	r.env.Log.With("camera", "front").WithGroup("rtp").Warn("no way to rtsp://u:hunter2@cam/", "lost", 3)
	until(t, "the log record arrives", func() bool { return strings.Contains(logged.text(), "rtp.lost=3") })
	if text := logged.text(); strings.Contains(text, "hunter2") || !strings.Contains(text, "camera=front") || !strings.Contains(text, "stage=it") {
		t.Errorf("log %s", text)
	}
	r.env.Stats.Counter(pipeline.PacketsLost, "stage", "it").Add(7)
	if err := r.box.Stop(r.ctx, 3*time.Second); err != nil {
		t.Fatal(err)
	}
	receive(t, r.stage.Stop())
	if g := r.stage.Grace(); g != 3*time.Second {
		t.Errorf("grace %s", g)
	}
	if err := r.stage.Finish(r.ctx, pipeline.Permanentf("wrong password for rtsp://u:hunter2@cam/")); err != nil {
		t.Error(err)
	}
	if e := receive(t, exits); !pipeline.IsPermanent(e.Err()) || strings.Contains(e.Reason, "hunter2") {
		t.Errorf("exit %+v", e)
	}
	found := false
	for _, s := range receive(t, stats) {
		found = found || s.Name == pipeline.PacketsLost.Name && s.Value == 7
	}
	if !found {
		t.Error("the last statistics did not come before the exit")
	}
	for range 2 {
		if err := receive(t, r.ended); !errors.Is(err, ErrEnded) {
			t.Errorf("ended with %v", err)
		}
	}
	r.end()
	noLeftovers(t)
}

func TestFinishHandsTheLastResultsOver(t *testing.T) {
	link := pipeline.NewResultLink(100)
	r := start(t, "unix", BoxOptions{Ticket: ticket(Classify), Ends: Ends{ResultsIn: map[string]*Inlet{"out": into(link)}}}, StageOptions{})
	for n := range 50 {
		if err := r.stage.ResultOutputs()[0].Send(r.ctx, newResult(n)); err != nil && n < resultsHeld {
			t.Fatal(err)
		}
	}
	if err := r.stage.Finish(r.ctx, nil); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	close(done)
	total := 0
	for {
		messages, err := link.Receive(t.Context(), done, 100, nil)
		if err != nil {
			break
		}
		total += len(messages)
	}
	if total != 50 {
		t.Errorf("%d results of 50", total)
	}
}

func TestAPublishStageCannotBeGivenFramesNorAClassifyStageAGrant(t *testing.T) {
	outputs := map[string]*FrameOutput{"gate": NewFrameOutput("gate", "it", pipeline.NewStats())}
	for _, o := range []BoxOptions{
		{Ticket: ticket(Publish), Ends: Ends{FramesOut: outputs}},
		{Ticket: ticket(Capture), Ends: Ends{FramesOut: outputs}},
		{Ticket: ticket(Classify), Grants: []Grant{{"broker", "192.0.2.1:1883"}}},
		{Ticket: ticket(Publish), Ends: Ends{ResultsIn: map[string]*Inlet{"x": {}}}},
		{Ticket: ticket("other")},
	} {
		a, b := unixPair(t)
		if _, err := Accept(t.Context(), a, o); err == nil {
			t.Errorf("%s with %+v: no error", o.Ticket.Kind, o.Ends)
		}
		b.Close()
	}
}

func TestAStageThatOpensALinkThatItDoesNotHaveIsCutOff(t *testing.T) {
	for name, o := range map[string]opening{
		"frames":            {kind: streamFrames, Link: "gate", Wish: &wish},
		"results":           {kind: streamResults, Link: "out", Epoch: "1"},
		"a second control":  {kind: streamControl},
		"a second clock":    {kind: streamClock},
		"a wish of nothing": {kind: streamFrames, Link: "gate", Wish: &pipeline.Wish{}},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, "unix", BoxOptions{Ticket: ticket(Publish)}, StageOptions{})
			r.stage.current.Load().open(o) // the other side may be quicker than its return
			first, second := receive(t, r.ended), receive(t, r.ended)
			if !breach(first) && !breach(second) {
				t.Errorf("ended with %v and %v", first, second)
			}
			r.end()
			noLeftovers(t)
		})
	}
}

func TestAReconfiguredStageIsNotTakenForTheOneThatRuns(t *testing.T) {
	o := BoxOptions{Ticket: ticket(Publish), Configuration: Configuration{Section: []byte(`{"a":1}`)}}
	r := start(t, "unix", o, StageOptions{})
	r.cut()
	o.Configuration.Section = []byte(`{"a":2}`)
	r.connect("unix", o)
	first, second := receive(t, r.ended), receive(t, r.ended)
	if !errors.Is(first, ErrUnexpected) && !errors.Is(second, ErrUnexpected) {
		t.Errorf("ended with %v and %v", first, second)
	}
	r.end()
}

func TestAnEnrolledStageComesBackWithItsNonce(t *testing.T) {
	o := BoxOptions{Ticket: Ticket{Kind: Publish, Name: "it", Nonce: nonce, Enroll: true}}
	r := start(t, "unix", o, StageOptions{Greeting: Greeting{Kind: Publish, Program: "guest 1"}})
	r.cut()
	o.Ticket.Enroll = false
	r.connect("unix", o)
	until(t, "the wire is back", func() bool { return r.stage.current.Load() != nil })
}
