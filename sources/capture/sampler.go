package capture

import "time"

// sampler chooses pictures so that they come at an even rate by their presentation times. The zero
// value chooses every picture.
type sampler struct {
	period time.Duration // between two chosen pictures; 0: choose all

	begun    bool
	next     time.Duration // when the next one is due
	last     time.Duration // presentation time seen last
	interval time.Duration // between the pictures of the stream
}

func newSampler(fps float64) sampler {
	if fps <= 0 {
		return sampler{}
	}
	return sampler{period: time.Duration(float64(time.Second) / fps)}
}

// due tells whether a picture with this time would be chosen: whether it is the one nearest to the
// moment that the next one is due at.
func (s *sampler) due(pts time.Duration) bool {
	if s.period == 0 || !s.begun {
		return true
	}
	slack := min(s.interval, s.period) / 2
	return pts+slack >= s.next || s.jumped(pts)
}

// jumped tells whether the stream's clock went back, as it does after a new connection.
func (s *sampler) jumped(pts time.Duration) bool { return pts < s.last-2*time.Second }

// choose tells whether a picture is chosen, and takes note of it. Pictures come in the order of their
// times.
func (s *sampler) choose(pts time.Duration) bool {
	chosen := s.due(pts)
	jumped := !s.begun || s.jumped(pts)
	if step := pts - s.last; !jumped && step > 0 {
		s.interval = step
	}
	s.last = pts
	if !chosen {
		return false
	}
	s.next += s.period
	if jumped || pts > s.next {
		s.next = pts + s.period // do not make up for what did not come
	}
	s.begun = true
	return true
}
