package wire

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/yamux"

	"sightline/pipeline"
)

// takeFrames keeps a frames link open from the other side while link wishes for frames, anew with
// every wish, until the session ends. While it has a direct connection it needs none of this one.
func (s *session) takeFrames(name string, link *pipeline.FrameLink, clock *Clock) {
	tick := time.NewTicker(wishEvery)
	defer tick.Stop()
	for s.ctx.Err() == nil {
		if wish := link.Wish(); wish != nil && !s.straight[name].live() {
			if err := s.takeWished(name, link, wish, clock); err != nil {
				s.fail(fmt.Errorf("frames link %q: %w", name, err))
				return
			}
			// The other side may not have the link yet, or no more.
			if !sleep(s.ctx, reopenAfter) {
				return
			}
		}
		select {
		case <-s.ctx.Done():
		case <-tick.C:
		}
	}
}

// takeWished serves one wish. It returns an error for what an honest producer does not do.
func (s *session) takeWished(name string, link *pipeline.FrameLink, wish *pipeline.Wish, clock *Clock) error {
	if err := CheckWish(*wish); err != nil {
		return err
	}
	stream, err := s.open(opening{kind: streamFrames, Link: name, Wish: wish})
	if err != nil {
		return nil // the session has ended, and knows why
	}
	defer stream.Close()
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	s.work.Go(func() { awaitChange(ctx, link, wish, s.straight[name]); cancel() })
	err = ReceiveFrames(ctx, stream, link, *wish, clock)
	for _, breach := range []error{ErrMalformed, ErrTooLarge} {
		if errors.Is(err, breach) {
			return err
		}
	}
	return nil
}

// awaitChange returns when link wishes for something else, or nothing, or has a direct connection.
func awaitChange(ctx context.Context, link *pipeline.FrameLink, wish *pipeline.Wish, direct *straight) {
	tick := time.NewTicker(wishEvery)
	defer tick.Stop()
	for link.Wish() == wish && !direct.live() {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// giveFrames serves a frames link that the other side opened.
func (s *session) giveFrames(stream *yamux.Stream, o opening, outputs map[string]*FrameOutput, clock *Clock) error {
	output, ok := outputs[o.Link]
	if !ok {
		return fmt.Errorf("frames link %q: %w", o.Link, ErrUnexpected)
	}
	err := output.Send(s.ctx, stream, *o.Wish, clock)
	if errors.Is(err, ErrMalformed) || errors.Is(err, ErrFlood) {
		return fmt.Errorf("frames link %q: %w", o.Link, err)
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
