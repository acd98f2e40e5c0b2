package scene

import (
	"math"
	"math/rand/v2"
	"sort"
	"sync"
	"time"
)

// class is one of the kinds of content, numbered as the model's labels are.
type class int

const (
	empty class = iota
	person
	bicycle
	car
	truck
	dog
	classes // how many there are
)

// String gives the label.
func (c class) String() string {
	return [...]string{"empty", "person", "bicycle", "car", "truck", "dog"}[c]
}

// pause is how long an empty view takes to count as settled, and how long before its end it ceases to.
const pause = 300 * time.Millisecond

// segment is a stretch of time with one content: an object that enters, crosses and leaves, or nothing.
type segment struct {
	class      class
	start, end time.Duration
	actor      actor
}

// progress says how much of the segment is over, 0 to 1.
func (s segment) progress(at time.Duration) float64 {
	return clamp(float64(at-s.start)/float64(s.end-s.start), 0, 1)
}

// timeline is the endless row of segments of one seed, made as far as anyone has asked. It is safe for all goroutines.
type timeline struct {
	aspect float64 // width of the picture over its height

	mu       sync.Mutex
	random   *rand.Rand
	segments []segment
	bag      []class // what is still to come before every class has come again
}

// newTimeline begins the timeline of a seed.
func newTimeline(seed uint64, aspect float64) *timeline {
	return &timeline{aspect: aspect, random: random(seed, streamTimeline)}
}

// segment gives the segment that a moment is in.
func (t *timeline) segment(at time.Duration) segment {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.end() <= at {
		t.segments = append(t.segments, t.next())
	}
	i := sort.Search(len(t.segments), func(i int) bool { return t.segments[i].end > at })
	return t.segments[i]
}

// end is where the made part of the timeline ends.
func (t *timeline) end() time.Duration {
	if len(t.segments) == 0 {
		return 0
	}
	return t.segments[len(t.segments)-1].end
}

// next makes the segment after the last.
func (t *timeline) next() segment {
	c := t.draw()
	low, high := 3.4, 6.0
	if c == empty {
		low, high = 2.4, 4.5
	}
	seconds := between(t.random, low, high)
	start := t.end()
	return segment{
		class: c,
		start: start,
		end:   start + time.Duration(seconds*1000)*time.Millisecond,
		actor: newActor(t.random, c),
	}
}

// draw takes a class out of the bag, and fills the bag anew when it is empty; never the class of the last segment.
func (t *timeline) draw() class {
	if len(t.bag) == 0 {
		for _, i := range t.random.Perm(int(classes)) {
			t.bag = append(t.bag, class(i))
		}
		if n := len(t.segments); n > 0 && t.segments[n-1].class == t.bag[0] {
			t.bag[0], t.bag[1] = t.bag[1], t.bag[0]
		}
	}
	c := t.bag[0]
	t.bag = t.bag[1:]
	return c
}

// truth says what is in view at a moment.
func (t *timeline) truth(at time.Duration) Truth {
	s := t.segment(at)
	if s.class == empty {
		settled := at-s.start >= pause && s.end-at >= pause
		return Truth{Class: s.class.String(), Settled: settled}
	}
	left, right := s.actor.extent(s.progress(at), t.aspect)
	seen := math.Min(right, t.aspect) - math.Max(left, 0)
	return Truth{
		Class:   s.class.String(),
		Settled: left >= 0 && right <= t.aspect,
		Visible: clamp(seen/(right-left), 0, 1),
	}
}

// clamp keeps v from low to high.
func clamp(v, low, high float64) float64 {
	return math.Max(low, math.Min(high, v))
}
