package habits

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"
)

// Camera plays one habit on loopback, to any number of viewers one after the other or at once. Its
// fields are not changed after Start.
type Camera struct {
	Habit Habit
	// Pace is the time from one picture to the next, if it is to be another than the habit's; without
	// any they come as fast as the viewer takes them, over UDP one a millisecond.
	Pace time.Duration
	// Packets are sent instead of the clip's when set: whole RTP packets.
	Packets [][]byte

	// Ended gets a value for each connection that has ended, as long as there is room. Start makes it.
	Ended chan struct{}

	clip     *clip
	listener net.Listener
	workers  sync.WaitGroup
	closed   chan struct{}

	mu          sync.Mutex
	requests    []*Request
	connections int
	open        map[net.Conn]bool
}

// Start listens. Stop ends it.
func (c *Camera) Start() error {
	var err error
	if c.clip, err = readClip(c.Habit.Media.clip()); err != nil {
		return fmt.Errorf("start camera: %w", err)
	}
	if c.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return fmt.Errorf("start camera: %w", err)
	}
	c.closed, c.Ended, c.open = make(chan struct{}), make(chan struct{}, 64), map[net.Conn]bool{}
	c.workers.Go(func() {
		for {
			conn, err := c.listener.Accept()
			if err != nil {
				return
			}
			c.workers.Go(func() { c.serve(conn) })
		}
	})
	return nil
}

// Stop ends every connection and waits until nothing runs any more.
func (c *Camera) Stop() {
	close(c.closed)
	c.listener.Close()
	c.mu.Lock()
	for conn := range c.open {
		conn.Close()
	}
	c.mu.Unlock()
	c.workers.Wait()
}

// Address is host and port, valid after Start; URL the address of the stream.
func (c *Camera) Address() string { return c.listener.Addr().String() }

// URL is the address of the stream, without user and password.
func (c *Camera) URL() string { return "rtsp://" + c.Address() + "/stream" }

// Seen returns the requests of a method so far, those that were refused too.
func (c *Camera) Seen(method string) []*Request {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []*Request
	for _, r := range c.requests {
		if r.Method == method {
			out = append(out, r)
		}
	}
	return out
}

// visit is one connection.
type visit struct {
	camera   *Camera
	number   int // counted from 0
	conn     net.Conn
	accepted int // requests that proved the password
	alive    time.Time
	stream   *stream // after SETUP
}

func (c *Camera) serve(conn net.Conn) {
	v := &visit{camera: c, conn: conn, alive: time.Now()}
	c.mu.Lock()
	v.number = c.connections
	c.connections++
	c.open[conn] = true
	c.mu.Unlock()
	v.talk()
	conn.Close()
	if v.stream != nil {
		v.stream.close()
	}
	c.mu.Lock()
	delete(c.open, conn)
	c.mu.Unlock()
	select {
	case c.Ended <- struct{}{}:
	default:
	}
}

// talk answers requests until the connection ends.
func (v *visit) talk() {
	h := &v.camera.Habit
	reader := bufio.NewReader(v.conn)
	for {
		switch {
		case h.Raw: // nothing in particular is waited for
			_ = v.conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		case h.Needs.Alive > 0 && v.stream != nil:
			_ = v.conn.SetReadDeadline(v.alive.Add(h.Needs.Alive))
		}
		req, err := readRequest(reader)
		if err != nil {
			return
		}
		if req.Method == "" {
			continue
		}
		if h.Needs.CSeqFirst && !strings.EqualFold(req.First, "CSeq") {
			_, _ = v.conn.Write([]byte(complete("RTSP/1.0 400 Bad Request\r\n\r\n", req.Header.Get("CSeq"))))
			return
		}
		if !v.reply(req) {
			return
		}
	}
}

// reply answers one request, and tells whether to go on.
func (v *visit) reply(req *Request) bool {
	h := &v.camera.Habit
	nth := v.camera.note(req)
	answer := v.challenge(req)
	if answer == "" {
		if h.Needs.By == "" || req.Method == h.Needs.By {
			v.alive = time.Now()
		}
		if req.Method == "SETUP" && v.stream == nil {
			v.stream = newStream(v, req)
		}
		if req.Method == "PLAY" && v.stream != nil {
			v.stream.early()
		}
		answer = v.answer(req, nth)
	}
	if answer == NoAnswer {
		return true
	}
	if !h.Raw {
		answer = complete(answer, req.Header.Get("CSeq"))
	}
	if _, err := v.write([]byte(answer)); err != nil {
		return false
	}
	if h.HangUp == req.Method && nth == 0 {
		return false
	}
	if req.Method == "PLAY" && strings.Contains(answer, " 200 ") && v.stream == nil && !h.Media.Silent {
		v.stream = newStream(v, req)
	}
	if req.Method == "PLAY" && v.stream != nil && !h.Media.Silent && strings.Contains(answer, " 200 ") {
		v.stream.play()
	}
	return true
}

// note keeps a request and returns how many of its method came before, over all connections.
func (c *Camera) note(req *Request) (nth int) {
	nth = len(c.Seen(req.Method))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests = append(c.requests, req)
	return nth
}

// write keeps answers and frames apart.
func (v *visit) write(p []byte) (int, error) {
	if v.stream != nil {
		v.stream.mu.Lock()
		defer v.stream.mu.Unlock()
	}
	_ = v.conn.SetWriteDeadline(time.Now().Add(time.Minute))
	return v.conn.Write(p)
}
