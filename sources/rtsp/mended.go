package rtsp

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"net"
	"sync/atomic"
	"time"
)

// readBuffer is of a connection: some packets at once.
const readBuffer = 16 << 10

// mendedConn is the connection to a camera, with what the camera sends mended on the way to the client,
// and what the client sends put as cameras want it.
type mendedConn struct {
	net.Conn
	frames atomic.Bool // whether interleaved frames are wanted
	mender mender
	rest   []byte // what Read still has to give
}

func newMendedConn(conn net.Conn) *mendedConn {
	c := &mendedConn{Conn: conn}
	c.mender = mender{
		reader: bufio.NewReaderSize(conn, readBuffer), frames: &c.frames,
		reply: func(p []byte) { reply(conn, p) },
	}
	return c
}

// reply answers a request of the camera. The client's limit for its own last message may be over. A camera
// that does not take the answer is none the worse.
func reply(conn net.Conn, p []byte) {
	_ = conn.SetWriteDeadline(time.Now().Add(answerLimit))
	_, _ = conn.Write(p)
}

func (c *mendedConn) Read(p []byte) (int, error) {
	if len(c.rest) == 0 {
		var err error
		if c.rest, err = c.mender.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// Write takes whole messages. Some cameras answer 400 when the number is not the first header.
func (c *mendedConn) Write(p []byte) (int, error) {
	if len(p) > 0 && p[0] == '$' {
		return c.Conn.Write(p)
	}
	if _, err := c.Conn.Write(numberFirst(p)); err != nil {
		return 0, err
	}
	return len(p), nil
}

func numberFirst(message []byte) []byte {
	first, rest, ok := bytes.Cut(message, []byte("\r\n"))
	before, number, found := bytes.Cut(rest, []byte("CSeq: "))
	if !ok || !found || len(before) == 0 || !bytes.HasSuffix(before, []byte("\r\n")) {
		return message
	}
	number, after, _ := bytes.Cut(number, []byte("\r\n"))
	return bytes.Join([][]byte{first, []byte("\r\nCSeq: "), number, []byte("\r\n"), before, after}, nil)
}

// strangers is how many packets in a row must come of another source before it counts as the camera's.
const strangers = 8

// sourceKeeper gives all packets of a stream one synchronisation source (SSRC, RFC 3550 §3). Cameras
// change theirs when they are set anew, and the client would take nothing from them any more. Single
// packets of another source are somebody else's.
type sourceKeeper struct {
	known        bool
	first, other uint32 // what the client sees, and what the camera sends
	next         uint32 // the source of strangers
	seen         int    // strangers in a row
}

// keep writes the source into an RTP or RTCP packet, and tells whether to pass it on.
func (k *sourceKeeper) keep(packet []byte, isRTCP bool) bool {
	at := 8
	if isRTCP {
		at = 4
	}
	if len(packet) < at+4 {
		return true // the client says what it thinks of it
	}
	source := binary.BigEndian.Uint32(packet[at:])
	if isRTCP {
		if k.known && source == k.other {
			binary.BigEndian.PutUint32(packet[at:], k.first)
		}
		return true
	}
	if !k.known {
		k.known, k.first, k.other = true, source, source
	}
	if source != k.other && !k.switches(source) {
		return false
	}
	if source == k.other {
		k.seen = 0
	}
	binary.BigEndian.PutUint32(packet[at:], k.first)
	return true
}

// switches tells whether the camera is now this source.
func (k *sourceKeeper) switches(source uint32) bool {
	if source != k.next {
		k.next, k.seen = source, 0
	}
	if k.seen++; k.seen < strangers {
		return false
	}
	k.other = source
	return true
}
