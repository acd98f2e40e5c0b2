package pipeline

// A producer that waits for its consumer, as one does whose pictures are in a file and not before a
// camera, puts a frame only when Free says so, and waits for Changed in between.

// Free tells whether the consumer wants frames and none of this region waits for it: a frame put now
// replaces no other.
func (l *FrameLink) Free(region string) bool {
	if l.wish.Load() == nil {
		return false
	}
	l.inbox.mu.Lock()
	defer l.inbox.mu.Unlock()
	for _, s := range l.inbox.slots {
		if s.link == l && s.region == region {
			return s.frame == nil
		}
	}
	return true
}

// Changed returns what is sent to when the consumer took a frame, or opened or shut the link. One producer
// listens to it, and looks again each time.
func (l *FrameLink) Changed() <-chan struct{} { return l.news }

func (l *FrameLink) tell() {
	select {
	case l.news <- struct{}{}:
	default:
	}
}
