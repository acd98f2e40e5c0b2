package main

import (
	"context"
	"time"

	"sightline/configs"
	"sightline/pipeline"
	"sightline/sources"
)

// glance is how often it is looked whether all is played.
const glance = 200 * time.Millisecond

// awaitEnd returns true once every source of what runs was finite and has come to its end, and false when
// ctx ends.
func (s *station) awaitEnd(ctx context.Context) bool {
	ticker := time.NewTicker(glance)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if s.ended() {
				return true
			}
		case <-ctx.Done():
			return false
		}
	}
}

func (s *station) ended() bool {
	if !s.applying.TryLock() {
		return false // it is being changed
	}
	p := s.running.pipeline
	s.applying.Unlock()
	return allPlayed(p, s.board.Status)
}

// allPlayed tells whether every source of a pipeline has come to its end.
func allPlayed(p *configs.Pipeline, status func(stage string) pipeline.Status) bool {
	if p == nil || len(p.Sources) == 0 {
		return false
	}
	for name, source := range p.Sources {
		last := status(name)
		if !source.Finite() || last.State != pipeline.StateStopped || last.Reason != sources.Ended {
			return false
		}
	}
	return true
}
