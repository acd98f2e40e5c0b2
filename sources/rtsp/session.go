package rtsp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"sightline/pipeline"
	"sightline/sources"
)

const (
	answerLimit    = 10 * time.Second // for the answer to one request
	handshakeLimit = 25 * time.Second // from dialling to playing
	udpPatience    = 3 * time.Second  // for the first packet over UDP
	closeLimit     = time.Second      // for saying goodbye
	maxDials       = 5                // the camera may redirect that often, less one
	userAgent      = "sightline"
)

// session is one connection to a camera, from dialling to its end.
type session struct {
	config  sources.RTSP
	limit   time.Duration // for the answer to one request
	env     pipeline.Env
	target  *target
	overUDP bool
	client  *gortsplib.Client
	ctx     context.Context // ends the dialling; set by open
	started time.Time
	units   *assembler
	quirks  quirks
	news    func(topic, what string) bool // tells whether something is worth a line in the log
	digest  bool                          // the camera has asked for a digest of the password, now or over a connection before
	// observed may be nil.
	observed *Observation

	packets   atomic.Uint64 // media packets received
	heard     atomic.Int64  // when the last one came, since started
	made      atomic.Int64  // when the last unit was delivered, since started
	fault     atomic.Pointer[error]
	delivered atomic.Bool // a unit was

	mu      sync.Mutex
	conn    net.Conn // the way to the camera, nil before dialling
	link    *udpLink // conn, when overUDP
	dials   int
	severed error // why the session was cut, once it was
}

func newSession(config sources.RTSP, env pipeline.Env, t *target, overUDP bool) *session {
	if config.Stall <= 0 {
		config.Stall = defaultStall
	}
	return &session{news: func(string, string) bool { return true }, config: config, limit: answerLimit, env: env, target: t, overUDP: overUDP, started: time.Now()}
}

// transport names the way of the media.
func (c *session) transport() string {
	switch {
	case c.overUDP:
		return TransportUDP
	case c.target.tls != nil:
		return TransportTLS
	}
	return TransportTCP
}

func (c *session) received() bool { return c.packets.Load() > 0 }

// run receives until the connection ends. No callback is under way once it has returned.
func (c *session) run(ctx context.Context, take func(*pipeline.Unit)) error {
	if err := c.open(ctx); err != nil {
		return err
	}
	defer c.close()
	if err := c.handshake(ctx, func() error { return c.play(take) }); err != nil {
		return err
	}
	return c.watch(ctx)
}

// tracks asks for the description only.
func (c *session) tracks(ctx context.Context) ([]Track, error) {
	if err := c.open(ctx); err != nil {
		return nil, err
	}
	defer c.close()
	var out []Track
	err := c.handshake(ctx, func() error {
		session, err := c.describe()
		if err != nil && len(c.quirks.offer.sections) == 0 {
			return err
		}
		chosen := ""
		if err == nil {
			if t, err := choose(session.Medias); err == nil {
				chosen = strconv.Itoa(int(t.format.PayloadType()))
			}
		}
		out = c.quirks.offer.tracks(chosen)
		return nil
	})
	return out, err
}

func (c *session) describe() (*description.Session, error) {
	session, err := persist(c, func() (*description.Session, error) {
		session, _, err := c.client.Describe(c.target.url)
		return session, err
	})
	if o := c.quirks.offer; len(o.sections) > 0 && len(o.video()) == 0 {
		return nil, pipeline.Permanentf("the camera offers no video at this address, but %s", o)
	}
	if err != nil {
		return nil, fmt.Errorf("describe: %w", err)
	}
	return session, nil
}

// open starts the client, which dials at its first request.
func (c *session) open(ctx context.Context) error {
	c.ctx = ctx
	tcp := gortsplib.TransportTCP // media over UDP looks so to the client: see udpLink
	c.client = &gortsplib.Client{
		Scheme: c.target.url.Scheme, Host: c.target.url.Host,
		Transport:    &tcp,
		ReadTimeout:  max(c.limit, 2*c.config.Stall), // silence is noticed by watch
		WriteTimeout: c.limit,
		UserAgent:    userAgent,
		DialContext:  c.dial,
		OnRequest:    c.onRequest, OnResponse: c.onResponse,
		OnPacketsLost:     func(n uint64) { c.units.lose(n); c.observed.lose(n) },
		OnDecodeError:     func(err error) { c.fault.Store(&err) },
		OnTransportSwitch: func(error) {},
	}
	if c.target.tls != nil {
		c.client.TLSConfig = c.target.tls.Clone()
	}
	return c.client.Start2()
}

// handshake runs steps, which end at once when ctx does or when they take too long.
func (c *session) handshake(ctx context.Context, steps func() error) error {
	limited, cancel := context.WithTimeoutCause(ctx, handshakeLimit,
		fmt.Errorf("the camera took longer than %v to begin", handshakeLimit))
	defer cancel()
	stop := context.AfterFunc(limited, func() { c.sever(context.Cause(limited)) })
	defer stop()
	return c.why(steps())
}

// play asks for the video track and starts it.
func (c *session) play(take func(*pipeline.Unit)) error {
	session, err := c.describe()
	if err != nil {
		return err
	}
	track, err := choose(session.Medias)
	if err != nil {
		return err
	}
	if err := c.assemble(track, take); err != nil {
		return err
	}
	c.observed.describe(c.quirks.offer, track, c.units.sets.has(sequenceSet))
	if err := c.setup(session, track); err != nil {
		return err
	}
	c.client.OnPacketRTP(track.media, track.format, c.onRTP)
	c.client.OnPacketRTCP(track.media, c.onRTCP)
	c.heard.Store(int64(time.Since(c.started)))
	c.made.Store(c.heard.Load())
	if _, err := persist(c, func() (*base.Response, error) { return c.client.Play(nil) }); err != nil {
		return c.blame(fmt.Errorf("play: %w", err))
	}
	if c.news("connected", c.transport()+string(track.codec)) {
		c.env.Log.Info("camera connected", "camera", c.target.name, "transport", c.transport(), "codec", string(track.codec))
	}
	return nil
}

func (c *session) setup(session *description.Session, t track) error {
	// The client takes an address that it cannot make for granted.
	if u, err := t.media.URL(session.BaseURL); err != nil || u == nil {
		return fmt.Errorf("setup: the camera names its track %.64q, which makes no address", t.media.Control)
	}
	if _, err := persist(c, func() (*base.Response, error) { return c.client.Setup(session.BaseURL, t.media, 0, 0) }); err != nil {
		return c.blame(fmt.Errorf("setup: %w", err))
	}
	return c.why(nil)
}

// blame lets UDP be the reason for an error, if it can be: cameras that do not want it say so in many
// ways, or just hang up.
func (c *session) blame(err error) error {
	var status liberrors.ErrClientBadStatusCode
	if !c.overUDP || errors.As(err, &status) && status.Code == base.StatusUnauthorized {
		return err
	}
	return &noUDPError{err}
}

func (c *session) assemble(t track, take func(*pipeline.Unit)) error {
	depacketize, look, sets, err := t.reader()
	if err == nil {
		err = sets.refused
	}
	if err != nil {
		return err
	}
	c.units = &assembler{
		codec: t.codec, depacketize: depacketize, look: look, sets: sets,
		take: func(u *pipeline.Unit) {
			c.made.Store(int64(time.Since(c.started)))
			c.delivered.Store(true)
			take(u)
		},
		onImplausible: func(captured, arrival time.Time) {
			if !c.news("clock", "") {
				return
			}
			c.env.Log.Warn("camera's clock is not used for capture times, it is too far off this machine's",
				"camera", c.target.name, "clock", captured.UTC().Format(time.RFC3339), "off", captured.Sub(arrival).Round(time.Second).String())
		},
	}
	return nil
}

func (c *session) onRTP(pkt *rtp.Packet) {
	now := time.Now()
	c.packets.Add(1)
	c.heard.Store(int64(now.Sub(c.started)))
	c.units.packet(pkt, now)
	if err := c.units.sets.refused; err != nil {
		c.sever(err)
		return
	}
	if err := c.units.fault; err != nil {
		c.units.fault = nil
		c.fault.Store(&err)
	}
}

func (c *session) onRTCP(pkt rtcp.Packet) {
	if sr, ok := pkt.(*rtcp.SenderReport); ok {
		c.units.clock.take(sr)
		c.observed.report(sr, c.units.clock.nanoseconds)
	}
}

// watch waits for the end of the connection, or makes it: when no packet comes, or none that makes a
// picture.
func (c *session) watch(ctx context.Context) error {
	ended := make(chan error, 1)
	go func() { ended <- c.client.Wait() }()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-ended:
			return c.why(err)
		case <-timer.C:
			wait, err := c.check()
			if err != nil {
				return err
			}
			timer.Reset(wait)
		}
	}
}

// check returns when to look again.
func (c *session) check() (time.Duration, error) {
	now, stall := time.Since(c.started), c.config.Stall
	silence := now - time.Duration(c.heard.Load())
	idle := now - time.Duration(c.made.Load())
	patience := min(udpPatience, stall)
	switch {
	case c.overUDP && !c.received() && silence >= patience:
		return 0, &noUDPError{fmt.Errorf("no packet for %v after the camera agreed to UDP", patience)}
	case silence >= stall:
		return 0, c.noPacket(stall)
	case idle >= 3*stall:
		return 0, c.noPicture(idle)
	case c.overUDP && !c.received():
		return patience - silence, nil
	}
	return min(stall-silence, 3*stall-idle), nil
}

// noPacket tells a camera that has stopped from one whose packets were of no use before that too.
func (c *session) noPacket(stall time.Duration) error {
	text := fmt.Errorf("no packet for %v: %w", stall, sources.ErrStalled)
	if c.delivered.Load() || !c.received() {
		return text
	}
	text = fmt.Errorf("%w, and no picture could be made of those before", text)
	if fault := c.fault.Load(); fault != nil {
		return fmt.Errorf("%w: %w", text, *fault)
	}
	return text
}

func (c *session) noPicture(idle time.Duration) error {
	text := fmt.Errorf("packets arrive, but no picture could be made of them for %v: %w", idle.Round(time.Second), sources.ErrStalled)
	if fault := c.fault.Load(); fault != nil {
		return fmt.Errorf("%w: %w", text, *fault)
	}
	return text
}

// close says goodbye to the camera and waits until no callback is under way.
func (c *session) close() {
	timer := time.AfterFunc(closeLimit, func() { c.sever(errors.New("the camera does not take leave")) })
	defer timer.Stop()
	c.client.Close()
	c.mu.Lock()
	conn := c.conn
	c.mu.Unlock()
	if conn != nil {
		conn.Close()
	}
}
