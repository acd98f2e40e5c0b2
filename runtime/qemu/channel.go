package qemu

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sightline/runtime/outlive"
)

const monitorName = "qmp"

// folder is the folder with a guest's sockets and pipes. Names in it are short for the kernel,
// however long its own path is: sockets' paths have at most 107 bytes.
type folder struct {
	path string
	file *os.File

	dialling sync.RWMutex // held to dial, so that the descriptor in short isn't another file's by then
	closed   bool
}

// Close closes the folder; nobody dials in it any more.
func (f *folder) Close() error {
	f.dialling.Lock()
	defer f.dialling.Unlock()
	f.closed = true
	return f.file.Close()
}

func openFolder(dir string) (*folder, error) {
	path := filepath.Join(dir, folderName)
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return &folder{path: path, file: os.NewFile(uintptr(fd), path)}, nil
}

// makeFolder makes it; a user of its own can come through, and write nothing.
func makeFolder(dir string, uid int) (*folder, error) {
	path := filepath.Join(dir, folderName)
	if err := os.Mkdir(path, 0o700); err != nil {
		return nil, err
	}
	if err := give(path, uid, 0o710); err != nil {
		return nil, err
	}
	return openFolder(dir)
}

// overlayRoom is where QEMU keeps what guests write and is discarded: files without a name. It is the
// only folder that QEMU can write in.
const overlayRoom = "overlay"

func (f *folder) makeRoom(uid int) error {
	err := os.Mkdir(f.short(overlayRoom), 0o700)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err == nil && uid != 0 {
		err = os.Lchown(f.short(overlayRoom), uid, uid)
	}
	return err
}

// give lets the group of a user at something.
func give(path string, uid int, mode fs.FileMode) error {
	if uid == 0 {
		return nil
	}
	if err := os.Lchown(path, -1, uid); err != nil {
		return err
	}
	return os.Chmod(path, mode)
}

func (f *folder) short(name string) string {
	return "/proc/self/fd/" + strconv.Itoa(int(f.file.Fd())) + "/" + name
}

// listen makes a socket on which QEMU will listen.
func (f *folder) listen(name string) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make socket %q: %w", name, err)
	}
	s := os.NewFile(uintptr(fd), name)
	err = unix.Bind(fd, &unix.SockaddrUnix{Name: f.short(name)})
	if err == nil {
		err = os.Chmod(f.short(name), 0o600)
	}
	if err == nil {
		err = unix.Listen(fd, 1)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen on %q: %w", filepath.Join(f.path, name), err), s.Close())
	}
	return s, nil
}

func (f *folder) dial(ctx context.Context, name string) (net.Conn, error) {
	f.dialling.RLock()
	defer f.dialling.RUnlock()
	if f.closed {
		return nil, fmt.Errorf("connect to %q of the guest: %w", name, net.ErrClosed)
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", f.short(name))
	if err != nil {
		return nil, fmt.Errorf("connect to %q of the guest: %w", name, err)
	}
	return conn, nil
}

// Endings of the names of a pair of pipes, which QEMU adds by itself, as seen from it.
const (
	inEnding  = ".in"
	outEnding = ".out"
)

// Pipe is the host's side of a port with the channel Pipes. Reading ends with the guest.
type Pipe struct {
	from, to *os.File
}

// makePipe makes a pair of pipes; first is what the guest reads before anything else.
func (f *folder) makePipe(name string, uid int, first []byte) (*Pipe, error) {
	for _, ending := range []string{inEnding, outEnding} {
		if err := unix.Mkfifo(f.short(name+ending), 0o600); err != nil {
			return nil, &os.PathError{Op: "mkfifo", Path: filepath.Join(f.path, name+ending), Err: err}
		}
		if err := give(f.short(name+ending), uid, 0o660); err != nil {
			return nil, err
		}
	}
	p, err := f.joinPipe(name)
	if err != nil {
		return nil, err
	}
	if _, err := p.to.Write(first); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

func (f *folder) joinPipe(name string) (*Pipe, error) {
	from, err := openPipe(f.short(name+outEnding), os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	to, err := openPipe(f.short(name+inEnding), os.O_RDWR) // stands, whether QEMU is there or not
	if err != nil {
		return nil, errors.Join(err, from.Close())
	}
	return &Pipe{from, to}, nil
}

func openPipe(name string, flag int) (*os.File, error) {
	f, err := os.OpenFile(name, flag|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Mode()&fs.ModeNamedPipe == 0 {
		err = fmt.Errorf("%q is no pipe", name)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if raw, err := f.SyscallConn(); err == nil && flag == os.O_RDONLY { // else it stays at the default
		_ = raw.Control(func(fd uintptr) { _, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, outlive.LogPipe) })
	}
	return f, nil
}

// Read reads what the guest wrote; io.EOF once the guest is gone.
func (p *Pipe) Read(data []byte) (int, error) { return p.from.Read(data) }

// Write gives the guest something to read.
func (p *Pipe) Write(data []byte) (int, error) { return p.to.Write(data) }

// SetReadDeadline bounds how long Read waits, as net.Conn's does.
func (p *Pipe) SetReadDeadline(t time.Time) error { return p.from.SetReadDeadline(t) }

// Close closes the host's side; the guest doesn't notice.
func (p *Pipe) Close() error { return errors.Join(p.from.Close(), p.to.Close()) }
