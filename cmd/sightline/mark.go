package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
)

// mark tells a file from what it was before, without reading it: links are followed, so it also changes
// when one is turned over.
type mark string

func markOf(path string) mark {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "none"
	case err != nil:
		return mark(err.Error())
	}
	text := fmt.Sprint(info.Mode(), info.Size(), info.ModTime().UnixNano())
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		text += fmt.Sprint(" ", s.Dev, s.Ino, s.Ctim.Nano())
	}
	return mark(text)
}

// marks are those of a pipeline file and of the files that it names.
func marks(file mark, names []string) string {
	var b strings.Builder
	b.WriteString(string(file))
	for _, name := range names {
		fmt.Fprintf(&b, "\n%s %s", name, markOf(name))
	}
	return b.String()
}

// How many looks must find a changed file as the one before did.
const (
	settles = 1 // then it is read
	remains = 3 // then, if it still cannot be used, it is told of: nobody is writing it any more
)

// change finds out when files were changed and whoever did it has ended.
type change struct {
	taken string // the marks of what was read
	seen  string // the marks at the last look
	quiet int    // looks that found them again
}

// look takes the marks as they are now. settled says that the files are worth reading; last, that they
// will not be again until they change.
func (c *change) look(now string) (settled, last bool) {
	switch {
	case now == c.taken:
		c.seen, c.quiet = now, 0
		return false, false
	case now != c.seen:
		c.seen, c.quiet = now, 0
		return false, false
	}
	c.quiet++
	return c.quiet == settles || c.quiet == remains, c.quiet >= remains
}
