package jsonl

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"sightline/pipeline"
	"sightline/sinks"
)

const (
	permissions  = 0o640
	defaultBytes = 64 << 20
)

// file is an output with rotation.
type file struct {
	path string
	max  int64
	keep int

	f       *os.File
	regular bool  // a pipe or device is neither repaired nor rotated
	size    int64 // up to the last whole line
	torn    bool  // more than size may be there
}

var _ output = (*file)(nil)

func openFile(c sinks.JSONL) (*file, error) {
	o := &file{path: c.Path, max: int64(c.MaxBytes), keep: c.Keep}
	if o.max <= 0 {
		o.max = defaultBytes
	}
	if err := o.open(); err != nil {
		return nil, err
	}
	return o, nil
}

func (o *file) open() error {
	f, err := os.OpenFile(o.path, os.O_RDWR|os.O_CREATE|os.O_APPEND, permissions)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("open %q: the folder %q does not exist", o.path, filepath.Dir(o.path))
	}
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	o.f, o.regular, o.size, o.torn = f, info.Mode().IsRegular(), info.Size(), false
	if !o.regular {
		return nil
	}
	if err := o.repair(); err != nil {
		return errors.Join(fmt.Errorf("open %q: %w", o.path, err), f.Close())
	}
	return nil
}

// repair takes a torn last line away. What cannot be the rest of a result is left alone and refused:
// the file is somebody else's.
func (o *file) repair() error {
	tail := make([]byte, min(o.size, sinks.MaxMessage+1))
	if _, err := o.f.ReadAt(tail, o.size-int64(len(tail))); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read its end: %w", err)
	}
	torn := tail[bytes.LastIndexByte(tail, '\n')+1:]
	if len(torn) == 0 {
		return nil
	}
	if len(torn) > sinks.MaxMessage || torn[0] != '{' {
		return pipeline.Permanentf("it does not end with a line of JSON, so it is not a file of results")
	}
	if err := o.f.Truncate(o.size - int64(len(torn))); err != nil {
		return fmt.Errorf("take away a torn last line: %w", err)
	}
	o.size -= int64(len(torn))
	return nil
}

// write writes lines, into as many files as they need.
func (o *file) write(lines []byte, ends []int) error {
	if err := o.mend(); err != nil {
		return err
	}
	for start := 0; start < len(lines); {
		end := o.fitting(start, ends)
		if end == start {
			if err := o.rotate(); err != nil {
				return fmt.Errorf("rotate %q: %w", o.path, err)
			}
			continue
		}
		if err := o.append(lines[start:end]); err != nil {
			return err
		}
		start = end
	}
	return nil
}

// fitting returns where the last line ends that still goes into this file; start means that none
// does. An empty file takes at least one.
func (o *file) fitting(start int, ends []int) int {
	fits := start
	for _, end := range ends {
		if end <= start {
			continue
		}
		first := o.size == 0 && fits == start
		if o.regular && !first && o.size+int64(end-start) > o.max {
			break
		}
		fits = end
	}
	return fits
}

func (o *file) append(lines []byte) error {
	n, err := o.f.Write(lines)
	if err == nil {
		o.size += int64(n)
		return nil
	}
	o.torn = n > 0
	return errors.Join(fmt.Errorf("append to file: %w", err), o.mend())
}

// mend takes away what a write that ended with an error has left.
func (o *file) mend() error {
	if !o.torn {
		return nil
	}
	if o.regular {
		if err := o.f.Truncate(o.size); err != nil {
			return fmt.Errorf("take a torn line away: %w", err)
		}
	} else if _, err := o.f.WriteString("\n"); err != nil {
		return fmt.Errorf("end a torn line: %w", err)
	}
	o.torn = false
	return nil
}

// rotate moves the file out of the way and opens a new one. After an error the old one is in use.
func (o *file) rotate() error {
	if o.keep == 0 {
		if err := o.f.Truncate(0); err != nil {
			return err
		}
		o.size = 0
		return nil
	}
	for i := o.keep - 1; i >= 1; i-- {
		if err := os.Rename(o.rotated(i), o.rotated(i+1)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := os.Rename(o.path, o.rotated(1)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	old := *o
	if err := o.open(); err != nil {
		*o = old
		return errors.Join(err, os.Rename(o.rotated(1), o.path))
	}
	return old.f.Close()
}

func (o *file) rotated(i int) string { return fmt.Sprintf("%s.%d", o.path, i) }

func (o *file) close() error { return errors.Join(o.mend(), o.f.Close()) }
