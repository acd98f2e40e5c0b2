package rtsp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/headers"
	"github.com/pion/rtp"

	"sightline/pipeline"
)

const (
	receiveBuffer = 4 << 20 // asked of the kernel, which may give less; a keyframe comes all at once
	maxQueued     = 1024    // packets between the sockets and the client
	interleaved   = "RTP/AVP/TCP;unicast;interleaved=0-1"
	rtpChannel    = 0
	rtcpChannel   = 1
)

// noUDPError says that media does not come over UDP, though it may over TCP.
type noUDPError struct{ err error }

func (e *noUDPError) Error() string { return e.err.Error() }
func (e *noUDPError) Unwrap() error { return e.err }

// udpLink is the connection to a camera that sends media over UDP. To the client it looks like one
// in which media is interleaved (RFC 2326 §10.12): it rewrites the Transport headers of SETUP, and
// what the sockets receive comes out of Read between the camera's messages.
//
// gortsplib has a UDP client of its own. It insists on kernel sockets, while a stage has only its
// grant, tries for ever when it is refused one, and after each lost packet holds back the 64 that
// follow, which is seconds of a slow stream.
type udpLink struct {
	net.Conn
	rtp, rtcp net.PacketConn
	port      int        // of rtp; rtcp has the one after it
	peer      netip.Addr // whose packets are taken; the invalid one: anybody's that the grant lets through
	pool      sync.Pool
	messages  chan []byte    // from the camera, whole
	frames    chan *datagram // ready to read
	closed    chan struct{}
	ended     chan struct{} // the camera's messages have ended, with readErr
	readErr   error
	workers   sync.WaitGroup
	rest      []byte    // what Read still has to give
	reading   *datagram // that rest is of
	source    sourceKeeper

	mu        sync.Mutex
	playing   bool
	shut      bool
	remote    [2]*net.UDPAddr // where to send RTP and RTCP, nil until known
	err       error
	reception reception
	closing   sync.Once
}

// newUDPLink opens the sockets and takes conn over, unless it fails.
func newUDPLink(ctx context.Context, network pipeline.Network, conn net.Conn) (*udpLink, error) {
	l := &udpLink{
		Conn: conn, messages: make(chan []byte), frames: make(chan *datagram, maxQueued),
		closed: make(chan struct{}), ended: make(chan struct{}),
	}
	if peer, err := netip.ParseAddrPort(conn.RemoteAddr().String()); err == nil {
		l.peer = peer.Addr().Unmap()
	}
	if err := l.listen(ctx, network); err != nil {
		return nil, err
	}
	l.workers.Add(1)
	go l.readMessages()
	return l, nil
}

// listen opens two sockets with neighbouring numbers, the first one even (RFC 3550 §11).
func (l *udpLink) listen(ctx context.Context, network pipeline.Network) error {
	var err error
	for range 32 {
		port := 10000 + 2*rand.IntN((65534-10000)/2)
		if l.rtp, err = network.ListenPacket(ctx, "udp", ":"+strconv.Itoa(port)); err == nil {
			if l.rtcp, err = network.ListenPacket(ctx, "udp", ":"+strconv.Itoa(port+1)); err == nil {
				l.port = port
				break
			}
			l.rtp.Close()
		}
		if errors.Is(err, pipeline.ErrNotGranted) || ctx.Err() != nil {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("open sockets for media: %w", err)
	}
	if socket, ok := l.rtp.(interface{ SetReadBuffer(int) error }); ok {
		_ = socket.SetReadBuffer(receiveBuffer) // as much as the kernel allows
	}
	return nil
}

// onRequest asks for UDP instead of interleaving, and starts the sockets before the camera is asked
// to play.
func (l *udpLink) onRequest(req *base.Request) {
	switch req.Method {
	case base.Setup:
		req.Header["Transport"] = base.HeaderValue{fmt.Sprintf("RTP/AVP;unicast;client_port=%d-%d", l.port, l.port+1)}
	case base.Play:
		l.play()
	}
}

// onSetup notes where the camera's sockets are and tells the client what it wants to hear.
func (l *udpLink) onSetup(res *base.Response) {
	if res.StatusCode != base.StatusOK {
		return
	}
	var t headers.Transport
	if t.Unmarshal(res.Header["Transport"]) != nil {
		return // the client says what is wrong
	}
	switch {
	case t.Protocol != headers.TransportProtocolUDP:
		l.fail(errors.New("setup: the camera insists on TCP"))
	case t.Delivery != nil && *t.Delivery != headers.TransportDeliveryUnicast:
		l.fail(errors.New("setup: the camera insists on multicast"))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if t.ServerPorts != nil && l.peer.IsValid() {
		for i, port := range t.ServerPorts {
			if port > 1 && port <= 65535 {
				l.remote[i] = net.UDPAddrFromAddrPort(netip.AddrPortFrom(l.peer, uint16(port)))
			}
		}
	}
	res.Header["Transport"] = base.HeaderValue{interleaved}
}

func (l *udpLink) play() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.playing || l.shut {
		return
	}
	l.playing = true
	// Empty packets open the way through firewalls and address translation.
	if packet, err := (&rtp.Header{Version: 2}).Marshal(); err == nil {
		l.send(l.rtp, l.remote[0], packet)
	}
	l.workers.Add(2)
	go l.readRTP()
	go l.readRTCP()
}

// send is best effort, like UDP.
func (l *udpLink) send(socket net.PacketConn, to *net.UDPAddr, packet []byte) {
	if to != nil {
		_, _ = socket.WriteTo(packet, to)
	}
}

// trouble returns why media cannot come over UDP, once that is known.
func (l *udpLink) trouble() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

func (l *udpLink) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
	}
}

// Read gives the camera's messages and frames, each whole before the next.
func (l *udpLink) Read(p []byte) (int, error) {
	for len(l.rest) == 0 {
		if err := l.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, l.rest)
	if l.rest = l.rest[n:]; len(l.rest) == 0 && l.reading != nil {
		l.pool.Put(l.reading)
		l.reading = nil
	}
	return n, nil
}

func (l *udpLink) fill() error {
	select {
	case l.rest = <-l.messages:
	case d := <-l.frames:
		channel := byte(rtpChannel)
		if isRTCP(d.packet()) {
			channel = rtcpChannel
		}
		if !l.source.keep(d.packet(), channel == rtcpChannel) {
			l.pool.Put(d)
			return nil
		}
		l.reading, l.rest = d, d.frame(channel)
	case <-l.ended:
		return l.readErr
	case <-l.closed:
		return net.ErrClosed
	}
	return nil
}

// Write sends a whole message.
func (l *udpLink) Write(p []byte) (int, error) {
	if _, err := l.Conn.Write(numberFirst(p)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close ends everything and waits for it.
func (l *udpLink) Close() error {
	l.closing.Do(func() {
		l.mu.Lock()
		l.shut = true
		l.mu.Unlock()
		close(l.closed)
		l.Conn.Close()
		l.rtp.Close()
		l.rtcp.Close()
	})
	l.workers.Wait()
	return nil
}

func (l *udpLink) readMessages() {
	defer l.workers.Done()
	defer close(l.ended)
	mender := mender{
		reader: bufio.NewReader(l.Conn), frames: new(atomic.Bool), // media comes over UDP
		reply: func(p []byte) { reply(l.Conn, p) },
	}
	for {
		message, err := mender.next()
		if err != nil {
			l.readErr = err
			return
		}
		select {
		case l.messages <- message:
		case <-l.closed:
			l.readErr = net.ErrClosed
			return
		}
	}
}

func (l *udpLink) put(d *datagram) {
	select {
	case l.frames <- d:
	case <-l.closed:
	}
}
