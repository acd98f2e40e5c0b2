package pipeline

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Inbox is where a classify stage receives frames from all its inputs. Of each source and region it
// holds one frame, the newest; a frame not taken before the next one comes is dropped. So nothing
// stale queues up, and one fast camera cannot crowd out another.
type Inbox struct {
	stage string
	stats *Stats
	lead  atomic.Int64 // nanoseconds, as Expect was told

	mu     sync.Mutex
	slots  []*slot
	ready  int // slots that hold a frame
	turn   int // slot to look at first, so that all get their turn
	signal chan struct{}
}

type slot struct {
	link   *FrameLink
	region string
	frame  *Frame
	came   time.Time // when the last one was put
	taken  uint64    // sequence of the frame taken last
}

// silent is how long nothing has come to a slot when batches no longer wait for it: a camera that is
// gone does not hold up the others.
const silent = time.Second

// NewInbox returns an inbox of a stage, which counts what it drops in stats.
func NewInbox(stage string, stats *Stats) *Inbox {
	return &Inbox{stage: stage, stats: stats, signal: make(chan struct{}, 1)}
}

// FrameLink is the way of frames from one source to one inbox. The producer's side never waits.
type FrameLink struct {
	inbox *Inbox
	drops Drops
	wish  atomic.Pointer[Wish]
	news  chan struct{} // for Changed
}

// Link makes the link for a source. All links are made before frames flow.
func (b *Inbox) Link(source string) *FrameLink {
	return &FrameLink{inbox: b, drops: b.stats.Drops(b.stage, source), news: make(chan struct{}, 1)}
}

// Open tells the producer what the consumer wants; frames flow from then on. Opening again replaces
// the wish.
func (l *FrameLink) Open(w Wish) {
	if len(w.Regions) == 0 {
		w.Regions = []Region{Whole}
	}
	l.wish.Store(&w)
	l.tell()
}

// Shut tells the producer that nothing is wanted any more, and drops what waits.
func (l *FrameLink) Shut() {
	l.wish.Store(nil)
	defer l.tell()
	l.inbox.mu.Lock()
	defer l.inbox.mu.Unlock()
	for _, s := range l.inbox.slots {
		if s.link == l && s.frame != nil {
			l.inbox.drop(s, DropStopping)
		}
	}
}

// Wish returns what the consumer wants, nil while it wants nothing. The caller does not change it.
func (l *FrameLink) Wish() *Wish { return l.wish.Load() }

// Put hands a frame over, held once for the link. It replaces a frame of the same region that still
// waits, and never blocks.
func (l *FrameLink) Put(f *Frame) {
	b := l.inbox
	b.mu.Lock()
	s, _ := b.slot(l, f.Region)
	if s.frame != nil {
		b.drop(s, DropSuperseded)
	}
	s.frame, s.came = f, time.Now()
	b.ready++
	b.mu.Unlock()
	select {
	case b.signal <- struct{}{}:
	default:
	}
}

// Expect says how long a frame takes from Take to its result, so that frames whose result would be
// stale are dropped before that work is done. At most half of a frame's staleness budget is taken for
// it: a model slower than the budget still gets the freshest frames.
func (b *Inbox) Expect(d time.Duration) { b.lead.Store(int64(d)) }

// late tells whether the result of a frame taken now would come after its deadline.
func (b *Inbox) late(f *Frame, now time.Time) bool {
	if f.Deadline.IsZero() {
		return false
	}
	lead := min(time.Duration(b.lead.Load()), f.Deadline.Sub(f.Times.Received)/2)
	return now.Add(lead).After(f.Deadline)
}

// Succeed says that a frame, which is to be put next, follows on others that went to another inbox: a
// stage that takes the place of another goes on counting what is dropped where that one ended.
func (l *FrameLink) Succeed(f *Frame) {
	l.inbox.mu.Lock()
	defer l.inbox.mu.Unlock()
	if s, fresh := l.inbox.slot(l, f.Region); fresh {
		s.taken = f.Sequence - min(f.Sequence, f.Dropped+1)
	}
}

func (b *Inbox) slot(l *FrameLink, region string) (s *slot, fresh bool) {
	for _, s := range b.slots {
		if s.link == l && s.region == region {
			return s, false
		}
	}
	s = &slot{link: l, region: region}
	b.slots = append(b.slots, s)
	return s, true
}

func (b *Inbox) drop(s *slot, r Reason) {
	s.link.drops.Add(r, 1)
	s.frame.Release()
	s.frame = nil
	b.ready--
	s.link.tell()
}

// Take waits for a frame, then for up to wait more until there are limit of them, and appends what
// is there to into, oldest turn first. The caller owns the frames. Stale ones are dropped on the way.
// It returns ErrClosed once stop is closed and nothing is left, or ctx's error.
func (b *Inbox) Take(ctx context.Context, stop <-chan struct{}, limit int, wait time.Duration, into []*Frame) ([]*Frame, error) {
	for {
		if ready, possible := b.count(); ready > 0 {
			if wait > 0 && ready < min(limit, possible) {
				b.await(ctx, stop, limit, wait)
			}
			if into = b.take(limit, into); len(into) > 0 {
				return into, nil
			}
		}
		select {
		case <-b.signal:
		case <-ctx.Done():
			return into, ctx.Err()
		case <-stop:
			if ready, _ := b.count(); ready == 0 {
				return into, ErrClosed
			}
		}
	}
}

// await returns when as many frames wait as can come, or after wait.
func (b *Inbox) await(ctx context.Context, stop <-chan struct{}, limit int, wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-b.signal:
			if ready, possible := b.count(); ready >= min(limit, possible) {
				return
			}
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		case <-stop:
			return
		}
	}
}

// count tells how many frames wait, and how many there would be if all that send something did so.
func (b *Inbox) count() (ready, possible int) {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.slots {
		if s.frame != nil || now.Sub(s.came) < silent {
			possible++
		}
	}
	return b.ready, possible
}

func (b *Inbox) take(limit int, into []*Frame) []*Frame {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := 0; i < len(b.slots) && len(into) < limit; i++ {
		s := b.slots[(b.turn+i)%len(b.slots)]
		if s.frame == nil {
			continue
		}
		if b.late(s.frame, now) {
			b.drop(s, DropStale)
			continue
		}
		f := s.frame
		if f.Sequence > s.taken {
			f.Dropped = f.Sequence - s.taken - 1
		}
		s.taken, s.frame = f.Sequence, nil
		b.ready--
		s.link.tell()
		into = append(into, f)
	}
	if len(b.slots) > 0 {
		b.turn = (b.turn + 1) % len(b.slots)
	}
	return into
}
