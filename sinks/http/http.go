// Package http posts messages to a web server, in batches: a webhook.
//
// A body is a JSON array, or with format ndjson a JSON object a line. The objects are results
// (sinks.ResultSchema), events (sinks.EventSchema; they have the member "event") and statuses
// (sinks.StatusSchema; they have the member "state"). Any answer 2xx says that the server has them all.
// What comes twice, after an answer that was lost, has the same ids, and a request that is sent again as
// it was has the same Idempotency-Key.
package http

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	nethttp "net/http"
	"time"

	"sightline/pipeline"
	"sightline/sinks"
)

// Defaults of sinks.HTTP for what is left zero.
const (
	defaultBatch   = 64
	defaultBytes   = 1 << 20
	defaultTimeout = 10 * time.Second
)

// linger is how long the rest of an answer may take, after its header. What it says does not matter.
const linger = time.Second

// Sink posts to one address. It may be opened again after Close.
type Sink struct {
	Config sinks.HTTP // as checked by the configuration; zero Batch, MaxBytes and Timeout: their defaults
	// Patience is the longest that a server's Retry-After is heeded; zero: 5 minutes.
	Patience time.Duration

	env    pipeline.Env
	server *server
	client *nethttp.Transport
	bodies bodies
	taken  map[string]bool // ids of a batch that the server has a part of only
	until  time.Time       // the server asked for no request before
}

var _ pipeline.Sink = (*Sink)(nil)

// Open checks the configuration. A configuration that cannot work is a permanent error. It does not
// connect: a server has nothing to say before there is something to post.
func (s *Sink) Open(_ context.Context, env pipeline.Env) error {
	if s.client != nil {
		return errors.New("http sink is open already")
	}
	if env.Network == nil {
		return pipeline.Permanentf("open http sink: %w: the stage has no network", pipeline.ErrNotGranted)
	}
	c := s.Config
	c.Batch = cmp.Or(c.Batch, defaultBatch)
	c.MaxBytes = cmp.Or(c.MaxBytes, defaultBytes)
	c.Timeout = cmp.Or(c.Timeout, defaultTimeout)
	up, err := newServer(c, env)
	if err != nil {
		return pipeline.Permanentf("open http sink: %w", err)
	}
	s.env, s.server, s.client = env, up, up.transport()
	s.bodies = bodies{device: env.Device, lines: c.Format == sinks.FormatNDJSON, most: c.Batch, bytes: int(c.MaxBytes), gzip: c.Gzip}
	s.until = time.Time{}
	env.Log.Info("posting", "server", up.name)
	return nil
}

// Deliver posts messages in their order, in as many requests as they need, and returns nil once the
// server has answered each with 2xx. It waits while the server wants to be left alone (Retry-After).
// An answer that refuses the messages themselves is a permanent error; everything else may be tried
// again, and then only what the server does not have yet is posted.
func (s *Sink) Deliver(ctx context.Context, messages []pipeline.Message) error {
	if s.client == nil {
		return errors.New("http sink is not open")
	}
	if err := s.bodies.fill(messages, s.taken); err != nil {
		return fmt.Errorf("post to %s: %w", s.server.name, err)
	}
	for b := range s.bodies.each() {
		if err := s.post(ctx, b); err != nil {
			return fmt.Errorf("post to %s: %w", s.server.name, err)
		}
		s.remember(b)
	}
	s.taken = nil
	return nil
}

// remember takes note of what the server has, in case that the rest fails.
func (s *Sink) remember(b body) {
	if s.taken == nil {
		s.taken = map[string]bool{}
	}
	for _, part := range b.parts {
		if part.id != "" {
			s.taken[part.id] = true
		}
	}
}

func (s *Sink) post(ctx context.Context, b body) error {
	if err := s.wait(ctx); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, s.server.config.Timeout)
	defer cancel()
	request, err := s.server.request(limited, b, s.bodies.encoding(), time.Now())
	if err != nil {
		return err
	}
	answer, err := s.client.RoundTrip(request)
	if err != nil {
		return explain(ctx, limited, err)
	}
	defer time.AfterFunc(linger, cancel).Stop()
	pause, err := judge(answer, time.Now())
	s.until = time.Now().Add(min(pause, cmp.Or(s.Patience, 5*time.Minute)))
	return err
}

// wait waits until the server may be asked again, for as long as a request may take.
func (s *Sink) wait(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	left := time.Until(s.until)
	if left <= 0 {
		return nil
	}
	timer := time.NewTimer(min(left, s.server.config.Timeout))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	if left = time.Until(s.until); left > 0 {
		return fmt.Errorf("the server asked for no request before %s from now", left.Round(time.Second))
	}
	return nil
}

// Close closes the connections. A sink that is not open is left as it is.
func (s *Sink) Close(context.Context) error {
	if s.client != nil {
		s.client.CloseIdleConnections()
	}
	s.client = nil
	return nil
}
