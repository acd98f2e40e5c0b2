package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/yamux"

	"sightline/pipeline"
)

const (
	recordRate  = 500 // control records of a stage that are read a second
	recordBurst = 1000
	logRate     = 50 // of which log records that are passed on
	logBurst    = 500
)

// BoxOptions say what a box is, and where what it sends goes. Functions and loggers that are nil are
// not called. Functions are called from the wire's goroutines, one after the other unless said
// otherwise, and must not wait for the wire.
type BoxOptions struct {
	Ticket Ticket
	// Configuration is what the stage is told; Stage, Links and Grants are filled in from here.
	Configuration Configuration
	Ends          Ends
	Grants        []Grant
	// Connect makes the connections of grants; nil means net.Dialer. Called from many goroutines.
	Connect func(ctx context.Context, network, address string) (net.Conn, error)
	Refused func(network, address string, err error) // a dial that is not granted; from many goroutines
	Beat    func(Heartbeat)
	Status  func(pipeline.Status)
	Stats   func([]pipeline.Sample) // a whole snapshot, which the function owns
	Exit    func(Exit)
	Log     *slog.Logger     // of the wire itself
	Stage   *slog.Logger     // where the stage's records go, at most 50 a second
	Silence time.Duration    // after which a stage that sends nothing is given up; 0 means SilenceLimit
	Now     func() time.Time // the host's clock; nil means time.Now
}

// Box is the supervisor's end of the wire of one box.
type Box struct {
	o    BoxOptions
	conn io.ReadWriteCloser
	peer Peer
	gate *gate

	giver   *giver // nil: files cannot be passed over conn
	wanting chan wanted
	handing chan handed

	session   atomic.Pointer[session]
	hasClock  atomic.Bool
	hasCtl    atomic.Bool
	opened    chan struct{} // closed when control is there
	writing   sync.Mutex
	control   *yamux.Stream
	logPace   pace
	logOmit   uint64
	watchdog  *time.Timer
	configure []byte
}

// Accept takes the hello of a stage over a stream that the box's driver made. It owns conn from then
// on, closes it after an error, and takes at most 15 s. Closing conn must end a Read and a Write that
// wait, as it does for every net.Conn.
func Accept(ctx context.Context, conn io.ReadWriteCloser, o BoxOptions) (*Box, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Silence <= 0 {
		o.Silence = SilenceLimit
	}
	b := &Box{o: o, conn: conn, wanting: make(chan wanted, maxStreams), handing: make(chan handed, maxStreams), opened: make(chan struct{}), logPace: pace{rate: logRate, burst: logBurst}}
	b.gate = newGate(o.Grants, o.Connect, o.Refused)
	c := o.Configuration
	c.Stage, c.Grants, c.Links = o.Ticket.Name, o.Grants, o.Ends.links()
	err := c.Links.check(o.Ticket.Kind, len(c.Grants))
	if err == nil {
		b.configure, err = encodeConfiguration(c)
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	err = within(ctx, conn, func() (err error) { b.peer, err = welcome(conn, o.Ticket); return err })
	if err != nil {
		return nil, fmt.Errorf("wire of stage %q: %w", o.Ticket.Name, err)
	}
	return b, nil
}

// Peer says what was agreed in the hello.
func (b *Box) Peer() Peer { return b.peer }

// Run serves the wire until it ends or ctx does, waits for all that works on it, and says why it
// ended: ErrEnded when the stage closed it. It is called once.
func (b *Box) Run(ctx context.Context) error {
	if unix, ok := b.conn.(*net.UnixConn); ok && len(b.o.Ends.Direct) > 0 {
		b.giver = &giver{UnixConn: unix}
		b.conn = b.giver
		defer b.part()
	}
	s, err := newSession(ctx, b.conn, false, b.o.Log)
	if err != nil {
		return err
	}
	b.session.Store(s)
	b.watchdog = time.AfterFunc(b.o.Silence, func() {
		s.fail(fmt.Errorf("no heartbeat for %s: %w", b.o.Silence, ErrSilent))
	})
	defer b.watchdog.Stop()
	s.start(&b.o.Ends, nil)
	s.work.Go(func() { s.accept(b.handle) })
	return fmt.Errorf("wire of stage %q: %w", b.o.Ticket.Name, s.wait())
}

// handle serves one stream that the stage opened.
func (b *Box) handle(stream *yamux.Stream, o opening) error {
	s := b.session.Load()
	switch o.kind {
	case streamControl:
		if !b.hasCtl.CompareAndSwap(false, true) {
			return fmt.Errorf("a second control stream: %w", ErrUnexpected)
		}
		return b.listen(stream)
	case streamClock:
		if !b.hasClock.CompareAndSwap(false, true) {
			return fmt.Errorf("a second clock stream: %w", ErrUnexpected)
		}
		answerClock(s.ctx, stream, b.o.Now) //nolint:errcheck // it ends with the stream
		return nil
	case streamFrames:
		return s.giveFrames(stream, o, b.o.Ends.FramesOut, nil)
	case streamResults:
		return s.takeResults(stream, o, b.o.Ends.ResultsIn, nil)
	case streamDial:
		if err := b.gate.serve(s.ctx, stream, o); err != nil {
			b.o.Log.Debug("connection of a stage ended", "stage", b.o.Ticket.Name, "err", err)
		}
		return nil
	}
	return fmt.Errorf("stream of type %d: %w", o.kind, ErrUnexpected)
}

// listen configures the stage and reads what it says until the stream ends.
func (b *Box) listen(stream *yamux.Stream) error {
	b.control = stream
	if err := b.tell(recConfigure, b.configure); err != nil {
		return fmt.Errorf("configure the stage: %w", err)
	}
	close(b.opened)
	s := b.session.Load()
	ctx := s.ctx
	if b.giver != nil {
		s.work.Go(func() { b.connect(ctx) })
	}
	slow := pace{rate: recordRate, burst: recordBurst}
	var room []byte
	for {
		t, body, err := readRecord(stream, room, stageLimit)
		if err != nil {
			if breach(err) {
				return fmt.Errorf("control: %w", err)
			}
			return fmt.Errorf("control: %w", ErrEnded)
		}
		room = body[:0]
		b.watchdog.Reset(b.o.Silence)
		if err := b.hear(t, body); err != nil {
			return fmt.Errorf("control: %w", err)
		}
		if err := slow.wait(ctx); err != nil {
			return nil //nolint:nilerr // the wire has ended and knows why
		}
	}
}

// hear takes one record of the stage.
func (b *Box) hear(t recordType, body []byte) error {
	switch t {
	case recBeat:
		h, err := decodeBeat(body)
		return pass(h, err, b.o.Beat)
	case recReport:
		st, err := decodeStatus(body)
		if err == nil && st.Stage != b.o.Ticket.Name {
			err = fmt.Errorf("status of stage %q: %w", st.Stage, ErrMalformed)
		}
		return pass(st, err, b.o.Status)
	case recStats:
		samples, err := decodeStats(body)
		return pass(samples, err, b.o.Stats)
	case recLog:
		l, err := decodeLog(body)
		return pass(l, err, b.passLog)
	case recWant:
		link, err := decodeLink(body)
		if err != nil {
			return err
		}
		return b.asked(link)
	}
	e, err := decodeExit(body)
	if err := pass(e, err, b.o.Exit); err != nil {
		return err
	}
	return b.tell(recBye, nil)
}

func pass[T any](v T, err error, to func(T)) error {
	if err == nil && to != nil {
		to(v)
	}
	return err
}

func (b *Box) passLog(l logBody) {
	if b.o.Stage == nil {
		return
	}
	if !b.logPace.allows(time.Now()) {
		b.logOmit += 1 + l.Omitted
		return
	}
	l.Omitted, b.logOmit = l.Omitted+b.logOmit, 0
	if h := b.o.Stage.Handler(); h.Enabled(context.Background(), slog.Level(l.Level)) {
		h.Handle(context.Background(), l.record()) //nolint:errcheck // as slog.Logger does
	}
}

func (b *Box) tell(t recordType, body []byte) error {
	b.writing.Lock()
	defer b.writing.Unlock()
	b.control.SetWriteDeadline(time.Now().Add(writeTimeout)) //nolint:errcheck // never fails
	return writeRecord(b.control, t, body)
}

// Stop asks the stage to finish what it took and to end within grace; Run returns when it has. Stop
// waits until it could be said, not for the end.
func (b *Box) Stop(ctx context.Context, grace time.Duration) error {
	select {
	case <-b.opened:
	case <-ctx.Done():
		return fmt.Errorf("stop stage %q: %w", b.o.Ticket.Name, ctx.Err())
	}
	body := fmt.Appendf(nil, `{"grace":%g}`, grace.Seconds())
	if err := b.tell(recStop, body); err != nil {
		return fmt.Errorf("stop stage %q: %w", b.o.Ticket.Name, err)
	}
	return nil
}

// Traffic returns what went over each grant so far, by its name.
func (b *Box) Traffic() map[string]Traffic { return b.gate.Traffic() }

// Bytes returns the bytes of the wire itself, from and to the box.
func (b *Box) Bytes() (received, sent uint64) {
	s := b.session.Load()
	if s == nil {
		return 0, 0
	}
	return s.guard.received.Load(), s.guard.sent.Load()
}
