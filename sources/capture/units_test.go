package capture

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"sightline/pipeline"
	"sightline/sources"
	"sightline/sources/encode"
)

func TestPicturesAreChosenEvenlyByTheirTimes(t *testing.T) {
	every := func(step time.Duration, n int) (all []time.Duration) {
		for i := range n {
			all = append(all, time.Duration(i)*step)
		}
		return all
	}
	jitter := []time.Duration{0, 41 * ms, 79 * ms, 121 * ms, 158 * ms, 202 * ms, 239 * ms, 281 * ms, 319 * ms, 361 * ms, 399 * ms}
	tests := []struct {
		name string
		fps  float64
		pts  []time.Duration
		want []time.Duration
	}{
		{"every picture without a rate", 0, every(40*ms, 5), every(40*ms, 5)},
		{"a fifth", 5, every(40*ms, 16), every(200*ms, 4)},
		{"times that are rounded", 5, []time.Duration{0, 33333, 66666, 99999, 133333, 166666, 199999, 233333}, []time.Duration{0}},
		{"times that jitter", 5, jitter, []time.Duration{0, 202 * ms, 399 * ms}},
		{"a rate that does not divide", 10, every(40*ms, 11), []time.Duration{0, 80 * ms, 200 * ms, 280 * ms, 400 * ms}},
		{"fewer pictures than wanted", 10, every(300*ms, 4), every(300*ms, 4)},
		{"a pause", 5, []time.Duration{0, 40 * ms, 5000 * ms, 5040 * ms, 5080 * ms, 5200 * ms}, []time.Duration{0, 5000 * ms, 5200 * ms}},
		{"a clock that begins anew", 5, []time.Duration{9000 * ms, 9040 * ms, 0, 40 * ms, 200 * ms}, []time.Duration{9000 * ms, 0, 200 * ms}},
	}
	for _, tt := range tests {
		s := newSampler(tt.fps)
		var found []time.Duration
		for _, pts := range tt.pts {
			due := s.due(pts)
			if s.choose(pts) != due {
				t.Errorf("%s: due and choose differ at %v", tt.name, pts)
			}
			if due {
				found = append(found, pts)
			}
		}
		if !slices.Equal(found, tt.want) {
			t.Errorf("%s: chose %v, want %v", tt.name, found, tt.want)
		}
	}
}

func unit(key bool, size int) *pipeline.Unit {
	return &pipeline.Unit{NALs: [][]byte{bytes.Repeat([]byte{1}, size/2), bytes.Repeat([]byte{2}, size-size/2)}, Keyframe: key}
}

func newTestQueue(capacity int) (*queue, func(pipeline.Reason) uint64) {
	stats := pipeline.NewStats()
	q := newQueue(stats.Drops("gate", "gate"))
	q.capacity = capacity
	return q, func(r pipeline.Reason) uint64 {
		return stats.Counter(pipeline.FramesDropped, "stage", "gate", "source", "gate", "reason", string(r)).Value()
	}
}

func TestTheQueueKeepsCopiesInOrder(t *testing.T) {
	q, _ := newTestQueue(10)
	u := unit(true, 10)
	for i := range uint64(3) {
		u.NALs[0][0] = byte(i)
		q.put(u, i)
	}
	q.interrupt()
	q.put(u, 3)
	for i := range uint64(4) {
		it := q.next()
		if it.sequence != i || it.gap != (i == 3) || len(it.unit.NALs) != 2 || it.unit.NALs[0][0] != byte(min(i, 2)) || !bytes.Equal(it.unit.NALs[1], u.NALs[1]) {
			t.Errorf("unit %d: %+v", i, it)
		}
		q.release(it)
	}
	q.close(true)
	if q.next() != nil || q.bytes != 0 {
		t.Errorf("an empty queue holds %d bytes", q.bytes)
	}
}

func TestAFullQueueIsClearedUpToTheNextKeyframe(t *testing.T) {
	q, dropped := newTestQueue(3)
	for i, key := range []bool{true, false, false, false, false, true, false} {
		q.put(unit(key, 10), uint64(i))
	}
	if dropped(pipeline.DropBehind) != 3 || dropped(pipeline.DropAwaitKeyframe) != 2 || q.over() != 2 {
		t.Errorf("%d behind, %d awaiting, %d passed over", dropped(pipeline.DropBehind), dropped(pipeline.DropAwaitKeyframe), q.over())
	}
	if it := q.next(); it.sequence != 5 || !it.gap {
		t.Errorf("next is %+v", it)
	}
	if it := q.next(); it.sequence != 6 || it.gap {
		t.Errorf("next is %+v", it)
	}
}

func TestTheQueueIsBoundedInBytes(t *testing.T) {
	q, dropped := newTestQueue(1000)
	q.put(unit(true, maxWaitingBytes-10), 1)
	q.put(unit(false, 11), 2)
	q.put(unit(true, maxWaitingBytes+1), 3)
	if dropped(pipeline.DropBehind) != 1 || dropped(pipeline.DropAwaitKeyframe) != 2 || q.bytes != 0 {
		t.Errorf("%d behind, %d awaiting, %d bytes wait", dropped(pipeline.DropBehind), dropped(pipeline.DropAwaitKeyframe), q.bytes)
	}
}

func TestWhatIsHeldForLaterIsBoundedAndBeginsAtACleanKeyframe(t *testing.T) {
	r := newRig(sources.Config{}, nil)
	run := newRun(r.stage)
	give := func(u *pipeline.Unit) {
		run.take(u)
		it := run.queue.next()
		if err := run.worker.step(it); err != nil {
			t.Fatal(err)
		}
		run.queue.release(it)
	}
	lost := unit(true, 10)
	lost.Lost = 1
	tests := []struct {
		name string
		unit *pipeline.Unit
		held int
	}{
		{"not a keyframe", unit(false, 10), 0},
		{"a damaged keyframe", lost, 0},
		{"a keyframe", unit(true, 10), 1},
		{"the next", unit(false, 10), 2},
		{"the next keyframe", unit(true, 10), 1},
		{"one that fits just so", unit(false, maxHeldBytes-10), 2},
		{"one too many", unit(false, 1), 0},
		{"then nothing is", unit(false, 1), 0},
		{"until a keyframe", unit(true, 10), 1},
		{"a keyframe that is too large", unit(true, maxHeldBytes+1), 0},
	}
	for _, tt := range tests {
		tt.unit.Codec = pipeline.H265
		if give(tt.unit); run.worker.held.count != tt.held {
			t.Errorf("%s: %d units are held, want %d", tt.name, run.worker.held.count, tt.held)
		}
	}
	give(unit(true, 10))
	for range 2 * maxHeld {
		give(unit(false, 10))
	}
	if run.worker.held.count != 0 {
		t.Errorf("%d units are held", run.worker.held.count)
	}
	run.worker.close()
	r.ledger(t, 1)
}

func TestCatchingUpGoesToTheLastKeyframe(t *testing.T) {
	q, dropped := newTestQueue(100)
	for i, key := range []bool{false, true, false, true, false} {
		q.put(unit(key, 10), uint64(i))
	}
	if !q.catchUp(false) || dropped(pipeline.DropBehind) != 3 || q.bytes != 20 {
		t.Errorf("%d dropped, %d bytes wait", dropped(pipeline.DropBehind), q.bytes)
	}
	if it := q.next(); it.sequence != 3 || !it.gap {
		t.Errorf("next is %+v", it)
	}
	if q.catchUp(false) || dropped(pipeline.DropBehind) != 3 {
		t.Error("without a keyframe something was dropped")
	}
	if !q.catchUp(true) || dropped(pipeline.DropBehind) != 4 || q.bytes != 0 {
		t.Errorf("%d dropped, %d bytes wait", dropped(pipeline.DropBehind), q.bytes)
	}
	q.put(unit(false, 10), 5)
	q.put(unit(true, 10), 6)
	if it := q.next(); it.sequence != 6 || !it.gap {
		t.Errorf("next is %+v", it)
	}
}

func TestTheWaitGrowsUntilPicturesHaveComeForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var began []time.Time
		r := newRig(sources.Config{}, func(_ context.Context, take func(*pipeline.Unit)) error {
			began = append(began, time.Now())
			if len(began) == 8 {
				take(unit(true, 10))
				time.Sleep(2 * steady)
			}
			return errUnplugged
		})
		r.stage.Backoff = pipeline.Backoff{Least: time.Second}
		end := r.run(t)
		time.Sleep(10 * time.Minute)
		if err := end(); err != nil {
			t.Error(err)
		}
		if wait := began[7].Sub(began[6]); wait < 22*time.Second || wait > 30*time.Second {
			t.Errorf("the seventh wait was %v", wait)
		}
		if wait := began[8].Sub(began[7]) - 2*steady; wait > time.Second {
			t.Errorf("after pictures the wait was %v", wait)
		}
	})
}

func TestUnitsWithoutAKeyframeAreCalledAStall(t *testing.T) {
	units := clip(t, encode.Options{GOP: 100}, 20)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(sources.Config{}, func(ctx context.Context, take func(*pipeline.Unit)) error {
			for _, u := range units[1:] {
				take(fresh(u))
				time.Sleep(time.Second)
			}
			for _, u := range units {
				take(fresh(u))
			}
			<-ctx.Done()
			return ctx.Err()
		})
		r.link.Open(small)
		end := r.run(t)
		time.Sleep(30 * time.Second)
		if err := end(); err != nil {
			t.Error(err)
		}
		r.expectStates(t, pipeline.StateStarting, pipeline.StateOnline, pipeline.StateStalled, pipeline.StateOnline, pipeline.StateStopped)
	})
}

func TestWhateverHappensEveryUnitIsAccountedFor(t *testing.T) {
	for _, o := range []encode.Options{{GOP: 8}, {GOP: 8, BFrames: 2}, {Codec: pipeline.H265, GOP: 8, BFrames: 2}, {Codec: pipeline.MJPEG}} {
		for _, sample := range []sources.Sample{{}, {FPS: 10}, {Every: sources.EveryKeyframe}} {
			t.Run(fmt.Sprintf("%s-%d-%v", o.Codec, o.BFrames, sample), func(t *testing.T) {
				units, random := clip(t, o, 60), rand.New(rand.NewPCG(5, 6))
				connections := 0
				var r *rig
				r = newRig(sources.Config{Sample: sample, Staleness: 10 * time.Second}, func(_ context.Context, take func(*pipeline.Unit)) error {
					connections++
					for _, u := range units {
						harm(take, fresh(u), random)
						if random.IntN(100) == 0 {
							r.link.Shut()
						} else if random.IntN(20) == 0 {
							r.link.Open(small)
						}
					}
					r.settle(t)
					if connections == 10 {
						return nil
					}
					return errUnplugged
				})
				r.link.Open(small)
				end := r.run(t)
				r.await(t, pipeline.StateStopped)
				if err := end(); err != nil {
					t.Error(err)
				}
				t.Logf("%d received, %d sent, dropped %v", r.count(pipeline.FramesReceived), r.count(pipeline.FramesSent), r.drops())
				r.ledger(t, 1)
			})
		}
	}
}

// settle waits until nearly all units received are accounted for; a decoder may hold back a few.
func (r *rig) settle(t *testing.T) {
	for limit := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		done := r.count(pipeline.FramesSent)
		for _, n := range r.drops() {
			done += n
		}
		if done+40 > r.count(pipeline.FramesReceived) {
			return
		}
		if time.Now().After(limit) {
			t.Errorf("%d of %d units accounted for", done, r.count(pipeline.FramesReceived))
			return
		}
	}
}

// harm gives a unit as a bad network or camera would.
func harm(take func(*pipeline.Unit), u *pipeline.Unit, random *rand.Rand) {
	switch random.IntN(30) {
	case 0:
		return // lost unseen
	case 1:
		u.Lost = 2
	case 2:
		u.NALs = slices.Clone(u.NALs)
		n := bytes.Clone(u.NALs[len(u.NALs)-1])
		n[random.IntN(len(n))] ^= 1 << random.IntN(8)
		u.NALs[len(u.NALs)-1] = n
	case 3:
		u.NALs = [][]byte{u.NALs[0][:len(u.NALs[0])/2]}
	case 4:
		u.Received = u.Received.Add(-20 * time.Second)
	case 5:
		u.NALs = nil
	}
	take(u)
}

// steady state: from the source's call to the consumer's hands.
func lap(t testing.TB, o encode.Options, wish pipeline.Wish) (once func()) {
	units := clip(t, o, 50)
	r := newRig(sources.Config{Staleness: time.Minute}, nil)
	r.link.Open(wish)
	run := newRun(r.stage)
	t.Cleanup(run.worker.close)
	i, frames := 0, make([]*pipeline.Frame, 0, 1)
	return func() {
		u := units[i%len(units)]
		i++
		u.Received = time.Now()
		run.take(u)
		it := run.queue.next()
		if err := run.worker.step(it); err != nil {
			t.Fatal(err)
		}
		run.queue.release(it)
		var err error
		if frames, err = r.inbox.Take(t.Context(), nil, 1, 0, frames[:0]); err != nil {
			t.Fatal(err)
		}
		frames[0].Release()
	}
}

func TestAPictureOnItsWayAllocatesNothing(t *testing.T) {
	once := lap(t, encode.Options{GOP: 25}, small)
	for range 100 {
		once()
	}
	if found := testing.AllocsPerRun(200, once); found != 0 {
		t.Errorf("%v allocations a picture", found)
	}
}

func BenchmarkCapture1080p(b *testing.B) {
	once := lap(b, encode.Options{Width: 1920, Height: 1080, BitRate: 4_000_000, GOP: 50}, pipeline.Wish{Width: 224, Height: 224, Color: pipeline.RGB})
	b.ReportAllocs()
	for b.Loop() {
		once()
	}
}
