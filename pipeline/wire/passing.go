package wire

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
)

// maxPassed is how many descriptors come with one write at most.
const maxPassed = 8

// giver is the supervisor's end of a wire that files can be passed over: a unix socket (unix(7),
// SCM_RIGHTS). It takes none.
type giver struct {
	*net.UnixConn

	mu    sync.Mutex
	files []*os.File // to go with what is written next
}

// pass has a file go with what is written next, and owns it.
func (g *giver) pass(f *os.File) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.files) == maxPassed {
		return errors.Join(fmt.Errorf("more than %d files wait for being passed", maxPassed), f.Close())
	}
	g.files = append(g.files, f)
	return nil
}

func (g *giver) waiting() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.files) > 0
}

func (g *giver) take() []*os.File {
	g.mu.Lock()
	defer g.mu.Unlock()
	files := g.files
	g.files = nil
	return files
}

// Write implements io.Writer.
func (g *giver) Write(p []byte) (int, error) {
	files := g.take()
	if len(files) == 0 {
		return g.UnixConn.Write(p)
	}
	fds := make([]int, len(files))
	for i, f := range files {
		fds[i] = int(f.Fd())
	}
	n, _, err := g.WriteMsgUnix(p, syscall.UnixRights(fds...), nil)
	closeAll(files)
	if err != nil || n == len(p) {
		return n, err
	}
	more, err := g.UnixConn.Write(p[n:])
	return n + more, err
}

// Close implements io.Closer.
func (g *giver) Close() error {
	closeAll(g.take())
	return g.UnixConn.Close()
}

// taker is the stage's end of such a wire.
type taker struct {
	*net.UnixConn
	room []byte

	mu    sync.Mutex
	files []*os.File // in the order in which they came
}

func newTaker(conn *net.UnixConn) *taker {
	return &taker{UnixConn: conn, room: make([]byte, syscall.CmsgSpace(maxPassed*4))}
}

// Read implements io.Reader, and keeps the files that come with what it reads.
func (t *taker) Read(p []byte) (int, error) {
	n, rights, _, _, err := t.ReadMsgUnix(p, t.room)
	if rights > 0 {
		t.keep(t.room[:rights])
	}
	if errors.Is(err, io.EOF) {
		err = io.EOF
	}
	return max(n, 0), err // -1 with an error
}

func (t *taker) keep(rights []byte) {
	messages, err := syscall.ParseSocketControlMessage(rights)
	if err != nil {
		return // what was announced is then missing, and ends the wire
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range messages {
		fds, err := syscall.ParseUnixRights(&messages[i])
		if err != nil {
			continue
		}
		for _, fd := range fds {
			t.files = append(t.files, os.NewFile(uintptr(fd), "passed"))
		}
	}
}

// next returns the file that came first, nil when there is none.
func (t *taker) next() *os.File {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.files) == 0 {
		return nil
	}
	f := t.files[0]
	t.files = t.files[1:]
	return f
}

// Close implements io.Closer.
func (t *taker) Close() error {
	t.mu.Lock()
	files := t.files
	t.files = nil
	t.mu.Unlock()
	closeAll(files)
	return t.UnixConn.Close()
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// socketpair makes two files that are connected.
func socketpair() (a, b *os.File, err error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make a connection: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "direct"), os.NewFile(uintptr(fds[1]), "direct"), nil
}

// connOf makes a connection of a file, which it closes.
func connOf(f *os.File) (net.Conn, error) {
	conn, err := net.FileConn(f)
	return conn, errors.Join(err, f.Close())
}
