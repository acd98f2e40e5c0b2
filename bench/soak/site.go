package soak

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"

	"sightline/bench"
	"sightline/sinks/broker"
	"sightline/sources/sim"
	"sightline/sources/sim/habits"
)

// What the cameras show: small and seldom, since it is not speed that is looked at.
var pictures = bench.Size{Width: 320, Height: 180}

const picturesPerSecond = 5

// site is all that is around the pipeline: cameras, an MQTT broker and a web server, each behind a gate.
type site struct {
	cameras []*eye
	broker  *brokerPlace
	hook    *hookPlace

	server  *sim.Server
	playing context.CancelFunc
	played  chan struct{}
}

// eye is one camera.
type eye struct {
	name string
	gate *gate
	real string // address of the ordinary camera
}

func newSite(ctx context.Context, cameras int) (*site, error) {
	recording, err := bench.Record(ctx, pictures, picturesPerSecond)
	if err != nil {
		return nil, err
	}
	s := &site{server: &sim.Server{NoUDP: true}, played: make(chan struct{}), playing: func() {}}
	loop := &sim.Loop{Server: s.server, Pictures: recording.Pictures, FPS: picturesPerSecond}
	for i := range cameras {
		loop.Paths = append(loop.Paths, fmt.Sprintf("camera%d", i+1))
	}
	if err := errors.Join(s.server.Start(), loop.Open()); err != nil {
		close(s.played)
		return nil, errors.Join(err, s.close())
	}
	loopCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.playing = cancel
	go func() {
		defer close(s.played)
		_ = loop.Run(loopCtx) // until cancelled
	}()
	if err := s.furnish(loop.Paths); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// furnish opens the gates.
func (s *site) furnish(cameras []string) (err error) {
	for _, name := range cameras {
		e := &eye{name: name, real: s.server.Address}
		if e.gate, err = newGate(e.real, nil); err != nil {
			return err
		}
		s.cameras = append(s.cameras, e)
	}
	if s.broker, err = newBrokerPlace(); err != nil {
		return err
	}
	s.hook, err = newHookPlace()
	return err
}

// blind takes all cameras away for good.
func (s *site) blind() {
	for _, e := range s.cameras {
		e.gate.be(gone)
	}
}

func (s *site) close() (err error) {
	for _, e := range s.cameras {
		e.gate.close()
	}
	if s.broker != nil {
		err = s.broker.close()
	}
	if s.hook != nil {
		s.hook.close()
	}
	s.playing()
	<-s.played
	s.server.Stop()
	return err
}

// play has the camera follow a habit until the returned function is called.
func (e *eye) play(h habits.Habit) (stop func(), err error) {
	other := &habits.Camera{Habit: h}
	if err := other.Start(); err != nil {
		return nil, err
	}
	e.gate.lead(other.Address())
	e.gate.cut()
	return func() {
		e.gate.lead(e.real)
		e.gate.cut()
		other.Stop()
	}, nil
}

// brokerPlace is an MQTT broker that can go and come back, on the same port.
type brokerPlace struct {
	gate *gate
	book *book

	mu     sync.Mutex
	broker *broker.Broker // nil: gone
}

func newBrokerPlace() (*brokerPlace, error) {
	p := &brokerPlace{book: newBook()}
	if err := p.start(); err != nil {
		return nil, err
	}
	taken := func(topic string, payload []byte) {
		if strings.HasSuffix(topic, "/result") || strings.HasSuffix(topic, "/events") {
			p.book.take(payload)
		}
	}
	var err error
	p.gate, err = newGate(p.address(), func(string) watcher { return newTap(taken) })
	if err != nil {
		return nil, errors.Join(err, p.stop())
	}
	return p, nil
}

func (p *brokerPlace) address() string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(p.broker.Port()))
}

func (p *brokerPlace) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broker != nil {
		return nil
	}
	b, err := broker.Start(broker.Options{})
	if err != nil {
		return err
	}
	p.broker = b
	if p.gate != nil {
		p.gate.lead(p.address())
	}
	return nil
}

func (p *brokerPlace) stop() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broker == nil {
		return nil
	}
	err := p.broker.Close()
	p.broker = nil
	return err
}

func (p *brokerPlace) close() error {
	p.gate.close()
	return p.stop()
}
