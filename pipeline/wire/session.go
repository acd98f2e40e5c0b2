package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/yamux"
)

// session is one wire after its hello: the multiplexer, and the goroutines that work on its streams.
type session struct {
	ctx   context.Context // ends with the wire; its cause says why
	end   context.CancelCauseFunc
	mux   *yamux.Session
	guard *guard
	log   *slog.Logger
	work  sync.WaitGroup

	taker    *taker               // what files come by, of a stage; nil where none can
	straight map[string]*straight // direct links, of a stage
}

// newSession begins to multiplex. The stage's side is the client: its streams have odd numbers.
func newSession(ctx context.Context, conn io.ReadWriteCloser, stage bool, log *slog.Logger) (*session, error) {
	s := &session{log: log}
	if unix, ok := conn.(*net.UnixConn); ok && stage {
		s.taker = newTaker(unix)
		conn = s.taker
	}
	s.guard = newGuard(conn)
	s.ctx, s.end = context.WithCancelCause(ctx)
	s.guard.failed = s.end
	if !stage {
		s.guard.parity = 1
	}
	begin := yamux.Server
	if stage {
		begin = yamux.Client
	}
	var err error
	if s.mux, err = begin(s.guard, muxConfig(log)); err != nil {
		s.end(err)
		return nil, errors.Join(fmt.Errorf("begin to multiplex: %w", err), conn.Close())
	}
	s.work.Go(s.watch)
	return s, nil
}

// muxConfig tunes the multiplexer. The window is the least that it allows, so that all streams
// together hold at most maxStreams times it; at the 80 µs of a guest's round trip it lets 3 GB/s by.
func muxConfig(log *slog.Logger) *yamux.Config {
	return &yamux.Config{
		AcceptBacklog:          maxStreams,
		EnableKeepAlive:        true,
		KeepAliveInterval:      pingEvery,
		ConnectionWriteTimeout: writeTimeout,
		MaxStreamWindowSize:    muxWindow,
		StreamOpenTimeout:      openingTimeout,
		StreamCloseTimeout:     closeTimeout,
		Logger:                 &muxLog{log: log},
	}
}

// watch ends the session with the multiplexer, and the multiplexer with the session.
func (s *session) watch() {
	select {
	case <-s.mux.CloseChan():
		s.end(fmt.Errorf("the other side closed the stream: %w", ErrEnded))
	case <-s.ctx.Done():
	}
	s.mux.Close()
}

// fail ends the session because of err; the first reason counts.
func (s *session) fail(err error) { s.end(ended(err)) }

// ended names the end of a wire what it is, however it came to light.
func ended(err error) error {
	for _, e := range []error{yamux.ErrSessionShutdown, yamux.ErrStreamClosed, yamux.ErrConnectionReset, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed} {
		if errors.Is(err, e) {
			return fmt.Errorf("%w (%w)", ErrEnded, err)
		}
	}
	return err
}

// wait waits until the session has ended and all its goroutines with it, and says why it ended.
func (s *session) wait() error {
	<-s.ctx.Done()
	s.work.Wait()
	return context.Cause(s.ctx)
}

// open opens a stream.
func (s *session) open(o opening) (*yamux.Stream, error) {
	head, err := encodeOpening(o)
	if err != nil {
		return nil, err
	}
	stream, err := s.mux.OpenStream()
	if err != nil {
		return nil, s.lost("open a stream", err)
	}
	if _, err := stream.Write(head); err != nil {
		stream.Close()
		return nil, s.lost("open a stream", err)
	}
	return stream, nil
}

// lost makes an error of the multiplexer one that says why the wire ended, if it did. A write that
// did not get through in time leaves the stream torn, so it ends the wire.
func (s *session) lost(doing string, err error) error {
	if errors.Is(err, yamux.ErrConnectionWriteTimeout) {
		s.fail(fmt.Errorf("%s: nothing can be written for %s: %w", doing, writeTimeout, ErrSilent))
	}
	if s.ctx.Err() != nil {
		return fmt.Errorf("%s: %w", doing, context.Cause(s.ctx))
	}
	return fmt.Errorf("%s: %w", doing, ended(err))
}

// accept hands every stream that the other side opens to handle, in a goroutine of its own, and
// closes the stream after it. handle may be called until the session has ended; an error of it is a
// breach of the protocol and ends the session.
func (s *session) accept(handle func(*yamux.Stream, opening) error) {
	for {
		stream, err := s.mux.AcceptStream()
		if err != nil {
			return
		}
		if s.mux.NumStreams() > maxStreams {
			s.fail(fmt.Errorf("more than %d streams at once: %w", maxStreams, ErrFlood))
			return
		}
		s.work.Go(func() {
			defer stream.Close()
			if err := s.greetStream(stream, handle); err != nil {
				s.fail(err)
			}
		})
	}
}

func (s *session) greetStream(stream *yamux.Stream, handle func(*yamux.Stream, opening) error) error {
	stream.SetReadDeadline(time.Now().Add(openingTimeout)) //nolint:errcheck // never fails
	kind, body, err := readRecord(stream, nil, openingLimit)
	if err != nil {
		if errors.Is(err, ErrUnexpected) || errors.Is(err, ErrTooLarge) {
			return fmt.Errorf("read an opening: %w", err)
		}
		return nil // the stream was given up before it began
	}
	stream.SetReadDeadline(time.Time{}) //nolint:errcheck // never fails
	o, err := decodeOpening(kind, body)
	if err != nil {
		return fmt.Errorf("read an opening: %w", err)
	}
	return handle(stream, o)
}

// muxLog passes on what the multiplexer complains of, at most once a second: the other side can
// bring it to complain as often as it likes.
type muxLog struct {
	log     *slog.Logger
	mu      sync.Mutex
	last    time.Time
	omitted int
}

func (l *muxLog) allow() (omitted int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.last) < time.Second {
		l.omitted++
		return 0, false
	}
	omitted, l.omitted, l.last = l.omitted, 0, time.Now()
	return omitted, true
}

// Print implements yamux.Logger.
func (l *muxLog) Print(v ...any) { l.Printf("%s", fmt.Sprint(v...)) }

// Println implements yamux.Logger.
func (l *muxLog) Println(v ...any) { l.Printf("%s", fmt.Sprint(v...)) }

// Printf implements yamux.Logger.
func (l *muxLog) Printf(format string, v ...any) {
	if omitted, ok := l.allow(); ok {
		l.log.Debug("multiplexer: "+clip(fmt.Sprintf(format, v...), maxText), "omitted", omitted)
	}
}

var _ yamux.Logger = (*muxLog)(nil)
