package line

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/nettest"
)

func TestAConnectionIsANetConn(t *testing.T) {
	nettest.TestConn(t, func() (host, inside net.Conn, stop func(), err error) {
		host, inside = pair(t)
		return host, inside, func() { host.Close(); inside.Close() }, nil
	})
}

// speak writes the bytes of a round until the connection ends, or all of them are written.
func speak(conn net.Conn, round uint64, size int64) {
	conn.Write(binary.BigEndian.AppendUint64(nil, round))
	io.CopyN(struct{ io.Writer }{conn}, stream(round), size)
}

// hear reads until the connection ends and returns of which round and how much it heard, all of it as it was written.
func hear(conn net.Conn) (round uint64, size int64, err error) {
	var head [8]byte
	if n, err := io.ReadFull(conn, head[:]); err != nil {
		if n == 0 || errors.Is(err, io.ErrUnexpectedEOF) {
			return 0, 0, nil
		}
		return 0, 0, err
	}
	round = binary.BigEndian.Uint64(head[:])
	got, want := make([]byte, 32<<10), make([]byte, 32<<10)
	for from := stream(round); ; {
		n, err := conn.Read(got)
		io.ReadFull(from, want[:n])
		if !bytes.Equal(got[:n], want[:n]) {
			return round, size, fmt.Errorf("round %d differs after %d bytes", round, size)
		}
		if size += int64(n); err != nil {
			return round, size, nil //nolint:nilerr // connections are cut
		}
	}
}

// heard is what arrived at the guest.
type heard struct {
	mu     sync.Mutex
	rounds map[int]uint64 // by the number of the connection
	err    error
}

// serve is a program in a guest: it serves each connection as it comes.
func serve(g *Guest, h *heard) {
	var work sync.WaitGroup
	defer work.Wait()
	for number := 0; ; number++ {
		conn, err := g.Accept(context.Background())
		if err != nil {
			return
		}
		work.Go(func() { speak(conn, 7, 1<<40) })
		work.Go(func() {
			round, _, err := hear(conn)
			h.mu.Lock()
			defer h.mu.Unlock()
			h.err = errors.Join(h.err, err)
			if round > 0 {
				h.rounds[number] = round
			}
			conn.Close()
		})
	}
}

// order says what is wrong with the order in which connections were accepted.
func (h *heard) order() error {
	last := uint64(0)
	for _, number := range slices.Sorted(maps.Keys(h.rounds)) {
		round := h.rounds[number]
		if round < last {
			return fmt.Errorf("round %d came after round %d", round, last)
		}
		last = round
	}
	return nil
}

// TestHostsThatAreCutAtAnyByteDoNotHarmTheNext kills hosts in the middle of everything.
func TestHostsThatAreCutAtAnyByteDoNotHarmTheNext(t *testing.T) {
	g, c := guest(t)
	h := heard{rounds: map[int]uint64{}}
	var serving sync.WaitGroup
	serving.Go(func() { serve(g, &h) })
	t.Cleanup(func() { g.Close(); serving.Wait() })
	random := rand.New(rand.NewPCG(1, 2))
	begun := 0
	for round := uint64(1); round <= 300; round++ {
		in, out := maxFrame+random.IntN(3*maxFrame), random.IntN(20*maxFrame)
		if round%10 == 0 {
			in = random.IntN(maxFrame + 64) // while it begins
		}
		if killed(t, c, round, in, out) {
			begun++
		}
	}
	t.Logf("%d of 300 hosts got so far as to have a connection", begun)
	if begun < 100 {
		t.Error("too few to show anything")
	}
	host, err := Host(t.Context(), c.connect(t, -1, -1))
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	const size = 8 << 20
	go func() { speak(host, 1000, size) }()
	got := make([]byte, 8+size)
	if _, err := io.ReadFull(host, got); err != nil {
		t.Fatal(err)
	}
	want := make([]byte, size)
	io.ReadFull(stream(7), want)
	if !bytes.Equal(got[8:], want) {
		t.Error("the last host got something else than what was written")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := errors.Join(h.err, h.order()); err != nil {
		t.Error(err)
	}
}

// killed runs a host that is killed after some bytes, and tells whether it had a connection.
func killed(t *testing.T, c *chardev, round uint64, in, out int) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	host, err := Host(ctx, c.connect(t, in, out))
	if ctx.Err() != nil {
		t.Fatal("the guest doesn't take the connection")
	}
	if err != nil {
		return false
	}
	var both sync.WaitGroup
	both.Go(func() { speak(host, round, 1<<40) })
	from, size, err := hear(host)
	if err != nil || size > 0 && from != 7 {
		t.Errorf("round %d heard round %d: %v", round, from, err)
	}
	host.Close()
	both.Wait()
	return true
}

func TestTheNextHostEndsTheConnectionBefore(t *testing.T) {
	g, c := guest(t)
	_, first := begin(t, g, c)
	host, second := begin(t, g, c)
	if n, err := first.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("the connection before reads %d bytes, %v", n, err)
	}
	if _, err := first.Write([]byte("x")); err == nil {
		t.Error("the connection before takes data")
	}
	go host.Write([]byte("hello"))
	got := make([]byte, 5)
	if _, err := io.ReadFull(second, got); err != nil || string(got) != "hello" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestAConnectionNobodyAcceptedGivesWay(t *testing.T) {
	g, c := guest(t)
	for range 3 {
		if _, err := Host(t.Context(), c.connect(t, -1, -1)); err != nil {
			t.Fatal(err)
		}
	}
	host, inside := begin(t, g, c)
	go inside.Write([]byte("x"))
	if _, err := host.Read(make([]byte, 1)); err != nil {
		t.Error(err)
	}
}

func TestClosingReachesTheOtherSide(t *testing.T) {
	g, c := guest(t)
	for _, how := range []string{"host", "guest"} {
		host, inside := begin(t, g, c)
		closes, reads := host, inside
		if how == "guest" {
			closes, reads = inside, host
		}
		go func() { closes.Write([]byte("last")); closes.Close() }()
		if got, err := io.ReadAll(reads); err != nil || string(got) != "last" {
			t.Errorf("when the %s closes: %q, %v", how, got, err)
		}
	}
}

func TestWhatIsNotReadHoldsUpTheWriter(t *testing.T) {
	host, inside := pair(t)
	host.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	wrote, err := host.Write(make([]byte, 64<<20))
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("wrote %d bytes, %v", wrote, err)
	}
	host.Close()
	got, err := io.Copy(io.Discard, inside)
	if err != nil || got > int64(wrote) {
		t.Errorf("read %d of %d bytes, %v", got, wrote, err)
	}
}

func TestAHostGivesUpAGuestThatDoesNotTakeIt(t *testing.T) {
	a, b := socketpair(t)
	defer b.Close()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	if _, err := Host(ctx, a); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestAGuestWhoseStreamEndsSaysSo(t *testing.T) {
	a, b := socketpair(t)
	g := NewGuest(a)
	b.Close()
	if _, err := g.Accept(t.Context()); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) { // reset: it had written already
		t.Errorf("error %v", err)
	}
	<-g.Done()
}

// lie is a guest that takes a connection as it should, and then sends something else.
func lie(t testing.TB, then []byte) net.Conn {
	t.Helper()
	a, b := socketpair(t)
	go func() {
		in := newReader(b)
		if _, payload, err := in.next(); err == nil {
			b.Write(append(appendFrame([]byte("old bytes"), frameTaken, payload[len(magic):]), then...))
		}
		b.Close()
	}()
	host, err := Host(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { host.Close() })
	return host
}

func TestAGuestThatLiesCostsItsConnection(t *testing.T) {
	for what, then := range map[string][]byte{
		"a frame of no type":          {'x', 0, 0, 1, 'x', frameMark},
		"a frame that is too long":    {frameData, 1, 0, 1},
		"a frame without its mark":    {frameData, 0, 0, 1, 'x', 'x'},
		"another opening":             appendFrame(nil, frameOpen, make([]byte, 36)),
		"a connection that it begins": appendFrame(nil, frameTaken, make([]byte, tokenSize)),
	} {
		host := lie(t, then)
		if n, err := host.Read(make([]byte, 1)); n != 0 || !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: read %d bytes, %v", what, n, err)
		}
	}
	host := lie(t, []byte{frameData, 0, 0, 5, 'c', 'u', 't'})
	if n, err := host.Read(make([]byte, 9)); n != 0 || err != io.EOF {
		t.Errorf("a frame that is cut: read %d bytes, %v", n, err)
	}
}

func FuzzHost(f *testing.F) {
	f.Add([]byte{'x', 0, 0, 1, 'x', frameMark})
	f.Add(appendFrame(appendFrame(quiet(), frameData, []byte("data")), frameClose, nil))
	f.Fuzz(func(t *testing.T, then []byte) {
		host := lie(t, then)
		if n, _ := io.Copy(io.Discard, host); n > int64(len(then)) {
			t.Errorf("%d bytes of %d", n, len(then))
		}
	})
}

// FuzzGuest has a host send anything, and then be killed: the next one must have its connection.
func FuzzGuest(f *testing.F) {
	opening := appendFrame(quiet(), frameOpen, append([]byte(magic), make([]byte, tokenSize)...))
	f.Add(opening)
	f.Add(opening[maxFrame:][:30])
	f.Add(append(bytes.Clone(opening), frameData, 1, 0, 0))
	f.Add([]byte{'x', 0, 0, 1, 'x', frameMark})
	f.Add([]byte{frameData, 0, 0, 1, 'x', 'x', 'O', 'O'})
	f.Fuzz(func(t *testing.T, data []byte) {
		g, c := guest(t)
		raw := c.connect(t, -1, -1)
		go io.Copy(io.Discard, raw)
		if _, err := raw.Write(data); err != nil {
			t.Fatal(err)
		}
		raw.Close()
		host, err := Host(t.Context(), c.connect(t, -1, -1))
		if err != nil {
			t.Fatal(err)
		}
		defer host.Close()
		go func() { host.Write([]byte("hello")); host.Close() }()
		for {
			conn, err := g.Accept(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got, _ := io.ReadAll(conn); string(got) == "hello" {
				return
			}
		}
	})
}
