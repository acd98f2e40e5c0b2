package capture

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"sightline/pipeline"
	"sightline/sources"
	"sightline/sources/encode"
)

func TestEveryPictureBecomesAFrameAtOnce(t *testing.T) {
	for _, codec := range []pipeline.Codec{pipeline.H264, pipeline.H265, pipeline.MJPEG} {
		t.Run(string(codec), func(t *testing.T) {
			units, s := clip(t, encode.Options{Codec: codec, GOP: 10}, 25), newSteps()
			r := newRig(sources.Config{Staleness: time.Minute}, s.receive)
			r.link.Open(small)
			end := r.run(t)
			for i, u := range units {
				u = fresh(u)
				s.units <- u
				f := r.frame(t)
				if f.Sequence != uint64(i+1) || f.Source != "gate" || f.Region != "" || f.Width != 32 || f.Height != 24 ||
					f.Color != pipeline.RGB || len(f.Data) != 32*24*3 || f.Dropped != 0 {
					t.Fatalf("picture %d: frame %+v", i+1, f)
				}
				if f.Times.Received != u.Received || f.Times.Captured != u.Captured || f.Times.Origin != u.Origin ||
					f.Times.Decoded.Before(u.Received) || f.Deadline != u.Received.Add(time.Minute) {
					t.Fatalf("picture %d: times %+v, deadline %v", i+1, f.Times, f.Deadline)
				}
				f.Release()
			}
			if err := end(); err != nil {
				t.Error(err)
			}
			if len(r.drops()) != 0 || r.count(pipeline.FramesDecoded) != 25 {
				t.Errorf("dropped %v", r.drops())
			}
			r.ledger(t, 1)
			r.expectStates(t, pipeline.StateStarting, pipeline.StateOnline, pipeline.StateStopped)
			if detail := r.states[len(r.states)-1].Detail; !strings.Contains(detail, "128×96 "+string(codec)) {
				t.Errorf("detail %q", detail)
			}
		})
	}
}

// expectStates fails unless the stage went through these states.
func (r *rig) expectStates(t *testing.T, want ...pipeline.State) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	var found []pipeline.State
	for _, s := range r.states {
		if len(found) == 0 || found[len(found)-1] != s.State {
			found = append(found, s.State)
		}
		if s.Stage != "gate" || s.Source != "gate" || s.Since.IsZero() || strings.Contains(s.Reason, "secret") {
			t.Errorf("status %+v", s)
		}
	}
	if len(found) != len(want) {
		t.Fatalf("states %v, want %v", found, want)
	}
	for i := range want {
		if found[i] != want[i] {
			t.Fatalf("states %v, want %v", found, want)
		}
	}
}

func TestAtKeyframesNothingElseIsDecodedAndNoneIsHeldBack(t *testing.T) {
	units, s := clip(t, encode.Options{GOP: 10, BFrames: 2}, 40), newSteps()
	r := newRig(sources.Config{Sample: sources.Sample{Every: sources.EveryKeyframe}}, s.receive)
	r.link.Open(small)
	end := r.run(t)
	for i, u := range units {
		s.units <- fresh(u)
		if u.Keyframe {
			f := r.frame(t)
			if f.Sequence != uint64(i+1) {
				t.Errorf("keyframe %d gave frame %d", i+1, f.Sequence)
			}
			f.Release()
		}
	}
	if err := end(); err != nil {
		t.Error(err)
	}
	drops := r.drops() // the last ones may have met the end of the stage
	if drops[pipeline.DropNotKeyframe]+drops[pipeline.DropStopping] != 36 || drops[pipeline.DropNotKeyframe] < 27 || r.count(pipeline.FramesDecoded) != 4 {
		t.Errorf("dropped %v, %d decoded", drops, r.count(pipeline.FramesDecoded))
	}
	r.ledger(t, 1)
}

func TestAtALowRateWhatNothingDependsOnIsNotDecoded(t *testing.T) {
	units := clip(t, encode.Options{GOP: 25, BFrames: 2}, 75)
	r := newRig(sources.Config{Sample: sources.Sample{FPS: 5}}, func(_ context.Context, take func(*pipeline.Unit)) error {
		for _, u := range units {
			take(fresh(u))
		}
		return nil
	})
	r.link.Open(small)
	end := r.run(t)
	r.await(t, pipeline.StateStopped)
	if err := end(); err != nil {
		t.Error(err)
	}
	drops := r.drops()
	if drops[pipeline.DropNonReference] < 15 || drops[pipeline.DropSampled] == 0 {
		t.Errorf("dropped %v", drops)
	}
	if sent := r.count(pipeline.FramesSent); sent < 13 || sent > 16 {
		t.Errorf("%d frames of 3 seconds at 5 a second", sent)
	}
	r.ledger(t, 1)
}

func TestNothingIsDecodedForNobodyAndAWishBeginsAtTheLastKeyframe(t *testing.T) {
	units, s := clip(t, encode.Options{GOP: 10}, 30), newSteps()
	r := newRig(sources.Config{}, s.receive)
	end := r.run(t)
	for _, u := range units[:14] {
		s.units <- fresh(u)
	}
	r.waitFor(t, pipeline.DropNoConsumer, 10) // up to the keyframe that is the eleventh unit
	if n := r.count(pipeline.FramesDecoded); n != 0 {
		t.Errorf("%d pictures were decoded for nobody", n)
	}
	r.link.Open(small)
	s.units <- fresh(units[14])
	for {
		f := r.frame(t)
		if f.Sequence <= 10 || f.Sequence > 15 {
			t.Errorf("a frame is of unit %d", f.Sequence)
		}
		last := f.Sequence == 15
		f.Release()
		if last {
			break
		}
	}
	r.link.Shut()
	for _, u := range units[15:24] {
		s.units <- fresh(u)
	}
	r.waitFor(t, pipeline.DropNoConsumer, 15)
	if err := end(); err != nil {
		t.Error(err)
	}
	drops := r.drops()
	if n := drops[pipeline.DropNoConsumer] + drops[pipeline.DropStopping]; n != 19 || len(drops) > 2 { // the last may be met by the stop
		t.Errorf("dropped %v, want 19 for which there was nobody", drops)
	}
	r.ledger(t, 1)
}

// waitFor returns once so many were dropped for a reason.
func (r *rig) waitFor(t *testing.T, reason pipeline.Reason, n uint64) {
	t.Helper()
	for limit := time.Now().Add(time.Minute); r.drops()[reason] < n; time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("dropped %v, want %d %s", r.drops(), n, reason)
		}
	}
}

func TestAfterLostPacketsTheNextCleanKeyframeIsAwaited(t *testing.T) {
	units := clip(t, encode.Options{GOP: 10}, 40)
	units[4].Lost = 3  // 1 damaged, 5 awaiting
	units[20].Lost = 1 // the keyframe itself: 1 damaged, 9 awaiting
	s := newSteps()
	r := newRig(sources.Config{Staleness: time.Minute}, s.receive)
	r.link.Open(small)
	end := r.run(t)
	for i, u := range units {
		s.units <- fresh(u)
		if i >= 4 && i < 10 || i >= 20 && i < 30 {
			continue
		}
		f := r.frame(t)
		if f.Sequence != uint64(i+1) {
			t.Errorf("unit %d gave frame %d", i+1, f.Sequence)
		}
		f.Release()
	}
	if err := end(); err != nil {
		t.Error(err)
	}
	want := map[pipeline.Reason]uint64{pipeline.DropDamaged: 2, pipeline.DropAwaitKeyframe: 14}
	if !maps.Equal(r.drops(), want) || r.count(pipeline.PacketsLost) != 4 {
		t.Errorf("dropped %v, want %v; %d packets lost", r.drops(), want, r.count(pipeline.PacketsLost))
	}
	r.ledger(t, 1)
}

func TestALostConnectionIsMadeAnewAndGoesOnAtAKeyframe(t *testing.T) {
	units, s := clip(t, encode.Options{GOP: 10}, 30), newSteps()
	r := newRig(sources.Config{}, s.receive)
	r.link.Open(small)
	end := r.run(t)
	s.units <- fresh(units[0])
	r.frame(t).Release()
	s.fail <- errUnplugged
	if status := r.await(t, pipeline.StateOffline); status.Reason != "read rtsp://192.0.2.1/stream: unplugged" {
		t.Errorf("reason %q", status.Reason)
	}
	for _, u := range units[5:11] {
		s.units <- fresh(u)
	}
	f := r.frame(t)
	if f.Sequence != 7 {
		t.Errorf("the first frame after the connection is %d", f.Sequence)
	}
	f.Release()
	if err := end(); err != nil {
		t.Error(err)
	}
	r.expectStates(t, pipeline.StateStarting, pipeline.StateOnline, pipeline.StateOffline, pipeline.StateOnline, pipeline.StateStopped)
	if n := r.count(pipeline.Reconnects); n != 1 {
		t.Errorf("%d reconnects", n)
	}
	if strings.Contains(r.log.String(), "secret") {
		t.Errorf("the log shows a password: %s", r.log)
	}
	r.ledger(t, 1)
}

func TestEqualWishesShareTheScalingAndEachLinkHasItsOwnFrame(t *testing.T) {
	s := newSteps()
	r := newRig(sources.Config{Staleness: time.Minute}, s.receive)
	twin, other := pipeline.NewInbox("twin", pipeline.NewStats()), pipeline.NewInbox("other", pipeline.NewStats())
	twinLink, otherLink := twin.Link("gate"), other.Link("gate")
	r.stage.Links = append(r.stage.Links, twinLink, otherLink)
	both := small
	both.Regions = []pipeline.Region{pipeline.Whole, {Name: "left", Right: 0.5, Bottom: 1}}
	r.link.Open(both)
	twinLink.Open(both)
	bgr := small
	bgr.Color = pipeline.BGR
	otherLink.Open(bgr)
	end := r.run(t)
	s.units <- fresh(clip(t, encode.Options{GOP: 10}, 1)[0])
	take := func(b *pipeline.Inbox, n int) (frames []*pipeline.Frame) {
		for len(frames) < n {
			var err error
			if frames, err = b.Take(t.Context(), nil, n, 0, frames); err != nil {
				t.Fatal(err)
			}
		}
		return frames
	}
	a, b, c := take(r.inbox, 2), take(twin, 2), take(other, 1)
	for i := range a {
		if a[i] == b[i] || a[i].Region != b[i].Region || !bytes.Equal(a[i].Data, b[i].Data) || a[i].Times != b[i].Times {
			t.Errorf("frames %+v and %+v", a[i], b[i])
		}
	}
	if c[0].Data[0] != a[0].Data[2] || c[0].Color != pipeline.BGR {
		t.Error("the third link's frame is not BGR")
	}
	if err := end(); err != nil {
		t.Error(err)
	}
	for _, sample := range r.stats.Snapshot() {
		if sample.Name == pipeline.ScaleSeconds.Name {
			n := uint64(0)
			for _, k := range sample.Counts {
				n += k
			}
			if n != 3 {
				t.Errorf("scaled %d times for 3 distinct frames", n)
			}
		}
	}
	r.ledger(t, 5)
}

func TestOldPicturesAreDroppedNotSent(t *testing.T) {
	units := clip(t, encode.Options{GOP: 5}, 10)
	s := newSteps()
	r := newRig(sources.Config{Staleness: time.Minute}, s.receive)
	r.link.Open(small)
	end := r.run(t)
	for _, u := range units[:5] {
		u = fresh(u)
		u.Received = u.Received.Add(-2 * time.Minute)
		s.units <- u
	}
	s.units <- fresh(units[5])
	f := r.frame(t)
	if f.Sequence != 6 {
		t.Errorf("frame %d", f.Sequence)
	}
	f.Release()
	if err := end(); err != nil {
		t.Error(err)
	}
	drops := r.drops()
	if drops[pipeline.DropStale]+drops[pipeline.DropBehind]+drops[pipeline.DropAwaitKeyframe] != 5 {
		t.Errorf("dropped %v", drops)
	}
	r.ledger(t, 1)
}

func TestErrorsThatStayEndTheStage(t *testing.T) {
	wrong := pipeline.Permanent(errors.New("the camera refuses user and password"))
	r := newRig(sources.Config{}, func(context.Context, func(*pipeline.Unit)) error { return wrong })
	if err := r.stage.Run(t.Context(), nil); !errors.Is(err, wrong) || !pipeline.IsPermanent(err) {
		t.Errorf("Run returned %v", err)
	}
	r.expectStates(t, pipeline.StateStarting, pipeline.StateOffline)

	units := clip(t, encode.Options{}, 3)
	r = newRig(sources.Config{Decoder: "magic"}, all(units))
	r.link.Open(small)
	if err := r.stage.Run(t.Context(), nil); err == nil || !pipeline.IsPermanent(err) || !strings.Contains(err.Error(), "magic") {
		t.Errorf("Run returned %v", err)
	}

	r = newRig(sources.Config{}, all(units))
	r.link.Open(pipeline.Wish{Width: -1})
	if err := r.stage.Run(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "-1×0") {
		t.Errorf("Run returned %v", err)
	}
	r.ledger(t, 1)
}

func TestAPanicOfTheWorkerOrTheSourceIsAnErrorWithItsStack(t *testing.T) {
	r := newRig(sources.Config{}, all(clip(t, encode.Options{}, 1)))
	r.stage.Links = append(r.stage.Links, nil)
	if err := r.stage.Run(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "delivery.go") {
		t.Errorf("Run returned %v", err)
	}
	r = newRig(sources.Config{}, func(context.Context, func(*pipeline.Unit)) error { panic("out of tape") })
	if err := r.stage.Run(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "out of tape") {
		t.Errorf("Run returned %v", err)
	}
}

func TestTheEndOfTheGraceEndsTheStage(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r := newRig(sources.Config{}, func(ctx context.Context, _ func(*pipeline.Unit)) error {
		cancel()
		<-ctx.Done()
		return ctx.Err()
	})
	if err := r.stage.Run(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Run returned %v", err)
	}
}

func TestASequenceGoesOnWhenTheStageIsStartedAgain(t *testing.T) {
	units := clip(t, encode.Options{}, 2)
	s := newSteps()
	r := newRig(sources.Config{}, s.receive)
	r.link.Open(small)
	for want := uint64(1); want <= 3; want++ {
		stop, done := make(chan struct{}), make(chan error, 1)
		go func() { done <- r.stage.Run(t.Context(), stop) }()
		s.units <- fresh(units[0])
		if f := r.frame(t); f.Sequence != want {
			t.Errorf("frame %d, want %d", f.Sequence, want)
		}
		close(stop)
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// gone is a network that comes back once.
type gone struct {
	pipeline.Network
	back chan struct{}
}

func (g gone) Back() <-chan struct{} { return g.back }

func TestACameraIsTriedAtOnceWhenTheNetworkIsBack(t *testing.T) {
	network := gone{back: make(chan struct{})}
	calls := 0
	r := newRig(sources.Config{}, func(context.Context, func(*pipeline.Unit)) error {
		if calls++; calls == 1 {
			return errors.New("no supervisor")
		}
		return pipeline.Permanent(errors.New("there"))
	})
	r.stage.Backoff = pipeline.Backoff{Least: time.Hour, Most: time.Hour}
	r.stage.Env.Network = network
	end := r.run(t)
	for (<-r.news).State != pipeline.StateOffline {
	}
	close(network.back)
	for (<-r.news).Reason != "receive gate: there" {
	}
	if err := end(); !pipeline.IsPermanent(err) {
		t.Errorf("Run returned %v", err)
	}
}
