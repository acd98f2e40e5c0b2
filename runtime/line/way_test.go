package line

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestAnAddressIsAPathOrAHostWithAPort(t *testing.T) {
	for _, address := range []string{"", "wire.sock", "10.0.2.100", "10.0.2.100:"} {
		if _, err := Open(address); err == nil {
			t.Errorf("%q is taken for an address", address)
		}
	}
}

// says checks that what one side writes is what the other reads.
func says(t *testing.T, from, to net.Conn, text string) {
	t.Helper()
	go from.Write([]byte(text))
	got := make([]byte, len(text))
	if err := to.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(to, got); err != nil || string(got) != text {
		t.Fatalf("read %q instead of %q: %v", got, text, err)
	}
}

func open(t *testing.T, address string) *Way {
	t.Helper()
	way, err := Open(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { way.Close() })
	return way
}

func connect(t *testing.T, way *Way) net.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := way.Connect(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func TestAUnixSocketIsDialledEachTime(t *testing.T) {
	dir, err := os.MkdirTemp("", "line")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	folder, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	for _, address := range []string{filepath.Join(dir, "a.sock"), fmt.Sprintf("/proc/self/fd/%d/b.sock", folder.Fd())} {
		way := open(t, address) // before it is there
		if _, err := way.Connect(t.Context()); err == nil {
			t.Fatal("connected to nothing")
		}
		l, err := net.Listen("unix", filepath.Join(dir, filepath.Base(address)))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		for range 2 {
			inside := connect(t, way)
			conn, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			says(t, conn, inside, "hello")
			conn.Close()
		}
	}
}

func TestAForwardedConnectionIsDialledOnceAndWhenItEnds(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	way := open(t, l.Addr().String())
	for range 2 {
		accepted := make(chan net.Conn, 1)
		go func() {
			conn, _ := l.Accept()
			accepted <- conn
		}()
		ready := make(chan net.Conn)
		go func() { ready <- connect(t, way) }()
		raw := <-accepted
		c := newChardev(t, raw)
		for i := range 2 {
			host, err := Host(t.Context(), c.connect(t, -1, -1))
			if err != nil {
				t.Fatal(err)
			}
			if i > 0 {
				go func() { ready <- connect(t, way) }()
			}
			inside := <-ready
			says(t, host, inside, "hello")
			says(t, inside, host, "hello yourself")
		}
		raw.Close()
		<-way.guest.Done()
	}
}

// terminal returns a device with an other side. It stands for a port of virtio-serial.
func terminal(t *testing.T) (name string, other *os.File) {
	t.Helper()
	other, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { other.Close() })
	fd := int(other.Fd())
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Skip(err)
	}
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &unix.Termios{Cflag: unix.CS8 | unix.CREAD}); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("/dev/pts/%d", number), other
}

func TestADeviceIsOpenedOnce(t *testing.T) {
	name, other := terminal(t)
	way := open(t, name)
	c := newChardev(t, other)
	for range 3 {
		ready := make(chan net.Conn)
		go func() { ready <- connect(t, way) }()
		host, err := Host(t.Context(), c.connect(t, -1, -1))
		if err != nil {
			t.Fatal(err)
		}
		inside := <-ready
		says(t, host, inside, "hello")
		says(t, inside, host, "hello yourself")
		host.Close()
		if _, err := inside.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("after the host closed: %v", err)
		}
	}
}

// TestADeviceWaitsForAHost takes the other side away, which is what a port without a host is like.
func TestADeviceWaitsForAHost(t *testing.T) {
	name, other := terminal(t)
	p, err := openPort(name)
	if err != nil {
		t.Fatal(err)
	}
	other.Close()
	if n, err := p.Write([]byte("lost")); n != 4 || err != nil {
		t.Errorf("wrote %d bytes, %v", n, err)
	}
	read := make(chan error)
	go func() {
		_, err := p.Read(make([]byte, 1))
		read <- err
	}()
	select {
	case err := <-read:
		t.Errorf("read %v", err)
	case <-time.After(2 * portPause): // not for an event: that nothing happens is what is wanted
	}
	p.Close()
	if err := <-read; err == nil {
		t.Error("reading goes on after closing")
	}
}
