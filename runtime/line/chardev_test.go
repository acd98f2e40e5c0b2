package line

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long a test waits for what must come.
const patience = 2 * time.Minute

// chardev stands between a guest's raw stream and the hosts that connect to it, as QEMU does: bytes
// of the guest are lost while no host is connected, and a host goes at any byte.
type chardev struct {
	guest io.ReadWriteCloser // the other end of the guest's raw stream
	idle  chan struct{}      // holds a token while no host's bytes are being copied

	mu   sync.Mutex
	host net.Conn
	left int // bytes that the host still gets
}

func newChardev(t testing.TB, guest io.ReadWriteCloser) *chardev {
	c := &chardev{guest: guest, idle: make(chan struct{}, 1)}
	c.idle <- struct{}{}
	var copying sync.WaitGroup
	copying.Go(c.toHosts)
	t.Cleanup(func() { guest.Close(); c.drop(nil); copying.Wait() })
	return c
}

func (c *chardev) toHosts() {
	room := make([]byte, 32<<10)
	for {
		n, err := c.guest.Read(room)
		if err != nil {
			return
		}
		c.mu.Lock()
		host, most := c.host, min(n, c.left)
		c.left -= most
		c.mu.Unlock()
		if host == nil {
			continue
		}
		if _, err := host.Write(room[:most]); err != nil || most < n {
			c.drop(host)
		}
	}
}

// drop kills a host, nil is whichever is there.
func (c *chardev) drop(host net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.host != nil && (host == nil || host == c.host) {
		c.host.Close()
		c.host = nil
	}
}

// connect connects a host that is killed after some bytes each way, -1 is never.
func (c *chardev) connect(t testing.TB, in, out int) net.Conn {
	t.Helper()
	c.drop(nil)
	<-c.idle
	ours, theirs := socketpair(t)
	c.mu.Lock()
	if c.host, c.left = ours, out; out < 0 {
		c.left = 1 << 60
	}
	c.mu.Unlock()
	go func() {
		defer func() { c.idle <- struct{}{} }()
		var from io.Reader = ours
		if in >= 0 {
			from = io.LimitReader(ours, int64(in))
		}
		io.Copy(struct{ io.Writer }{c.guest}, from)
		ours.Close()
	}()
	return theirs
}

func socketpair(t testing.TB) (net.Conn, net.Conn) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var conns [2]net.Conn
	for i, fd := range fds {
		file := os.NewFile(uintptr(fd), "socketpair")
		if conns[i], err = net.FileConn(file); err != nil {
			t.Fatal(err)
		}
		file.Close()
	}
	return conns[0], conns[1]
}

// guest makes a guest behind a chardev.
func guest(t testing.TB) (*Guest, *chardev) {
	a, b := socketpair(t)
	g := NewGuest(a)
	t.Cleanup(func() { g.Close() })
	return g, newChardev(t, b)
}

// pair is one connection between a host and a guest.
func pair(t testing.TB) (host, inside net.Conn) {
	t.Helper()
	g, c := guest(t)
	return begin(t, g, c)
}

func begin(t testing.TB, g *Guest, c *chardev) (host, inside net.Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	host, err := Host(ctx, c.connect(t, -1, -1))
	if err != nil {
		t.Fatal(err)
	}
	if inside, err = g.Accept(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { host.Close(); inside.Close() })
	return host, inside
}

// stream gives the bytes of a round, always the same.
func stream(round uint64) io.Reader { return rand.NewChaCha8([32]byte{byte(round), byte(round >> 8)}) }
