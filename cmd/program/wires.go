package program

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"sightline/pipeline"
	"sightline/pipeline/wire"
	"sightline/runtime/line"
)

// The waits between tries to reach a supervisor.
const (
	firstTry = 50 * time.Millisecond
	mostTry  = 500 * time.Millisecond
)

// wires keeps a wire to whichever supervisor there is.
type wires struct {
	stage *wire.Stage
	way   *line.Way
	out   io.Writer // the log of the box, for what no supervisor is told
	said  string    // what was written there last
	end   context.CancelFunc
	done  chan struct{}
}

func openWires(address string, o wire.StageOptions, out io.Writer) (*wires, error) {
	way, err := line.Open(address)
	if err != nil {
		return nil, err
	}
	ctx, end := context.WithCancel(context.Background())
	w := &wires{stage: wire.NewStage(o), way: way, out: out, end: end, done: make(chan struct{})}
	go func() {
		defer close(w.done)
		w.serve(ctx)
	}()
	return w, nil
}

// close ends the wire.
func (w *wires) close() {
	w.end()
	<-w.done
	w.way.Close()
}

func (w *wires) serve(ctx context.Context) {
	wait := firstTry
	for ctx.Err() == nil {
		conn, err := w.way.Connect(ctx)
		if err == nil {
			began := time.Now()
			w.tell(w.stage.Serve(ctx, conn))
			if time.Since(began) > mostTry {
				wait = firstTry
			}
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		wait = min(2*wait, mostTry)
	}
}

// tell writes why a wire ended, unless the supervisor just went. What was written last is not written
// again: the same is tried for ever.
func (w *wires) tell(err error) {
	if err == nil || errors.Is(err, wire.ErrEnded) || errors.Is(err, context.Canceled) || errors.Is(err, io.ErrUnexpectedEOF) {
		return
	}
	if text := pipeline.RedactText(err.Error()); text != w.said {
		w.said = text
		fmt.Fprintln(w.out, text)
	}
}
