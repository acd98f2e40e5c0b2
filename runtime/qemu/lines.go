package qemu

import (
	"bytes"
	"io"
	"strings"
	"sync"
)

// plain writes lines without what a serial console adds: carriage returns, and other controls.
type plain struct{ w io.Writer }

func (p plain) Write(line []byte) (int, error) {
	kept := bytes.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r == 0x7f {
			return -1
		}
		return r
	}, line)
	_, _ = p.w.Write(kept) // what it refuses is lost: a guest is not to stall because of its log
	return len(line), nil
}

// tail keeps the last lines that were written.
type tail struct {
	mu    sync.Mutex
	lines []string
}

const tailLines = 20

func (t *tail) Write(line []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.lines) == tailLines {
		t.lines = append(t.lines[:0], t.lines[1:]...)
	}
	t.lines = append(t.lines, strings.TrimSpace(string(line)))
	return len(line), nil
}

func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.lines, "\n")
}
