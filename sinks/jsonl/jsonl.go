// Package jsonl writes results and events to a file, one JSON object a line, or to standard output. A line
// with the member "event" is a message of an event (sinks.EventSchema), any other is a result
// (sinks.ResultSchema). Statuses are not written.
//
// A file that has reached its size becomes name.1, name.1 becomes name.2, and so on. What Deliver
// returned nil for is with the operating system, in whole lines; it is not forced to the disk.
package jsonl

import (
	"context"
	"errors"
	"fmt"
	"io"

	"sightline/pipeline"
	"sightline/sinks"
)

// StandardOutput is the path that means it.
const StandardOutput = "-"

// Sink writes to one file. It may be opened again after Close.
type Sink struct {
	Config sinks.JSONL
	Stdout io.Writer // written to when the path is "-"; never closed

	env    pipeline.Env
	out    output
	buffer []byte
	ends   []int // where each line ends in buffer
}

// output is where lines go.
type output interface {
	// write writes whole lines, the last byte of each at ends. On error it leaves no part of a line
	// behind that a later write would complete, but may leave whole lines.
	write(lines []byte, ends []int) error
	close() error
}

var _ pipeline.Sink = (*Sink)(nil)

// Open opens the file for appending and takes a torn last line, left by a crash, away from it. A
// missing folder is an error; the file itself is made, readable by user and group.
func (s *Sink) Open(_ context.Context, env pipeline.Env) error {
	if s.out != nil {
		return fmt.Errorf("open %q: the sink is open already", s.Config.Path)
	}
	switch {
	case s.Config.Path != StandardOutput:
		f, err := openFile(s.Config)
		if err != nil {
			return err
		}
		s.out = f
	case s.Stdout == nil:
		return pipeline.Permanentf("open standard output: this stage has none")
	default:
		s.out = &stream{to: s.Stdout}
	}
	s.env = env
	env.Log.Info("writing results", "path", s.Config.Path)
	return nil
}

// Deliver writes the results and events among the messages. An error that is not permanent (a full disk) leaves
// no torn line; what was written before it is written again by the next try.
func (s *Sink) Deliver(ctx context.Context, messages []pipeline.Message) error {
	if s.out == nil {
		return errors.New("jsonl sink is not open")
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	s.buffer, s.ends = s.buffer[:0], s.ends[:0]
	for i := range messages {
		line, ok, err := sinks.AppendMessage(s.buffer, &messages[i])
		if err != nil {
			return fmt.Errorf("write %q: %w", s.Config.Path, err)
		}
		if !ok {
			continue
		}
		s.buffer = append(line, '\n')
		s.ends = append(s.ends, len(s.buffer))
	}
	if len(s.ends) == 0 {
		return nil
	}
	return s.out.write(s.buffer, s.ends)
}

// Close closes the file. A sink that is not open is left as it is.
func (s *Sink) Close(context.Context) error {
	if s.out == nil {
		return nil
	}
	err := s.out.close()
	s.out = nil
	if err != nil {
		return fmt.Errorf("close %q: %w", s.Config.Path, err)
	}
	return nil
}

// stream is an output that can only be appended to.
type stream struct {
	to   io.Writer
	torn bool // the last write ended within a line
}

func (s *stream) write(lines []byte, _ []int) error {
	if s.torn {
		if _, err := io.WriteString(s.to, "\n"); err != nil {
			return fmt.Errorf("write to standard output: %w", err)
		}
		s.torn = false
	}
	n, err := s.to.Write(lines)
	if err != nil {
		s.torn = n > 0 && lines[n-1] != '\n'
		return fmt.Errorf("write to standard output: %w", err)
	}
	return nil
}

func (s *stream) close() error { return nil }
