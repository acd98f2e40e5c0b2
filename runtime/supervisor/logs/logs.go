// Package logs keeps what a stage prints and says: in files of bounded size, at a bounded rate, to be
// read and followed while it is written.
package logs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// MaxLine is the longest line, in bytes; longer ones are cut in several.
const MaxLine = 8 << 10

// Limits bound a log. Zeros have the defaults given.
type Limits struct {
	FileBytes int64 // of one file: 2 MiB
	Files     int   // with the newest: 4
	Lines     int   // a second: 100
	Bytes     int   // a second: 64 KiB
	Burst     int   // seconds' worth of both that may come at once: 10
	Now       func() time.Time
}

func (l Limits) filled() Limits {
	if l.FileBytes <= 0 {
		l.FileBytes = 2 << 20
	}
	for _, n := range []struct {
		of    *int
		value int
	}{{&l.Files, 4}, {&l.Lines, 100}, {&l.Bytes, 64 << 10}, {&l.Burst, 10}} {
		if *n.of <= 0 {
			*n.of = n.value
		}
	}
	if l.Now == nil {
		l.Now = time.Now
	}
	return l
}

// Log is the log of one stage. Its methods may be called from several goroutines.
type Log struct {
	name   string
	limits Limits

	mu        sync.Mutex
	file      *os.File // nil until something is written, and after an error
	size      int64
	lines     bucket
	bytes     bucket
	left      omitted
	saying    *time.Timer // says what was left out; nil: nothing was
	followers map[*follower]struct{}
	closed    bool
}

// omitted is what was not written.
type omitted struct {
	lines int
	bytes int64
	why   string
}

// Open returns the log whose newest file is name. No file is made before something is written.
func Open(name string, l Limits) *Log {
	l = l.filled()
	log := &Log{name: name, limits: l, followers: map[*follower]struct{}{}}
	log.lines = bucket{rate: float64(l.Lines), most: float64(l.Lines * l.Burst)}
	log.bytes = bucket{rate: float64(l.Bytes), most: float64(l.Bytes * l.Burst)}
	return log
}

// Writer returns a writer whose lines go to the log; one that is not ended yet waits for its end.
// It never returns an error, nor does it wait: what can't be written is left out, and counted.
func (l *Log) Writer() io.Writer { return &writer{log: l} }

type writer struct {
	log  *Log
	mu   sync.Mutex
	rest []byte
}

// Write implements io.Writer.
func (w *writer) Write(data []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for rest := data; len(rest) > 0; {
		line, after, ended := bytes.Cut(rest, []byte{'\n'})
		if room := MaxLine - len(w.rest); len(line) > room {
			line, after, ended = rest[:room], rest[room:], true
		}
		if !ended {
			w.rest = append(w.rest, line...)
			break
		}
		w.log.line(string(append(w.rest, line...)))
		w.rest, rest = w.rest[:0], after
	}
	return len(data), nil
}

// line writes one line, unless there are too many.
func (l *Log) line(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	text = clean(strings.TrimSuffix(text, "\r"))
	now := l.limits.Now()
	switch {
	case l.closed:
	case !l.lines.take(now, 1):
		l.leaveOut(text, fmt.Sprintf("more than %d lines a second", l.limits.Lines))
	case !l.bytes.take(now, float64(len(text)+1)):
		l.leaveOut(text, fmt.Sprintf("more than %d bytes a second", l.limits.Bytes))
	default:
		l.sayOmitted()
		if err := l.put(text); err != nil {
			l.leaveOut(text, err.Error())
		}
	}
}

// leaveOut counts a line that is not written, and has that said a second later at most.
func (l *Log) leaveOut(text, why string) {
	l.left.lines++
	l.left.bytes += int64(len(text) + 1)
	l.left.why = why
	if l.saying == nil {
		l.saying = time.AfterFunc(time.Second, func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.sayOmitted()
		})
	}
}

// sayOmitted says how much was left out. What can't be said now, as nothing can be written, is said
// before the next line that can.
func (l *Log) sayOmitted() {
	if l.left.lines == 0 || l.closed {
		return
	}
	text := fmt.Sprintf("(%d lines with %d bytes left out: %s)", l.left.lines, l.left.bytes, l.left.why)
	if l.saying != nil {
		l.saying.Stop()
		l.saying = nil
	}
	if l.put(text) == nil {
		l.left = omitted{}
	}
}

// put writes a line to the file and to those who follow.
func (l *Log) put(text string) error {
	text = l.limits.Now().UTC().Format("2006-01-02T15:04:05.000Z ") + text
	for f := range l.followers {
		f.give(text)
	}
	if l.file == nil {
		if err := l.open(); err != nil {
			return err
		}
	}
	if l.size > 0 && l.size+int64(len(text)) >= l.limits.FileBytes {
		if err := l.rotate(); err != nil {
			return err
		}
	}
	n, err := l.file.WriteString(text + "\n")
	if err != nil {
		err = errors.Join(err, l.file.Truncate(l.size), l.file.Close())
		l.file = nil
		return err
	}
	l.size += int64(n)
	return nil
}

func (l *Log) open() error {
	f, err := os.OpenFile(l.name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	l.file, l.size = f, info.Size()
	return nil
}

// older returns the name of an earlier file; 0 is the newest.
func (l *Log) older(n int) string {
	if n == 0 {
		return l.name
	}
	return fmt.Sprintf("%s.%d", l.name, n)
}

func (l *Log) rotate() error {
	err := l.file.Close()
	l.file = nil
	for n := l.limits.Files - 1; n > 0 && err == nil; n-- {
		if err = os.Rename(l.older(n-1), l.older(n)); errors.Is(err, os.ErrNotExist) {
			err = nil
		}
	}
	if err == nil && l.limits.Files == 1 {
		err = os.Remove(l.name)
	}
	if err != nil {
		return err
	}
	return l.open()
}

// Close ends the log and all who follow it.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sayOmitted()
	l.closed = true
	if l.saying != nil {
		l.saying.Stop()
	}
	for f := range l.followers {
		close(f.ended)
	}
	clear(l.followers)
	if l.file == nil {
		return nil
	}
	err := l.file.Close()
	l.file = nil
	return err
}

// Remove closes the log and removes its files.
func (l *Log) Remove() error {
	errs := []error{l.Close()}
	for n := range l.limits.Files {
		if err := os.Remove(l.older(n)); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// clean makes characters harmless that a terminal or a reader of lines would act upon.
func clean(text string) string {
	harmful := func(r rune) bool { return r < ' ' && r != '\t' || r >= 0x7f && r < 0xa0 || r == utf8.RuneError }
	if strings.IndexFunc(text, harmful) < 0 {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if harmful(r) && r != utf8.RuneError {
			fmt.Fprintf(&b, `\x%02x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// bucket lets so much by a second.
type bucket struct {
	rate, most float64
	have       float64
	at         time.Time
}

func (b *bucket) take(now time.Time, n float64) bool {
	if b.at.IsZero() {
		b.have = b.most
	} else if passed := now.Sub(b.at); passed > 0 {
		b.have = min(b.most, b.have+passed.Seconds()*b.rate)
	}
	b.at = now
	if b.have < n {
		return false
	}
	b.have -= n
	return true
}
