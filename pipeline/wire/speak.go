package wire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"sightline/pipeline"
)

// speak sends heartbeats, statuses, statistics, logs and the exit until the wire ends. It is the only
// writer of the control stream.
func (st *Stage) speak(s *session, control net.Conn) error {
	ctx := s.ctx
	beat, stats := time.NewTicker(beatEvery), time.NewTicker(statsEvery)
	defer beat.Stop()
	defer stats.Stop()
	if err := st.beat(control); err != nil {
		return err
	}
	st.signal()
	said := false // the exit
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case <-beat.C:
			err = st.beat(control)
		case <-stats.C:
			err = st.sendStats(control)
		case <-st.wake:
			if !said {
				said, err = st.sendNews(s, control)
			}
		}
		if err != nil {
			return err
		}
	}
}

func (st *Stage) beat(control net.Conn) error {
	bound, _ := st.clock.Error()
	st.mu.Lock()
	st.beats++
	h := Heartbeat{Number: st.beats, ClockOffset: st.clock.Offset().Seconds(), ClockError: bound.Seconds()}
	st.mu.Unlock()
	return writeJSON(control, recBeat, h)
}

// sendStats sends the snapshot, cut to what the supervisor takes.
func (st *Stage) sendStats(control net.Conn) error {
	samples := st.stats.Snapshot()
	if len(samples) > maxSeries {
		samples = samples[:maxSeries]
	}
	kept := samples[:0]
	for i := range samples {
		if checkSample(&samples[i]) == nil {
			kept = append(kept, samples[i])
		}
	}
	body, err := json.Marshal(kept)
	if err != nil {
		return fmt.Errorf("encode statistics: %w", err)
	}
	for len(body) > MaxStats {
		kept = kept[:len(kept)/2]
		if body, err = json.Marshal(kept); err != nil {
			return fmt.Errorf("encode statistics: %w", err)
		}
	}
	return writeRecord(control, recStats, body)
}

// sendNews sends what has changed: links without a direct connection, statuses, logs, and after the last of them the exit.
func (st *Stage) sendNews(s *session, control net.Conn) (exited bool, err error) {
	if err := st.sayWanted(s, control); err != nil {
		return false, err
	}
	for {
		status, ok := st.untold()
		if !ok {
			break
		}
		if err := writeJSON(control, recReport, status); err != nil {
			return false, err
		}
	}
	for {
		body, err := st.logs.take()
		if err != nil {
			return false, fmt.Errorf("encode a log record: %w", err)
		}
		if body == nil {
			break
		}
		if err := writeRecord(control, recLog, body); err != nil {
			return false, err
		}
	}
	st.mu.Lock()
	exit := st.exit
	st.mu.Unlock()
	if exit == nil {
		return false, nil
	}
	if err := st.sendStats(control); err != nil {
		return false, err
	}
	return true, writeJSON(control, recExit, exit)
}

// untold returns a status that the supervisor has not heard of.
func (st *Stage) untold() (pipeline.Status, bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	for _, r := range st.statuses {
		if !r.told {
			r.told = true
			return r.status, true
		}
	}
	return pipeline.Status{}, false
}

// stageLinks are the stage's ends of its links, and what the stage itself holds of them.
type stageLinks struct {
	ends    Ends
	inbox   *pipeline.Inbox
	frames  []*pipeline.FrameLink
	outputs []*pipeline.FrameLink
	inputs  *Held
	results []*pipeline.ResultLink

	straight map[string]*straight // by the link's name
	direct   sync.WaitGroup       // of those that have a connection

	stop chan struct{} // closed when no more results come
	feed sync.WaitGroup
}

// resultsHeld is how many results a stage's own links hold besides the outbox.
const resultsHeld = 16

// make makes the links that the configuration names.
func (l *stageLinks) make(st *Stage, c Configuration) {
	l.stop = make(chan struct{})
	l.ends = Ends{FramesIn: map[string]*pipeline.FrameLink{}, FramesOut: map[string]*FrameOutput{},
		ResultsIn: map[string]*Inlet{}, ResultsOut: map[string]*Outbox{}}
	l.straight = map[string]*straight{}
	l.inbox = pipeline.NewInbox(c.Stage, st.stats)
	for _, name := range c.Links.FramesIn {
		link := l.inbox.Link(name)
		l.frames, l.ends.FramesIn[name] = append(l.frames, link), link
		l.straight[name] = &straight{name: name, serve: takeStraight(name, link)}
	}
	for _, name := range c.Links.FramesOut {
		output := NewFrameOutput(c.Stage, name, st.stats)
		l.outputs, l.ends.FramesOut[name] = append(l.outputs, output.Link()), output
		l.straight[name] = &straight{name: name, serve: giveStraight(output)}
	}
	l.inputs = NewHeld()
	for _, name := range c.Links.ResultsIn {
		l.ends.ResultsIn[name] = l.inputs.Inlet()
	}
	for _, name := range c.Links.ResultsOut {
		link, outbox := pipeline.NewResultLink(resultsHeld), NewOutbox(st.clock)
		l.results, l.ends.ResultsOut[name] = append(l.results, link), outbox
		l.feed.Go(func() {
			refused := func(err error) { st.log.Error("a result is not sent", "link", name, "err", err) }
			outbox.Feed(st.ctx, l.stop, link, refused) //nolint:errcheck // it ends with the stage
		})
	}
}

// drain waits until all results that the stage made have been taken.
func (l *stageLinks) drain(ctx context.Context) error {
	if l.stop == nil {
		return nil
	}
	close(l.stop)
	fed := make(chan struct{})
	go func() {
		defer close(fed)
		l.feed.Wait()
	}()
	select {
	case <-fed:
	case <-ctx.Done():
		return fmt.Errorf("hand the last results over: %w", ctx.Err())
	}
	var lost error
	for name, outbox := range l.ends.ResultsOut {
		if err := outbox.Drain(ctx); err != nil {
			lost = errors.Join(lost, fmt.Errorf("results link %q: %w", name, err))
		}
	}
	return lost
}

// Inbox is where a classify stage receives its frames, and the links that lead into it.
func (st *Stage) Inbox() (*pipeline.Inbox, []*pipeline.FrameLink) {
	return st.links.inbox, st.links.frames
}

// FrameOutputs are the links that a capture stage puts its frames on.
func (st *Stage) FrameOutputs() []*pipeline.FrameLink { return st.links.outputs }

// Intake is where a publish stage takes from.
func (st *Stage) Intake() pipeline.Intake { return st.links.inputs }

// ResultOutputs are the links that a classify stage sends its results on.
func (st *Stage) ResultOutputs() []*pipeline.ResultLink { return st.links.results }
