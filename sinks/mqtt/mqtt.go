// Package mqtt publishes results, states and statuses to an MQTT 3.1.1 broker.
//
// Below <prefix>/<device>, with QoS 0 or 1:
//
//   - available, retained: online while connected, offline by last will when the connection breaks,
//     stopped after a clean stop. For Home Assistant: value_template
//     "{{ 'online' if value == 'online' else 'offline' }}".
//   - events: every message of every event (sinks.EventSchema).
//   - <source>/status, retained: the newest status (sinks.StatusSchema) of the source; of a stage that
//     is no source, below the stage's name.
//   - <source>/<stage>/result: every result (sinks.ResultSchema).
//   - <source>/<stage>/state, retained: what the model sees (sinks.StateSchema), whenever its class
//     changes.
//
// With regions, the region is one more level before result and state. After every connection made,
// all that is retained is published again, so a broker that forgot, knows again.
//
// With discovery, Home Assistant is told of the device, its cameras and what its models see, in retained
// messages of its own form. They are published again when it says that it has come up; those of an
// earlier configuration that are no longer wanted are removed.
package mqtt

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"sightline/pipeline"
	"sightline/sinks"
)

// Defaults of sinks.MQTT for what is left zero.
const (
	defaultPrefix    = "sightline"
	defaultKeepAlive = 30 * time.Second
	defaultTimeout   = 10 * time.Second
)

// Sink publishes to one broker. It may be opened again after Close.
type Sink struct {
	Config sinks.MQTT // as checked by the configuration; zero KeepAlive, Timeout and Prefix: their defaults
	// Retry is the wait between attempts to connect; zero: 250 ms to 30 s.
	Retry pipeline.Backoff
	// RetryRefused is the same while the broker refuses the credentials; zero: 5 s to 1 min.
	RetryRefused pipeline.Backoff

	env      pipeline.Env
	up       *upstream
	clientID string
	batch    *batch
	keeper   *keeper
	// turn is held by whoever publishes; it guards memory. A channel, so that waiting can end.
	turn      chan struct{}
	memory    *memory
	discovery *discovery // nil: none; not changed while open
}

var _ pipeline.Sink = (*Sink)(nil)

var (
	errNotOpen   = errors.New("mqtt sink is not open")
	errConnected = errors.New("mqtt sink is open already")
)

// Open checks the configuration and begins to connect. A configuration that cannot work is a
// permanent error; a broker that is not there is none.
func (s *Sink) Open(_ context.Context, env pipeline.Env) error {
	if s.keeper != nil {
		return errConnected
	}
	if env.Network == nil {
		return pipeline.Permanentf("open mqtt sink: %w: the stage has no network", pipeline.ErrNotGranted)
	}
	if err := s.prepare(env); err != nil {
		return pipeline.Permanentf("open mqtt sink: %w", err)
	}
	s.batch, s.turn = s.newBatch(), make(chan struct{}, 1)
	s.keeper = newKeeper(s)
	s.keeper.start()
	return nil
}

func (s *Sink) prepare(env pipeline.Env) error {
	c := s.Config
	c.Prefix = cmp.Or(c.Prefix, defaultPrefix)
	c.KeepAlive = cmp.Or(c.KeepAlive, defaultKeepAlive)
	c.Timeout = cmp.Or(c.Timeout, defaultTimeout)
	up, err := newUpstream(c, env.File)
	if err != nil {
		return err
	}
	if _, err := up.tls(); err != nil {
		return err
	}
	if _, err := up.password(); err != nil {
		return err
	}
	t, err := newTopics(c.Prefix, env.Device)
	if err != nil {
		return err
	}
	found, err := newDiscovery(c.Discovery, t, env.Device, c.QoS)
	if err != nil {
		return err
	}
	s.env, s.up, s.discovery = env, up, found
	s.clientID = cmp.Or(c.ClientID, strings.Join([]string{c.Prefix, env.Device, env.Stage}, "-"))
	if s.memory == nil || s.memory.topics != t || s.memory.device != env.Device {
		s.memory = newMemory(env.Device, t)
	}
	return nil
}

// Deliver publishes messages in their order and returns nil once the broker has acknowledged all of
// them, with QoS 0 once they are written. While there is no connection it waits for one. Any error
// but a permanent one (a message that has no form or no topic) may be tried again; then what had
// come through comes twice, with the same ids.
func (s *Sink) Deliver(ctx context.Context, messages []pipeline.Message) error {
	if s.keeper == nil {
		return errNotOpen
	}
	if len(messages) == 0 {
		return nil
	}
	link, err := s.await(ctx)
	if err != nil {
		return fmt.Errorf("publish to %s: %w", s.up.address, err)
	}
	defer s.release()
	if err := s.batch.build(s.memory, messages); err != nil {
		return fmt.Errorf("publish to %s: %w", s.up.address, err)
	}
	err = link.publish(ctx, s.batch.packets, s.up.config.Timeout)
	s.memory.settle(err == nil)
	if err != nil {
		s.batch = s.newBatch() // the client library may still read the other
		return fmt.Errorf("publish to %s: %w", s.up.address, err)
	}
	return nil
}

func (s *Sink) newBatch() *batch { return &batch{qos: byte(s.up.config.QoS)} }

// await returns a connection, with the turn taken.
func (s *Sink) await(ctx context.Context) (*session, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var timeout <-chan time.Time
	for {
		link, changed, why := s.keeper.look()
		if link != nil {
			if err := s.take(ctx); err != nil {
				return nil, err
			}
			if again, _, _ := s.keeper.look(); again == link {
				return link, nil
			}
			s.release()
			continue
		}
		if timeout == nil {
			timer := time.NewTimer(s.up.config.Timeout)
			defer timer.Stop()
			timeout = timer.C
		}
		select {
		case <-changed:
		case <-timeout:
			return nil, fmt.Errorf("not connected: %s", why)
		case <-ctx.Done():
			return nil, fmt.Errorf("not connected: %s: %w", why, ctx.Err())
		}
	}
}

func (s *Sink) take(ctx context.Context) error {
	select {
	case s.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Sink) release() { <-s.turn }

// Close publishes that the device stopped, says goodbye and waits for the sink's goroutines; only one
// that was publishing when an earlier connection broke may last for up to Timeout longer. When ctx
// ends before, the connection is broken instead and the broker publishes the last will.
func (s *Sink) Close(ctx context.Context) error {
	if s.keeper == nil {
		return nil
	}
	err := s.keeper.close(ctx)
	s.keeper = nil
	if err != nil {
		return fmt.Errorf("say goodbye to %s: %w", s.up.address, err)
	}
	return nil
}
