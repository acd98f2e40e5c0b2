package outlive

import (
	"bufio"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// maxLine is the longest line of a log, in bytes; longer ones are cut in several.
const maxLine = 8 << 10

// LogPipe is how much a box can print, in bytes, while no supervisor is there to read.
const LogPipe = 1 << 20

// MakeLog makes a pipe with a name for the log of a box. The box holds the writer, open for both
// ways, so that the pipe stands when the reader is gone.
func MakeLog(name string) (reader, writer *os.File, err error) {
	if err := unix.Mkfifo(name, 0o600); err != nil {
		return nil, nil, &os.PathError{Op: "mkfifo", Path: name, Err: err}
	}
	fd, err := unix.Open(name, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, LogPipe) // else it stays at the default
	writer = os.NewFile(uintptr(fd), name)
	reader, err = JoinLog(name)
	if err != nil {
		return nil, nil, errors.Join(err, writer.Close())
	}
	return reader, writer, nil
}

// JoinLog opens the pipe of a log for reading; it doesn't wait for a writer.
func JoinLog(name string) (*os.File, error) {
	return os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
}

// CopyLines hands what comes from r to w line by line, each ended by a newline, until r ends. What w
// refuses is lost: a box is not to stall because of its log.
func CopyLines(w io.Writer, r io.Reader) {
	lines := bufio.NewReaderSize(r, maxLine)
	for {
		line, err := lines.ReadSlice('\n')
		if len(line) > 0 {
			if line[len(line)-1] != '\n' {
				line = append(append(make([]byte, 0, len(line)+1), line...), '\n')
			}
			_, _ = w.Write(line)
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}
