package logs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
)

// queue is how many lines wait for a follower.
const queue = 1024

// follower takes new lines; what it is too slow for is counted.
type follower struct {
	lines  chan string
	ended  chan struct{}
	missed int // guarded by the log's mu
}

func (f *follower) give(text string) {
	if f.missed > 0 && len(f.lines) < cap(f.lines)-1 {
		f.lines <- fmt.Sprintf("(%d lines left out: they are not read fast enough)", f.missed)
		f.missed = 0
	}
	select {
	case f.lines <- text:
	default:
		f.missed++
	}
}

// Read hands over the last n lines, and then, if follow is set, each new one, until ctx or the log
// ends or take returns an error.
func (l *Log) Read(ctx context.Context, n int, follow bool, take func(line string) error) error {
	last, f, err := l.begin(n, follow)
	if err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	for _, line := range last {
		if err := take(line); err != nil {
			return err
		}
	}
	if f == nil {
		return nil
	}
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.followers, f)
	}()
	for {
		select {
		case line := <-f.lines:
			if err := take(line); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		case <-f.ended:
			return f.rest(take)
		}
	}
}

// rest hands over what came before the log ended.
func (f *follower) rest(take func(line string) error) error {
	for {
		select {
		case line := <-f.lines:
			if err := take(line); err != nil {
				return err
			}
		default:
			return nil
		}
	}
}

// begin reads the last lines and follows from there, with nothing in between.
func (l *Log) begin(n int, follow bool) ([]string, *follower, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	last, err := l.last(n)
	if err != nil || !follow || l.closed {
		return last, nil, err
	}
	f := &follower{lines: make(chan string, queue), ended: make(chan struct{})}
	l.followers[f] = struct{}{}
	return last, f, nil
}

// last returns the last n lines, the oldest first.
func (l *Log) last(n int) ([]string, error) {
	var all []string
	for i := 0; i < l.limits.Files && len(all) < n; i++ {
		data, err := os.ReadFile(l.older(i))
		if errors.Is(err, os.ErrNotExist) {
			break
		}
		if err != nil {
			return nil, err
		}
		lines := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
		if len(data) > 0 {
			all = append(lines[max(0, len(lines)-(n-len(all))):], all...)
		}
	}
	return all, nil
}
