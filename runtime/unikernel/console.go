package unikernel

import (
	"bytes"
	"io"
	"sync"
)

// watched is the console of a guest on its way to the log, from which the reason of its end is learnt:
// a program without memory ends in many ways, or on arm64 never, and the kernel tells of it before.
type watched struct {
	w      io.Writer
	once   sync.Once
	starve chan struct{} // closed when the kernel has no memory for the program
}

func watch(w io.Writer) *watched { return &watched{w: w, starve: make(chan struct{})} }

// Write implements io.Writer; it takes whole lines.
func (c *watched) Write(line []byte) (int, error) {
	if tellsNoMemory(line) {
		c.once.Do(func() { close(c.starve) })
	}
	return c.w.Write(line)
}

// starved says whether the kernel had no memory for the program.
func (c *watched) starved() bool {
	select {
	case <-c.starve:
		return true
	default:
		return false
	}
}

// tellsNoMemory says whether a line tells that there was no memory for the program: one of the kernel
// or of Go's runtime. The program can print such a line too, and so have itself ended.
func tellsNoMemory(line []byte) bool {
	if text, ok := kernelText(line); ok {
		return bytes.HasPrefix(text, []byte("page f")) && bytes.Contains(text, []byte("out of memory"))
	}
	return bytes.HasPrefix(line, []byte("fatal error: runtime: out of memory")) || bytes.HasPrefix(line, []byte("runtime: out of memory"))
}

// kernelText returns what the kernel says in a line of its own, which begins with the time since its
// start: "[0.112066] …".
func kernelText(line []byte) (text []byte, ok bool) {
	head, text, found := bytes.Cut(line, []byte("] "))
	if !found || len(head) < 4 || head[0] != '[' {
		return nil, false
	}
	seconds, parts, found := bytes.Cut(head[1:], []byte("."))
	return text, found && isNumber(seconds) && isNumber(parts)
}

func isNumber(text []byte) bool {
	for _, b := range text {
		if b < '0' || b > '9' {
			return false
		}
	}
	return len(text) > 0
}
