package pipelinetest

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"sightline/pipeline"
)

// Camera is one source and the camera behind it, made for one test.
type Camera struct {
	Source  pipeline.Source
	Network pipeline.Network
	// Break ends the camera as a power cut would, and returns what brings it back. Nil where that
	// cannot be done.
	Break func(t *testing.T) (mend func())
}

// SourceSuite holds a source to the contract of pipeline.Source. start makes a source of its own and
// a camera that sends at least 5 pictures a second, with a keyframe at least every 2 seconds, for
// each test.
func SourceSuite(t *testing.T, start func(t *testing.T) Camera) {
	for _, c := range []struct {
		name string
		test func(*testing.T, Camera)
	}{
		{"units are whole and have their times", sourceFillsUnits},
		{"take is called from one goroutine at a time", sourceTakesOneByOne},
		{"Receive ends with its context, and can be called again", sourceHeedsContext},
		{"what is not granted is refused for good", sourceHeedsGrant},
		{"a camera that is gone is an error, and it is received again when it is back", sourceSurvivesBreak},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, start(t)) })
	}
}

// receive collects n units, or fails.
func receive(t *testing.T, c Camera, n int) []pipeline.Unit {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var units []pipeline.Unit
	err := c.Source.Receive(ctx, NewEnv(t, c.Network), func(u *pipeline.Unit) {
		kept := *u
		kept.NALs = nil
		for _, nal := range u.NALs {
			kept.NALs = append(kept.NALs, slices.Clone(nal))
		}
		if units = append(units, kept); len(units) == n {
			cancel()
		}
	})
	if len(units) < n {
		t.Fatalf("%d units came, want %d; then %v", len(units), n, err)
	}
	return units
}

func sourceFillsUnits(t *testing.T, c Camera) {
	units := receive(t, c, 20)
	if !slices.ContainsFunc(units, func(u pipeline.Unit) bool { return u.Keyframe }) {
		t.Error("no keyframe among 20 units")
	}
	for i, u := range units {
		switch {
		case u.Codec != pipeline.H264 && u.Codec != pipeline.H265 && u.Codec != pipeline.MJPEG:
			t.Errorf("unit %d: codec %q", i, u.Codec)
		case len(u.NALs) == 0 || slices.ContainsFunc(u.NALs, func(n []byte) bool { return len(n) == 0 }):
			t.Errorf("unit %d: %d NAL units, or an empty one", i, len(u.NALs))
		case u.Captured.IsZero() || u.Received.IsZero():
			t.Errorf("unit %d: captured %v, received %v", i, u.Captured, u.Received)
		case u.Origin != pipeline.OriginSenderReport && u.Origin != pipeline.OriginArrival:
			t.Errorf("unit %d: origin %q", i, u.Origin)
		case u.Origin == pipeline.OriginArrival && u.Captured.After(u.Received):
			t.Errorf("unit %d: its first packet came after its last", i)
		case i > 0 && u.Received.Before(units[i-1].Received):
			t.Errorf("unit %d was received before the one before it", i)
		}
	}
}

func sourceTakesOneByOne(t *testing.T, c Camera) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var inside sync.Mutex
	taken := 0
	err := c.Source.Receive(ctx, NewEnv(t, c.Network), func(*pipeline.Unit) {
		if !inside.TryLock() {
			t.Error("take is called while it is being called")
			return
		}
		defer inside.Unlock()
		if taken++; taken == 10 {
			cancel()
		}
	})
	if taken < 10 {
		t.Fatalf("%d units came; then %v", taken, err)
	}
}

func sourceHeedsContext(t *testing.T, c Camera) {
	for range 2 {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- c.Source.Receive(ctx, NewEnv(t, c.Network), func(*pipeline.Unit) { cancel() })
		}()
		select {
		case err := <-ended:
			if ctx.Err() == nil {
				t.Errorf("ended before its context: %v", err)
			}
		case <-time.After(patience):
			t.Fatal("did not end with its context")
		}
		cancel()
	}
}

// refusing is a network without any grant.
type refusing struct{}

func (refusing) Dial(context.Context, string, string) (net.Conn, error) {
	return nil, pipeline.ErrNotGranted
}

func (refusing) ListenPacket(context.Context, string, string) (net.PacketConn, error) {
	return nil, pipeline.ErrNotGranted
}

func sourceHeedsGrant(t *testing.T, c Camera) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := c.Source.Receive(ctx, NewEnv(t, refusing{}), func(*pipeline.Unit) { t.Error("a unit came without a grant") })
	if !errors.Is(err, pipeline.ErrNotGranted) || !pipeline.IsPermanent(err) {
		t.Errorf("error %v, want ErrNotGranted, permanent", err)
	}
}

func sourceSurvivesBreak(t *testing.T, c Camera) {
	if c.Break == nil {
		t.Skip("this camera cannot be broken")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var mend func()
	err := c.Source.Receive(ctx, NewEnv(t, c.Network), func(*pipeline.Unit) {
		if mend == nil {
			mend = c.Break(t)
		}
	})
	switch {
	case mend == nil:
		t.Fatalf("nothing came: %v", err)
	case err == nil || ctx.Err() != nil:
		t.Fatalf("the camera is gone, and Receive returned %v", err)
	case pipeline.IsPermanent(err):
		t.Errorf("a camera that is gone is a permanent error: %v", err)
	}
	mend()
	for range 100 { // it may take a moment to be back
		_ = c.Source.Receive(ctx, NewEnv(t, c.Network), func(*pipeline.Unit) { cancel() })
		if ctx.Err() != nil {
			return
		}
	}
	t.Error("no unit after the camera was back")
}
