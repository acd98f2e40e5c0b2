package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	"sightline/pipeline"
)

// credit is the byte by which a consumer allows one more frame.
const credit byte = 'C'

// FrameOutput is the producer's end of a frames link: frames put into its Link go to whoever opens
// it from the other side of a wire. It outlives the wire; while none has it open, its Link wishes
// for nothing.
//
// Of each region it holds the newest frame alone until the consumer grants a credit, so that what is
// sent is what was newest then.
type FrameOutput struct {
	inbox *pipeline.Inbox
	link  *pipeline.FrameLink
	drops pipeline.Drops

	turn chan struct{} // holds a token while nobody has it open
}

// NewFrameOutput returns the output of a source to a consumer. What is dropped on the way is counted
// in stats for both.
func NewFrameOutput(source, consumer string, stats *pipeline.Stats) *FrameOutput {
	inbox := pipeline.NewInbox(consumer, stats)
	o := &FrameOutput{inbox: inbox, link: inbox.Link(source), drops: stats.Drops(consumer, source), turn: make(chan struct{}, 1)}
	o.turn <- struct{}{}
	return o
}

// Link is where the producer puts frames, and reads what is wished for.
func (o *FrameOutput) Link() *pipeline.FrameLink { return o.link }

// Send serves one opening, once the one before has ended: it opens the link with the wish, sends the
// newest frame for every credit read from conn, and shuts the link when conn or ctx ends. conn is a
// stream of a wire, or a connection of its own between two boxes under one kernel. Times are converted
// by clock. It closes conn, and returns nil when the consumer closed it.
func (o *FrameOutput) Send(ctx context.Context, conn net.Conn, w pipeline.Wish, clock *Clock) error {
	defer conn.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := frameSender{output: o, conn: conn, wish: &w, clock: clock, credits: make(chan struct{}, maxCredits)}
	reading := make(chan error, 1)
	go func() {
		reading <- s.readCredits()
		cancel()
		conn.SetWriteDeadline(time.Unix(1, 0)) //nolint:errcheck // wakes the writer; nothing to do if it is gone
	}()
	err := o.whenFree(ctx, func() error {
		o.link.Open(w)
		defer o.link.Shut()
		return s.loop(ctx)
	})
	conn.Close()
	conn.SetReadDeadline(time.Unix(1, 0)) //nolint:errcheck // wakes the reader
	if read := <-reading; read != nil {
		return read
	}
	return err
}

// whenFree does something once nobody else has the output open, unless ctx ends before.
func (o *FrameOutput) whenFree(ctx context.Context, do func() error) error {
	select {
	case <-o.turn:
	case <-ctx.Done():
		return nil
	}
	defer func() { o.turn <- struct{}{} }()
	return do()
}

type frameSender struct {
	output  *FrameOutput
	conn    net.Conn
	wish    *pipeline.Wish
	clock   *Clock
	credits chan struct{}

	room   [1]*pipeline.Frame
	head   []byte
	pieces [2][]byte
	vector net.Buffers
}

// readCredits counts the consumer's credits until the stream ends; nil means that it simply ended.
func (s *frameSender) readCredits() error {
	var b [1]byte
	for {
		if _, err := s.conn.Read(b[:]); err != nil {
			return nil //nolint:nilerr // however it ended, there are no more credits
		}
		if b[0] != credit {
			return fmt.Errorf("credit %#x: %w", b[0], ErrMalformed)
		}
		select {
		case s.credits <- struct{}{}:
		default:
			return fmt.Errorf("more than %d credits: %w", maxCredits, ErrFlood)
		}
	}
}

func (s *frameSender) loop(ctx context.Context) error {
	for {
		select {
		case <-s.credits:
		case <-ctx.Done():
			return nil
		}
		err := s.next(ctx)
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // the link was closed
		case err != nil:
			return err
		}
	}
}

// next sends the newest frame, and waits for one if there is none.
func (s *frameSender) next(ctx context.Context) error {
	for {
		frames, err := s.output.inbox.Take(ctx, nil, 1, 0, s.room[:0])
		if err != nil {
			return err
		}
		f := frames[0]
		if f.Width != s.wish.Width || f.Height != s.wish.Height || f.Color != s.wish.Color {
			s.output.drops.Add(pipeline.DropNoConsumer, 1) // made for the consumer before this one
			f.Release()
			continue
		}
		err = s.write(f)
		f.Release()
		return err
	}
}

func (s *frameSender) write(f *pipeline.Frame) (err error) {
	if s.head, err = appendFrameHead(s.head[:0], f, s.clock); err != nil {
		return err
	}
	s.pieces = [2][]byte{s.head, f.Data}
	s.vector = s.pieces[:]
	if _, err := s.vector.WriteTo(s.conn); err != nil {
		return fmt.Errorf("send a frame: %w", err)
	}
	return nil
}

// ReceiveFrames reads the frames that were asked for by w from conn and puts them into link, until
// conn or ctx ends; it returns nil when the producer closed it between frames. Anything but what was
// wished for is an error. A credit is granted when a frame has been put, so at most one frame is on
// its way, and the newest waits in the link's inbox. A frame without a deadline comes from a producer
// that waits for its consumer: after it the credit is granted when it was taken.
func ReceiveFrames(ctx context.Context, conn net.Conn, link *pipeline.FrameLink, w pipeline.Wish, clock *Clock) error {
	stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) }) //nolint:errcheck // wakes the reader
	defer stop()
	if len(w.Regions) == 0 {
		w.Regions = []pipeline.Region{pipeline.Whole}
	}
	r := frameReceiver{conn: conn, wish: &w, clock: clock}
	grant := []byte{credit}
	for {
		if _, err := conn.Write(grant); err != nil {
			return fmt.Errorf("grant a frame: %w", err)
		}
		f, err := r.read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("receive a frame: %w", err)
		}
		waits, region := f.Deadline.IsZero(), f.Region
		link.Succeed(f)
		link.Put(f)
		for waits && !link.Free(region) && link.Wish() != nil {
			select {
			case <-link.Changed():
			case <-ctx.Done():
				return nil
			}
		}
	}
}

type frameReceiver struct {
	conn   net.Conn
	wish   *pipeline.Wish
	clock  *Clock
	pool   pipeline.FramePool
	head   [frameHead + 2*maxSource]byte
	source string // of the frame before, as most often it is the same
}

func (r *frameReceiver) read() (*pipeline.Frame, error) {
	if _, err := io.ReadFull(r.conn, r.head[:1]); err != nil {
		return nil, err
	}
	return r.finish()
}

// finish reads the rest of a frame whose first byte is there.
func (r *frameReceiver) finish() (*pipeline.Frame, error) {
	if _, err := io.ReadFull(r.conn, r.head[1:frameHead]); err != nil {
		return nil, cut(err)
	}
	h, err := decodeFrameHead(r.head[:frameHead], r.wish, r.clock)
	if err != nil {
		return nil, err
	}
	names := r.head[frameHead : frameHead+h.sourceLength+h.regionLength]
	if _, err := io.ReadFull(r.conn, names); err != nil {
		return nil, cut(err)
	}
	region, err := r.names(names[:h.sourceLength], names[h.sourceLength:])
	if err != nil {
		return nil, err
	}
	f := r.pool.New(h.width, h.height)
	if _, err := io.ReadFull(r.conn, f.Data); err != nil {
		f.Release()
		return nil, cut(err)
	}
	f.Source, f.Region, f.Sequence, f.Dropped = r.source, region, h.sequence, h.dropped
	f.Color, f.Times, f.Deadline = h.color, h.times, h.deadline
	return f, nil
}

// names takes note of the source, and finds the region among those wished for.
func (r *frameReceiver) names(source, region []byte) (string, error) {
	if string(source) != r.source {
		if err := checkText("source of a frame", string(source), maxName); err != nil {
			return "", err
		}
		r.source = string(source)
	}
	i := slices.IndexFunc(r.wish.Regions, func(w pipeline.Region) bool { return w.Name == string(region) })
	if i < 0 {
		return "", fmt.Errorf("frame of region %q, which was not wished for: %w", clip(string(region), maxName), ErrMalformed)
	}
	return r.wish.Regions[i].Name, nil
}
