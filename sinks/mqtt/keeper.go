package mqtt

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"sightline/pipeline"
)

const (
	// steady is how long a connection must last to make the failures before it forgotten.
	steady = 10 * time.Second
	// goodbye is how long the client library may take to send DISCONNECT.
	goodbye = 250 * time.Millisecond
)

// keeper keeps a sink connected: it connects, publishes what is retained, and connects again when the
// connection ends.
type keeper struct {
	sink    *Sink
	cancel  context.CancelFunc // ends everything at once
	closing chan struct{}      // closed to say goodbye
	end     context.Context    // how long that may take; set before closing closes
	left    error              // why the goodbye did not reach the broker
	done    chan struct{}      // closed when the keeper is done
	writers sync.WaitGroup

	mu      sync.Mutex
	link    *session       // nil while there is no connection
	changed chan struct{}  // closed at the next change
	why     string         // why there is none
	state   pipeline.State // as last reported
	said    string         // reason last reported
	since   time.Time      // when state was entered
}

func newKeeper(s *Sink) *keeper {
	return &keeper{
		sink: s, closing: make(chan struct{}), done: make(chan struct{}),
		changed: make(chan struct{}), why: "still connecting",
	}
}

func (k *keeper) start() {
	ctx, cancel := context.WithCancel(context.Background())
	k.cancel = cancel
	k.report(pipeline.StateStarting, "")
	go func() {
		defer close(k.done)
		k.run(ctx)
	}()
}

// look returns the connection, or nil with a channel that closes at the next change and the reason.
func (k *keeper) look() (*session, <-chan struct{}, string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.link != nil && k.link.isLost() {
		return nil, k.changed, explain(k.link.cause)
	}
	return k.link, k.changed, k.why
}

func (k *keeper) set(link *session, why string) {
	k.mu.Lock()
	k.link, k.why = link, why
	close(k.changed)
	k.changed = make(chan struct{})
	k.mu.Unlock()
}

// run connects again and again until it is told to end.
func (k *keeper) run(ctx context.Context) {
	for attempt := 1; ; attempt++ {
		back := pipeline.Back(k.sink.env.Network)
		link, err := k.connect(ctx)
		if err == nil {
			began := time.Now()
			if err = k.use(ctx, link); err == nil {
				return
			}
			if time.Since(began) >= steady {
				attempt = 1
			}
		}
		if ctx.Err() != nil || k.isClosing() {
			return
		}
		k.set(nil, explain(err))
		k.report(pipeline.StateOffline, explain(err))
		if !k.sleep(ctx, k.backoff(err).Wait(attempt), back) {
			return
		}
		if isClosed(back) {
			attempt = 0
		}
	}
}

func (k *keeper) isClosing() bool { return isClosed(k.closing) }

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// backoff is the schedule of retries after err.
func (k *keeper) backoff(err error) pipeline.Backoff {
	b, standard := k.sink.Retry, pipeline.Backoff{Least: 250 * time.Millisecond, Most: 30 * time.Second}
	if refused(err) {
		b, standard = k.sink.RetryRefused, pipeline.Backoff{Least: 5 * time.Second, Most: time.Minute}
	}
	if b == (pipeline.Backoff{}) {
		return standard
	}
	return b
}

// sleep waits, no longer than until the network is back, and tells whether to go on.
func (k *keeper) sleep(ctx context.Context, d time.Duration, back <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-back:
		return true
	case <-k.closing:
		return false
	case <-ctx.Done():
		return false
	}
}

// connect makes a connection; closing ends the attempt.
func (k *keeper) connect(ctx context.Context) (*session, error) {
	s := k.sink
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	finished := make(chan struct{})
	defer close(finished)
	go func() {
		select {
		case <-k.closing:
			cancel()
		case <-finished:
		}
	}()
	o, err := s.up.options(s.clientID, s.memory.topics.available())
	if err != nil {
		return nil, err
	}
	var listening *ears
	if s.discovery != nil {
		listening = newEars(s.discovery)
	}
	link, err := connect(ctx, o, s.up.config.Timeout, func(ctx context.Context) (*guard, error) {
		g, err := s.up.dial(ctx, s.env.Network)
		if err == nil && listening != nil {
			g.check.hear = listening.hear
		}
		return g, err
	})
	if err == nil {
		link.ears = listening
	}
	return link, err
}

// use serves a connection until it ends and returns why; nil: the goodbye is said.
func (k *keeper) use(ctx context.Context, link *session) error {
	k.writers.Go(link.write)
	if err := k.announce(ctx, link); err != nil {
		link.conn.fail(err)
		return fmt.Errorf("publish what is retained: %w", err)
	}
	k.report(pipeline.StateOnline, "")
	var signal chan struct{}
	if link.ears != nil {
		signal = link.ears.signal
		k.writers.Go(func() { k.listen(link) })
	}
	for {
		select {
		case <-link.lost:
			link.conn.fail(link.cause) // if it was not the network, close it
			return link.cause
		case <-k.closing:
			k.left = k.leave(link)
			return nil
		case <-ctx.Done():
			link.conn.fail(ctx.Err())
			return ctx.Err()
		case <-signal:
			if err := k.answer(ctx, link); err != nil {
				link.conn.fail(err)
				return fmt.Errorf("publish for Home Assistant: %w", err)
			}
		}
	}
}

// announce publishes all that is retained, and only then opens the connection to Deliver, so that
// nothing old comes after something new.
func (k *keeper) announce(ctx context.Context, link *session) error {
	s := k.sink
	if err := s.take(ctx); err != nil {
		return err
	}
	defer s.release()
	if err := k.announceAll(ctx, link); err != nil {
		return err
	}
	k.set(link, "")
	return nil
}

// announceAll publishes all that is retained. The caller has the turn.
func (k *keeper) announceAll(ctx context.Context, link *session) error {
	s := k.sink
	all := s.newBatch()
	if err := all.announce(s.memory, s.discovery); err != nil {
		return err
	}
	return link.publish(ctx, all.packets, s.up.config.Timeout)
}

// leave publishes that the device stopped, and disconnects. With QoS 1, whatever that of the others
// is: the acknowledgement says that the broker has taken everything before it, too.
func (k *keeper) leave(link *session) error {
	k.set(nil, "closing")
	last := []packet{{topic: k.sink.memory.topics.available(), payload: []byte(stopped), qos: 1, retained: true}}
	if err := link.publish(k.end, last, k.sink.up.config.Timeout); err != nil {
		return errors.New(explain(err))
	}
	link.client.Disconnect(uint(goodbye.Milliseconds()))
	link.conn.fail(errNotOpen)
	return nil
}

// close ends the keeper gently until ctx ends, then at once.
func (k *keeper) close(ctx context.Context) error {
	k.end = ctx
	close(k.closing)
	select {
	case <-k.done:
	case <-ctx.Done():
	}
	k.cancel()
	<-k.done
	ended := make(chan struct{})
	go func() {
		k.writers.Wait()
		close(ended)
	}()
	timer := time.NewTimer(goodbye)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C: // one that a broken connection left within the client library ends at the write timeout
	}
	return k.left
}

// report tells and logs what changed; the same thing is said once.
func (k *keeper) report(state pipeline.State, why string) {
	env, address := k.sink.env, k.sink.up.address
	k.mu.Lock()
	same := k.state == state && k.said == why
	if k.state != state {
		k.state, k.since = state, time.Now()
	}
	k.said = why
	since := k.since
	k.mu.Unlock()
	if same {
		return
	}
	env.Report(pipeline.Status{Stage: env.Stage, State: state, Reason: why, Since: since, Detail: "mqtt " + address})
	switch state {
	case pipeline.StateOnline:
		env.Log.Info("connected to the broker", "address", address)
	case pipeline.StateOffline:
		env.Log.Warn("not connected to the broker, trying again", "address", address, "reason", why)
	}
}
