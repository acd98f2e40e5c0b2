package line

import (
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// portPause is how long a port waits before it looks again whether the host is there.
const portPause = 50 * time.Millisecond

// port is a character device, of which reading gives nothing while no host has it open.
type port struct {
	*os.File
	closed chan struct{}
	once   sync.Once
}

func openPort(name string) (*port, error) {
	f, err := os.OpenFile(name, os.O_RDWR|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	return &port{File: f, closed: make(chan struct{})}, nil
}

// Read implements io.Reader: it waits for the host.
func (p *port) Read(b []byte) (int, error) {
	for {
		n, err := p.File.Read(b)
		if n > 0 || err == nil || !hostless(err) {
			return n, err
		}
		select {
		case <-time.After(portPause):
		case <-p.closed:
			return 0, os.ErrClosed
		}
	}
}

// Write implements io.Writer: what there is no host for is lost, as on every line.
func (p *port) Write(b []byte) (int, error) {
	n, err := p.File.Write(b)
	if err != nil && hostless(err) {
		return len(b), nil
	}
	return n, err
}

// Close implements io.Closer.
func (p *port) Close() error {
	err := errors.New("already closed")
	p.once.Do(func() { close(p.closed); err = p.File.Close() })
	return err
}

// hostless tells whether an error only says that no host has the other side open: reading a port of
// virtio-serial ends, a terminal says EIO or EPIPE.
func hostless(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, unix.EIO) || errors.Is(err, unix.EPIPE)
}
