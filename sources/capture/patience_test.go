package capture

import (
	"context"
	"testing"
	"time"

	"sightline/pipeline"
	"sightline/sources"
	"sightline/sources/encode"
)

// played is a finite source of units, as a file is that is played as fast as possible.
func played(units []*pipeline.Unit) fake {
	return func(ctx context.Context, take func(*pipeline.Unit)) error {
		for _, u := range units {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			take(fresh(u))
		}
		return nil
	}
}

var fast = sources.Config{File: &sources.File{Pace: sources.PaceFast}, Staleness: time.Millisecond}

// ended waits until the stage says that its source is through.
func (r *rig) ended(t *testing.T) {
	t.Helper()
	if s := r.await(t, pipeline.StateStopped); s.Reason != sources.Ended {
		t.Fatalf("it stopped: %q", s.Reason)
	}
}

func TestAPatientSourceLosesNothingToASlowModel(t *testing.T) {
	const pictures = 60
	units := clip(t, encode.Options{}, pictures)
	r := newRig(fast, played(units))
	end := r.run(t)
	time.AfterFunc(50*time.Millisecond, func() { r.link.Open(small) }) // the model is loaded later
	for want := uint64(1); want <= pictures; want++ {
		f := r.frame(t)
		if f.Sequence != want || f.Dropped != 0 || !f.Deadline.IsZero() {
			t.Fatalf("picture %d came, %d dropped before it, deadline %v; want %d", f.Sequence, f.Dropped, f.Deadline, want)
		}
		f.Release()
		if want%20 == 0 {
			time.Sleep(20 * time.Millisecond) // the model is slow: everything behind it is full
		}
	}
	r.ended(t)
	if err := end(); err != nil {
		t.Error(err)
	}
	r.balanced(t, pictures, pictures)
}

// balanced holds the stage to its ledger: each unit is sent, or counted as dropped.
func (r *rig) balanced(t *testing.T, received, sent uint64) {
	t.Helper()
	labels := []string{"stage", "gate", "source", "gate"}
	if n := r.stats.Counter(pipeline.FramesReceived, labels...).Value(); n != received {
		t.Errorf("%d units received, want %d", n, received)
	}
	if n := r.stats.Counter(pipeline.FramesSent, labels...).Value(); n != sent {
		t.Errorf("%d frames sent, want %d", n, sent)
	}
	if n := r.stats.Drops("gate", "gate").Total(); n != received-sent {
		t.Errorf("%d dropped, want %d", n, received-sent)
	}
}

func TestAPatientSourceStopsWhileItWaits(t *testing.T) {
	units := clip(t, encode.Options{}, 60)
	r := newRig(fast, played(units))
	end := r.run(t)
	r.link.Open(small)
	r.frame(t).Release() // then the model hangs
	for r.stats.Counter(pipeline.FramesReceived, "stage", "gate", "source", "gate").Value() < maxPatient {
		time.Sleep(time.Millisecond)
	}
	if err := end(); err != nil {
		t.Error(err)
	}
	received := r.stats.Counter(pipeline.FramesReceived, "stage", "gate", "source", "gate").Value()
	if received == 60 {
		t.Error("all was read although the model hangs")
	}
	r.balanced(t, received, r.stats.Counter(pipeline.FramesSent, "stage", "gate", "source", "gate").Value())
}

func TestAFiniteSourceEndsOnceItsPicturesAreOnTheLinks(t *testing.T) {
	units := clip(t, encode.Options{}, 10)
	r := newRig(sources.Config{File: &sources.File{}}, played(units))
	r.link.Open(small)
	end := r.run(t)
	r.ended(t)
	f := r.frame(t)
	if f.Sequence != 10 {
		t.Errorf("the newest picture is %d", f.Sequence)
	}
	f.Release()
	select {
	case s := <-r.news:
		t.Errorf("after the end: %+v", s)
	default:
	}
	if err := end(); err != nil {
		t.Error(err)
	}
}

func TestHiddenPicturesAreNotShown(t *testing.T) {
	units := clip(t, encode.Options{}, 10)
	for _, u := range units[:3] {
		u.Hidden = true
	}
	r := newRig(fast, played(units))
	r.link.Open(small)
	end := r.run(t)
	f := r.frame(t)
	if f.Sequence != 4 {
		t.Errorf("the first picture is %d, want 4", f.Sequence)
	}
	f.Release()
	for range 6 {
		r.frame(t).Release()
	}
	r.ended(t)
	if err := end(); err != nil {
		t.Error(err)
	}
	if n := r.stats.Counter(pipeline.FramesDropped, "stage", "gate", "source", "gate", "reason", string(pipeline.DropHidden)).Value(); n != 3 {
		t.Errorf("%d are counted as hidden, want 3", n)
	}
	r.balanced(t, 10, 7)
}

func TestTheGateOpensWhenSomethingMoves(t *testing.T) {
	config := fast
	config.Motion = &sources.Motion{MinArea: 0.01, Threshold: 25, Hold: 0}
	var units []*pipeline.Unit
	for i := range 100 {
		units = append(units, yuyv(i))
	}
	r := newRig(config, played(units))
	r.link.Open(small)
	end := r.run(t)
	var seen []uint64
	for len(seen) < 22 {
		f := r.frame(t)
		seen = append(seen, f.Sequence)
		f.Release()
	}
	r.ended(t)
	if err := end(); err != nil {
		t.Error(err)
	}
	if seen[0] != 1 || seen[1] != 40 || seen[21] != 60 {
		t.Errorf("pictures %v went through, want 1 and 40 to 60", seen)
	}
	if n := r.stats.Counter(pipeline.FramesDropped, "stage", "gate", "source", "gate", "reason", string(pipeline.DropNoMotion)).Value(); n != 78 {
		t.Errorf("%d are counted as without motion, want 78", n)
	}
}

// yuyv is a picture as it comes from a device; in pictures 39 to 59 something bright moves.
func yuyv(i int) *pipeline.Unit {
	const width, height = 64, 48
	data := make([]byte, 2*width*height)
	for j := range data {
		data[j] = 128
		x, y := j/2%width, j/2/width
		if j%2 == 0 {
			data[j] = byte(40 + x)
			if i >= 39 && i < 60 && x >= i-30 && x < i-20 && y >= 10 && y < 30 {
				data[j] = 230
			}
		}
	}
	return &pipeline.Unit{
		Codec: pipeline.YUYV, NALs: [][]byte{data}, Width: width, Height: height, Stride: 2 * width,
		Keyframe: true, Origin: pipeline.OriginArrival, PTS: time.Duration(i) * 100 * time.Millisecond,
	}
}
