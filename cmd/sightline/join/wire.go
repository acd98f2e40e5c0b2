package join

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"sightline/pipeline"
	"sightline/pipeline/wire"
	"sightline/runtime/supervisor"
)

// talk is what a stage in a box is told, and where what it says goes.
type talk struct {
	kind          wire.Kind
	name          string
	configuration wire.Configuration // Device, Section, Secrets
	grants        []wire.Grant
	ends          wire.Ends
	outlet        *outlet     // of a publish stage
	crossings     []*crossing // into a classify stage
	hub           *Hub
	records       *slog.Logger // takes the stage's log records
	refused       func(network, address string, err error)
	complain      *complaints // about statuses
}

// boxWire speaks with the boxes of one stage, one after the other.
type boxWire struct {
	talk

	mu       sync.Mutex
	box      *wire.Box // nil while there is none
	health   supervisor.Health
	samples  []pipeline.Sample
	moved    [2]uint64 // bytes of the wires before this one
	pressure uint64
}

var _ supervisor.Wire = (*boxWire)(nil)

// Serve implements supervisor.Wire.
func (w *boxWire) Serve(ctx context.Context, conn net.Conn, info supervisor.BoxInfo) error {
	box, err := wire.Accept(ctx, conn, w.options(info))
	if err != nil {
		return err
	}
	info.Greeted()
	w.mu.Lock()
	w.box, w.health = box, supervisor.Health{}
	w.mu.Unlock()
	err = w.serve(ctx, box)
	w.mu.Lock()
	defer w.mu.Unlock()
	received, sent := box.Bytes()
	w.moved[0], w.moved[1] = w.moved[0]+received, w.moved[1]+sent
	w.box = nil
	return err
}

// serve runs the wire, and takes to a publish stage what waits for it.
func (w *boxWire) serve(ctx context.Context, box *wire.Box) error {
	if w.outlet == nil {
		return box.Run(ctx)
	}
	carrying, stop := context.WithCancel(ctx)
	var carrier sync.WaitGroup
	carrier.Go(func() { w.outlet.carry(carrying, w.outbox(), w.hub.log) })
	defer carrier.Wait()
	defer stop()
	return box.Run(ctx)
}

// outbox is that of a publish stage.
func (w *boxWire) outbox() *wire.Outbox { return w.ends.ResultsOut[resultsLink] }

// options are those of the next connection.
func (w *boxWire) options(info supervisor.BoxInfo) wire.BoxOptions {
	return wire.BoxOptions{
		Ticket:        wire.Ticket{Kind: w.kind, Name: w.name, Nonce: pipeline.NewSecret(string(info.Nonce)), Enroll: info.Enroll},
		Configuration: w.configuration,
		Ends:          w.ends,
		Grants:        w.grants,
		Refused:       w.refused,
		Beat:          func(wire.Heartbeat) { w.note(func(h *supervisor.Health) { h.Beat = time.Now() }) },
		Status:        w.status,
		Stats:         w.stats,
		Exit:          w.exit,
		Log:           w.hub.log,
		Stage:         w.records,
	}
}

func (w *boxWire) note(change func(*supervisor.Health)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(&w.health)
}

func (w *boxWire) status(s pipeline.Status) {
	if err := statusClaim(w.kind, w.name, s); err != nil {
		w.complain.refused("status", err)
		return
	}
	w.note(func(h *supervisor.Health) { h.Ready, h.Trouble = s.State == pipeline.StateOnline, s.Reason })
	w.hub.Report(s)
}

func (w *boxWire) stats(samples []pipeline.Sample) {
	samples = slices.DeleteFunc(samples, func(s pipeline.Sample) bool { return !w.owns(s) })
	w.mu.Lock()
	defer w.mu.Unlock()
	w.samples = samples
	w.health.In, w.health.Out = flow(w.kind, samples)
}

// owns tells whether a series is the stage's to count: its own, and of a capture stage the frames that
// it drops on their way to a model.
func (w *boxWire) owns(s pipeline.Sample) bool {
	for i := 0; i+1 < len(s.Labels); i += 2 {
		if s.Labels[i] == "stage" && s.Labels[i+1] != w.name {
			_, consumer := w.ends.FramesIn[s.Labels[i+1]]
			return consumer
		}
	}
	return true
}

func (w *boxWire) exit(e wire.Exit) {
	w.note(func(h *supervisor.Health) { h.Ended, h.Exit, h.Permanent = true, e.Reason, e.Permanent })
}

// flow reads from statistics how much a stage was given and how much of it it worked off. What is
// dropped because the stage is behind does not count as worked off: that is what a stage that hangs
// does.
func flow(kind wire.Kind, samples []pipeline.Sample) (in, out uint64) {
	behind := []string{string(pipeline.DropBehind), string(pipeline.DropSuperseded), string(pipeline.DropStale)}
	for _, s := range samples {
		n := uint64(s.Value)
		switch {
		case s.Name == pipeline.FramesReceived.Name:
			in += n
		case s.Name == pipeline.FramesDecoded.Name && kind == wire.Capture:
			out += n
		case s.Name == pipeline.FramesAnalysed.Name:
			in, out = in+n, out+n
		case s.Name == pipeline.FramesDropped.Name:
			if kind == wire.Classify {
				in += n
			}
			if i := slices.Index(s.Labels, "reason"); i >= 0 && i+1 < len(s.Labels) && !slices.Contains(behind, s.Labels[i+1]) {
				out += n
			}
		}
	}
	return in, out
}

// Health implements supervisor.Wire.
func (w *boxWire) Health() supervisor.Health {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := w.health
	h.Received, h.Sent = w.moved[0], w.moved[1]
	if w.box != nil {
		received, sent := w.box.Bytes()
		h.Received, h.Sent = h.Received+received, h.Sent+sent
	}
	if w.outlet != nil {
		h.In, h.Out = w.backlog()
	}
	return h
}

// backlog is the flow of a publish stage: what it delivered, and, while something waits that it does not
// deliver though its upstream is there, a number that grows. w.mu is held.
func (w *boxWire) backlog() (in, out uint64) {
	delivered, waits := w.outbox().Acknowledged(), w.outbox().Waiting() > 0
	if waits && w.health.Ready {
		w.pressure++
	}
	return delivered + w.pressure, delivered
}

// Stop implements supervisor.Wire: what waits for a publish stage goes first.
func (w *boxWire) Stop(ctx context.Context, grace time.Duration) error {
	w.mu.Lock()
	box := w.box
	w.mu.Unlock()
	if box == nil {
		return fmt.Errorf("stop stage %q: there is no wire to it", w.name)
	}
	if w.outlet != nil {
		drained, cancel := context.WithTimeout(ctx, grace/2)
		w.drain(drained)
		cancel()
	}
	return box.Stop(ctx, grace)
}

// drain waits until all that waits has been delivered, as far as ctx allows. Without an upstream it does
// not wait: the queue keeps it.
func (w *boxWire) drain(ctx context.Context) {
	way := w.outlet.way()
	for ctx.Err() == nil {
		w.mu.Lock()
		ready := w.health.Ready
		w.mu.Unlock()
		if n, _ := way.Size(); n == 0 || !ready {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Samples returns the stage's statistics as it sent them last, with what was dropped on the way to it.
func (w *boxWire) Samples() []pipeline.Sample {
	w.mu.Lock()
	samples := slices.Clone(w.samples)
	w.mu.Unlock()
	for _, c := range w.crossings {
		samples = add(samples, c.stats.Snapshot())
	}
	if w.outlet != nil {
		samples = add(samples, w.outlet.stats.Snapshot())
	}
	return samples
}

// add adds counters to those of the same name and labels.
func add(samples, more []pipeline.Sample) []pipeline.Sample {
	for _, m := range more {
		i := slices.IndexFunc(samples, func(s pipeline.Sample) bool { return s.Name == m.Name && slices.Equal(s.Labels, m.Labels) })
		if i < 0 {
			samples = append(samples, m)
			continue
		}
		samples[i].Value += m.Value
	}
	return samples
}
