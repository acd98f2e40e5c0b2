package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/yamux"
)

// A connection crosses the wire in blocks of at most 32 KiB: one byte of type and three of length.
// So the end of one direction (half-close), the end of both and a break stay three different things.
const (
	blockHead         = 4
	blockData  byte   = 'D'
	blockEnd   byte   = 'E' // nothing more comes this way: the peer shut down its sending side
	blockGone  byte   = 'G' // closed: nothing is read here any more either
	blockReset byte   = 'R' // the connection is broken
	blockMask  uint32 = 1<<24 - 1
)

// errReset is what reading gives when the far connection broke.
var errReset = errors.New("connection reset at the other side of the wire")

// blockConn is one end of a connection over a stream. It is a net.Conn with CloseWrite.
type blockConn struct {
	stream        *yamux.Stream
	local, remote net.Addr

	reading sync.Mutex
	head    [blockHead]byte
	have    int
	left    uint32 // of the current block
	readErr error

	writing  sync.Mutex
	out      []byte
	ended    bool
	writeErr error

	closing sync.Once
	closed  atomic.Bool
	gone    atomic.Bool // the other side has closed
	onClose func()
}

var _ net.Conn = (*blockConn)(nil)

// Read implements net.Conn. A deadline that passes tears nothing: reading goes on where it was.
func (c *blockConn) Read(p []byte) (int, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	if c.closed.Load() {
		return 0, net.ErrClosed
	}
	for c.left == 0 {
		if c.readErr != nil {
			return 0, c.readErr
		}
		if err := c.nextBlock(); err != nil {
			return 0, c.why(err)
		}
	}
	n, err := c.stream.Read(p[:min(uint32(len(p)), c.left)])
	c.left -= uint32(n)
	if err == io.EOF {
		c.readErr, c.left = errReset, 0
		err = c.readErr
	}
	return n, c.why(err)
}

// why says of a closed connection that it is closed.
func (c *blockConn) why(err error) error {
	if err != nil && c.closed.Load() {
		return net.ErrClosed
	}
	return err
}

// nextBlock reads the head of a block.
func (c *blockConn) nextBlock() error {
	for c.have < blockHead {
		n, err := c.stream.Read(c.head[c.have:])
		c.have += n
		if err == io.EOF { // without an end block before it
			c.readErr = errReset
			return c.readErr
		}
		if err != nil {
			return err
		}
	}
	c.have = 0
	size := binary.BigEndian.Uint32(c.head[:]) & blockMask
	switch kind := c.head[0]; {
	case kind == blockData && size <= maxBlock:
		c.left = size
	case kind == blockEnd && size == 0:
		c.readErr = io.EOF
	case kind == blockGone && size == 0:
		c.gone.Store(true)
		c.readErr = io.EOF
	case kind == blockReset && size == 0:
		c.readErr = errReset
	default:
		c.readErr = fmt.Errorf("block of type %#x, %d bytes: %w", kind, size, ErrMalformed)
	}
	return nil
}

// Write implements net.Conn.
func (c *blockConn) Write(p []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	total := 0
	for total < len(p) {
		part := p[total:min(len(p), total+maxBlock)]
		if err := c.writeBlock(blockData, part); err != nil {
			return total, c.why(err)
		}
		total += len(part)
	}
	return total, nil
}

// writeBlock writes one block. One that did not get through as a whole tears the stream, so nothing
// can be written after it. writing is held.
func (c *blockConn) writeBlock(kind byte, part []byte) error {
	if c.writeErr != nil {
		return c.writeErr
	}
	if c.ended {
		return net.ErrClosed
	}
	c.out = append(c.out[:0], kind, byte(len(part)>>16), byte(len(part)>>8), byte(len(part)))
	c.out = append(c.out, part...)
	if n, err := c.stream.Write(c.out); err != nil {
		if n > 0 || !errors.Is(err, yamux.ErrTimeout) {
			c.writeErr = err
		}
		return err
	}
	return nil
}

// CloseWrite tells the other side that nothing more comes; reading goes on.
func (c *blockConn) CloseWrite() error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if c.ended {
		return nil
	}
	err := c.writeBlock(blockEnd, nil)
	c.ended = true
	return err
}

// Close ends both directions and wakes who waits for one.
func (c *blockConn) Close() error {
	c.finish(blockGone)
	return nil
}

// abort is Close after the connection broke.
func (c *blockConn) abort() { c.finish(blockReset) }

func (c *blockConn) finish(kind byte) {
	c.closing.Do(func() {
		c.closed.Store(true)
		c.stream.SetReadDeadline(time.Unix(1, 0))  //nolint:errcheck // never fails
		c.stream.SetWriteDeadline(time.Unix(1, 0)) //nolint:errcheck // never fails; it does not wait for room
		c.writing.Lock()
		if c.ended = false; c.writeErr == nil {
			c.writeBlock(kind, nil) //nolint:errcheck // without it, the end of the stream reads as a break
		}
		c.ended = true
		c.writing.Unlock()
		c.stream.Close()
		if c.onClose != nil {
			c.onClose()
		}
	})
}

// LocalAddr implements net.Conn: the address that the supervisor dialled from.
func (c *blockConn) LocalAddr() net.Addr { return c.local }

// RemoteAddr implements net.Conn: the address that the supervisor dialled.
func (c *blockConn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline implements net.Conn.
func (c *blockConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline implements net.Conn.
func (c *blockConn) SetReadDeadline(t time.Time) error { return c.stream.SetReadDeadline(t) }

// SetWriteDeadline implements net.Conn.
func (c *blockConn) SetWriteDeadline(t time.Time) error { return c.stream.SetWriteDeadline(t) }
