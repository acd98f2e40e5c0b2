package capture

import (
	"fmt"
	"math"
	"time"

	"sightline/pipeline"
)

const (
	// paceWindow is how long pictures are counted to tell whether this machine keeps up.
	paceWindow = 10 * time.Second
	// slowShare is the share of pictures dropped for lack of time from which it does not.
	slowShare = 0.05
)

// pace tells whether this machine keeps up with the camera: of the pictures that come, how many are
// dropped because the decoder is behind, or older than the staleness budget when they are done.
type pace struct {
	received, behind, stale pipeline.Counter
	passed                  func() uint64 // of those that wait for a keyframe, how many because it is behind

	since  time.Time // begin of the window; zero: none yet
	before [2]uint64 // received and dropped at that time
}

func newPace(env pipeline.Env, passed func() uint64) pace {
	labels := []string{"stage", env.Stage, "source", env.Stage}
	drops := func(why pipeline.Reason) pipeline.Counter {
		return env.Stats.Counter(pipeline.FramesDropped, append(labels, "reason", string(why))...)
	}
	return pace{
		received: env.Stats.Counter(pipeline.FramesReceived, labels...),
		behind:   drops(pipeline.DropBehind), stale: drops(pipeline.DropStale), passed: passed,
	}
}

// check returns, at the end of each window, why this machine is too slow, or nothing when it is not.
func (p *pace) check(now time.Time) (reason string, ended bool) {
	counts := [2]uint64{p.received.Value(), p.behind.Value() + p.passed() + p.stale.Value()}
	passed := now.Sub(p.since)
	if p.since.IsZero() || passed > 2*paceWindow { // the camera was away
		p.since, p.before = now, counts
		return "", false
	}
	if passed < paceWindow {
		return "", false
	}
	came, dropped := counts[0]-p.before[0], counts[1]-p.before[1]
	p.since, p.before = now, counts
	if came == 0 || float64(dropped) < slowShare*float64(came) {
		return "", true
	}
	share := min(100, 10*math.Ceil(10*float64(dropped)/float64(came)))
	return fmt.Sprintf("pictures arrive, but this machine is too slow for them: up to %.0f%% are dropped, "+
		"since decoding or scaling takes too long (ask for fewer fps, or choose a smaller stream)", share), true
}
