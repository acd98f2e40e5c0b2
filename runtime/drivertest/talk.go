package drivertest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// talk is the wire of the suite's stage.
type talk struct {
	t     *testing.T
	conn  net.Conn
	lines *bufio.Reader
	name  string // of this run of the program
	args  string
	asked int // before this connection
}

// hello takes a connection of the box.
func (r *room) hello() *talk {
	r.t.Helper()
	return r.greeted(greet(r.wire, r.Patience))
}

func (r *room) greeted(k *talk, err error) *talk {
	r.t.Helper()
	if err != nil {
		r.t.Fatalf("no hello from the box: %v; it printed\n%s", err, r.log)
	}
	k.t = r.t
	r.t.Cleanup(func() { k.conn.Close() })
	return k
}

func greet(wire net.Listener, patience time.Duration) (*talk, error) {
	if err := wire.(*net.UnixListener).SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	conn, err := wire.Accept()
	if err != nil {
		return nil, err
	}
	k := &talk{conn: conn, lines: bufio.NewReader(conn)}
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	line, err := k.lines.ReadString('\n')
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	if _, err := fmt.Sscanf(line, "hello %s %d", &k.name, &k.asked); err != nil {
		return nil, fmt.Errorf("hello %q: %w", line, err)
	}
	_, k.args, _ = strings.Cut(strings.TrimSpace(line), "[")
	return k, conn.SetDeadline(time.Time{})
}

// ask sends a line and returns the answer; ok is false when the box says that it was refused.
func (k *talk) ask(format string, args ...any) (answer string, ok bool) {
	k.t.Helper()
	line := fmt.Sprintf(format, args...)
	answer, err := k.exchange(line)
	if err != nil {
		k.t.Fatalf("ask the box to %q: %v", line, err)
	}
	return answer, !strings.HasPrefix(answer, "error: ")
}

func (k *talk) exchange(line string) (answer string, err error) {
	if _, err := fmt.Fprintln(k.conn, line); err != nil {
		return "", err
	}
	answer, err = k.lines.ReadString('\n')
	return strings.TrimSpace(answer), err
}

// tell sends a line that has no answer.
func (k *talk) tell(format string, args ...any) {
	k.t.Helper()
	if _, err := fmt.Fprintf(k.conn, format+"\n", args...); err != nil {
		k.t.Fatal(err)
	}
}

// lines is a log that can be waited on.
type lines struct {
	mu   sync.Mutex
	all  []string
	more chan struct{} // closed with each line
}

func newLines() *lines { return &lines{more: make(chan struct{})} }

// Write takes whole lines.
func (l *lines) Write(data []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range bytes.Lines(data) {
		l.all = append(l.all, string(line))
	}
	close(l.more)
	l.more = make(chan struct{})
	return len(data), nil
}

// String returns all lines.
func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.all, "")
}

// await waits for a line that ends in text, as some boxes print the time before it.
func (l *lines) await(t *testing.T, text string, patience time.Duration) {
	t.Helper()
	timeout := time.After(patience)
	for {
		l.mu.Lock()
		found := slices.ContainsFunc(l.all, func(line string) bool { return strings.HasSuffix(line, text+"\n") })
		more := l.more
		l.mu.Unlock()
		if found {
			return
		}
		select {
		case <-more:
		case <-timeout:
			t.Fatalf("no line %q in the log, but\n%s", text, l)
		}
	}
}
