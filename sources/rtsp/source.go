// Package rtsp receives the pictures of cameras that speak RTSP (RFC 2326), over TCP, UDP or TLS, with
// the protocol of github.com/bluenviron/gortsplib. It is pure Go.
//
// What gortsplib does not do is done here: media over UDP on the stage's own network, with a bound on
// how long a missing packet is waited for (udp.go), access units out of what cameras really send
// (assemble.go, look.go), capture times out of sender reports (clock.go), and the mending of answers
// that some cameras give (quirks.go).
package rtsp

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"sightline/pipeline"
	"sightline/sources"
)

// The values of sources.RTSP.Transport.
const (
	TransportAuto = "auto" // UDP, then TCP when nothing comes that way
	TransportTCP  = "tcp"  // media interleaved in the connection
	TransportUDP  = "udp"
	TransportTLS  = "tls" // media interleaved in a TLS connection
)

// defaultStall is used when the configuration leaves it at zero.
const defaultStall = 5 * time.Second

// Source is one camera. Its methods are called from one goroutine at a time.
type Source struct {
	Config sources.RTSP
	// Observed is told what the connections are like, when it is set.
	Observed *Observation
	// tcpOnly is learnt: with transport auto nothing came over UDP, so the next connection
	// begins with TCP. It is unlearnt when TCP does not work either.
	tcpOnly bool
	// digest is learnt: the camera knows a way that does not show the password, so it is not shown.
	digest bool

	mu sync.Mutex
	// told is what the log was told of each topic, so that a camera that comes and goes does not fill it.
	told map[string]string
}

// news tells whether a topic is new, or what there is to say of it has changed.
func (s *Source) news(topic, what string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, known := s.told[topic]
	if known && before == what {
		return false
	}
	if s.told == nil {
		s.told = map[string]string{}
	}
	s.told[topic] = what
	return true
}

var _ pipeline.Source = (*Source)(nil)

// Receive implements pipeline.Source. Errors say what the operator can do; those that trying again
// will not mend (a wrong password, an untrusted certificate, a codec that is not read, an address that
// is not granted) are marked by pipeline.Permanent.
//
// A Unit's Captured is the camera's own time of the picture as soon as a sender report came
// (RFC 3550 §6.4.1), unless it is more than an hour off the host's clock; else the arrival of the
// picture's first packet. Lost counts packets that are missing or could not be used.
func (s *Source) Receive(ctx context.Context, env pipeline.Env, take func(*pipeline.Unit)) error {
	target, err := aim(&s.Config, env.File)
	if err != nil {
		return err
	}
	if !s.tryUDP(target) {
		return s.receive(ctx, env, target, false, nil, take)
	}
	err = s.receive(ctx, env, target, true, nil, take)
	var silent *noUDPError
	if s.Config.Transport == TransportUDP || !errors.As(err, &silent) {
		return err
	}
	if s.news("udp", "") {
		env.Log.Info("camera sends no media over UDP, trying TCP", "camera", target.name, "why", s.Config.Hide(silent.Error()))
	}
	s.tcpOnly = true
	return s.receive(ctx, env, target, false, silent, take)
}

func (s *Source) tryUDP(t *target) bool {
	switch s.Config.Transport {
	case TransportUDP:
		return true
	case TransportTCP, TransportTLS:
		return false
	}
	return t.tls == nil && !s.tcpOnly
}

// receive makes one connection and stays until it ends; why is the reason not to use UDP again.
func (s *Source) receive(ctx context.Context, env pipeline.Env, t *target, overUDP bool, why error, take func(*pipeline.Unit)) error {
	c := newSession(s.Config, env, t, overUDP)
	c.observed = s.Observed
	c.observed.begin(c, why)
	c.digest, c.news = s.digest, s.news
	err := c.run(ctx, take)
	s.digest = c.digest
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if !overUDP && !c.received() {
		s.tcpOnly = false
	}
	return fmt.Errorf("receive from %s over %s: %w", t.name, c.transport(), c.explain(err))
}

// Track is one of the tracks that a camera offers.
type Track struct {
	Media  string         // "video", "audio", "application"
	Format string         // the camera's name for the codec, such as "H264"
	Codec  pipeline.Codec // set when Sightline can read it
	Chosen bool           // it is the one that Receive takes
}

// Describe asks the camera what it offers, without receiving anything.
func (s *Source) Describe(ctx context.Context, env pipeline.Env) ([]Track, error) {
	t, err := aim(&s.Config, env.File)
	if err != nil {
		return nil, err
	}
	c := newSession(s.Config, env, t, false)
	tracks, err := c.tracks(ctx)
	if err != nil {
		return nil, fmt.Errorf("describe %s: %w", t.name, c.explain(err))
	}
	return tracks, nil
}
