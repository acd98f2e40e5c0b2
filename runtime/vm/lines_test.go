package vm

import (
	"strings"
	"sync"
	"testing"
	"time"
)

// lines is a log that can be waited on.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
	more chan struct{} // closed with each line
}

func newLines() *lines { return &lines{more: make(chan struct{})} }

// Write takes whole lines.
func (l *lines) Write(data []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(data)
	close(l.more)
	l.more = make(chan struct{})
	return len(data), nil
}

// String returns all lines.
func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *lines) clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Reset()
}

// await waits until something was written.
func (l *lines) await(t *testing.T, what string) {
	t.Helper()
	timeout := time.After(guestPatience)
	for {
		l.mu.Lock()
		text, more := l.text.String(), l.more
		l.mu.Unlock()
		if strings.Contains(text, what) {
			return
		}
		select {
		case <-more:
		case <-timeout:
			t.Fatalf("no %q in the log, but\n%s", what, text)
		}
	}
}
