package soak

import (
	"net"
	"sync"
	"time"
)

// mood is what a gate does to those who come through.
type mood string

// The moods of a gate.
const (
	open    mood = "open"
	gone    mood = "gone"    // connections are cut, new ones end at once
	stalled mood = "stalled" // connections stay, and nothing goes through
	slow    mood = "slow"    // little by little
)

const (
	sip      = 512                   // bytes at once through a slow gate
	sipEvery = 20 * time.Millisecond // a slow gate lets 25 kB a second through
)

// watcher looks at what goes through one connection, which calls each method from one goroutine at a time.
type watcher interface {
	toServer(p []byte) // what the client sent, before it goes on
	toClient(p []byte) // what the server sent, before it goes on
	gaveClient()       // what came last to toClient has gone on, with no garbage before it
	broke()            // the connection has ended, whoever ended it
}

// gate is the only way to a server, on which things go wrong. Its methods may be called from any
// goroutine.
type gate struct {
	// watch is called for each connection, with the address that the server knows its client by; nil:
	// nobody looks.
	watch func(client string) watcher

	listener net.Listener
	workers  sync.WaitGroup

	mu       sync.Mutex
	target   string
	mood     mood
	changed  chan struct{} // closed when mood changes
	passages map[*passage]bool
	closed   bool
}

// newGate opens a gate to a server on a port of its own.
func newGate(target string, watch func(string) watcher) (*gate, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	g := &gate{
		watch: watch, listener: listener, target: target, mood: open,
		changed: make(chan struct{}), passages: map[*passage]bool{},
	}
	g.workers.Go(g.serve)
	return g, nil
}

// address is where clients connect to.
func (g *gate) address() string { return g.listener.Addr().String() }

func (g *gate) serve() {
	for {
		client, err := g.listener.Accept()
		if err != nil {
			return // closed
		}
		g.workers.Go(func() { g.admit(client) })
	}
}

// admit carries one connection to its end.
func (g *gate) admit(client net.Conn) {
	defer client.Close()
	target, mood, _ := g.look()
	if mood == gone {
		return
	}
	server, err := net.Dial("tcp", target)
	if err != nil {
		return // it is not there, which the client learns by the end of its connection
	}
	defer server.Close()
	p := &passage{gate: g, client: client, server: server, cut: make(chan struct{})}
	if g.watch != nil {
		p.watcher = g.watch(server.LocalAddr().String())
	}
	if !g.note(p) {
		return
	}
	defer g.forget(p)
	p.carry()
}

func (g *gate) note(p *passage) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed || g.mood == gone {
		return false
	}
	g.passages[p] = true
	return true
}

func (g *gate) forget(p *passage) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.passages, p)
}

func (g *gate) look() (target string, m mood, changed <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.target, g.mood, g.changed
}

// be changes the mood.
func (g *gate) be(m mood) {
	g.mu.Lock()
	g.mood = m
	close(g.changed)
	g.changed = make(chan struct{})
	g.mu.Unlock()
	if m == gone {
		g.cut()
	}
}

// lead changes the server, for connections that are made from now on.
func (g *gate) lead(target string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.target = target
}

// cut ends all connections.
func (g *gate) cut() { g.each((*passage).reset) }

// litter has bytes that nobody sent come to every client, in the middle of what comes.
func (g *gate) litter(p []byte) { g.each(func(way *passage) { way.litter(p) }) }

func (g *gate) each(do func(*passage)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for p := range g.passages {
		do(p)
	}
}

// close ends everything and waits for it.
func (g *gate) close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.listener.Close()
	g.cut()
	g.workers.Wait()
}

// passage is one connection through a gate.
type passage struct {
	gate           *gate
	watcher        watcher
	client, server net.Conn
	cut            chan struct{}
	once           sync.Once

	mu       sync.Mutex
	junk     []byte // to be put before what comes next
	littered bool   // so that the client understands nothing any more
}

// reset ends both connections, and what was on its way is gone.
func (p *passage) reset() {
	for _, c := range []net.Conn{p.client, p.server} {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // or else it ends in the ordinary way
		}
	}
	p.end()
}

// end ends both connections.
func (p *passage) end() {
	p.once.Do(func() {
		p.client.Close()
		p.server.Close()
		close(p.cut)
		if p.watcher != nil {
			p.watcher.broke()
		}
	})
}

func (p *passage) litter(junk []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.junk = append(p.junk, junk...)
}

func (p *passage) swept() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	junk := p.junk
	p.junk = nil
	p.littered = p.littered || len(junk) > 0
	return junk
}

// carry copies both ways until either ends.
func (p *passage) carry() {
	var up sync.WaitGroup
	up.Go(func() { p.pump(p.client, p.asked) })
	p.pump(p.server, p.answered)
	up.Wait()
}

func (p *passage) asked(b []byte) bool {
	if p.watcher != nil {
		p.watcher.toServer(b)
	}
	return p.forward(p.server, b)
}

func (p *passage) answered(b []byte) bool {
	if p.watcher != nil {
		p.watcher.toClient(b)
	}
	if !p.forward(p.client, p.swept()) || !p.forward(p.client, b) {
		return false
	}
	if p.watcher != nil && p.clear() {
		p.watcher.gaveClient()
	}
	return true
}

// clear tells whether the client is there and understands what it gets.
func (p *passage) clear() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.cut:
		return false
	default:
		return !p.littered
	}
}

func (p *passage) pump(from net.Conn, pass func([]byte) bool) {
	defer p.end()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 && !pass(buffer[:n]) || err != nil {
			return
		}
	}
}

// forward writes as the gate's mood is, and tells whether that went well.
func (p *passage) forward(to net.Conn, b []byte) bool {
	for len(b) > 0 {
		_, m, changed := p.gate.look()
		n := len(b)
		switch m {
		case stalled:
			select {
			case <-changed:
				continue
			case <-p.cut:
				return false
			}
		case slow:
			n = min(n, sip)
			select {
			case <-time.After(sipEvery):
			case <-p.cut:
				return false
			}
		}
		if _, err := to.Write(b[:n]); err != nil {
			return false
		}
		b = b[n:]
	}
	return true
}
