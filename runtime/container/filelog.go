package container

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// fileLog is a log that is read from the file that Podman keeps it in. When the file has its full
// size, another one takes its place.
type fileLog struct {
	to   io.Writer
	path string
	note *os.File

	file  *os.File // nil until there is one
	inode uint64
	next  int64 // where in the file goes on what was not handed over
	begun []byte
}

var _ log = (*fileLog)(nil)

const (
	lookTime = 100 * time.Millisecond // how often the file is looked at
	maxLine  = 8 << 10                // bytes; longer lines are cut in several
	noteSize = 24                     // inode, place in the file, and the two xored
)

func openFileLog(to io.Writer, path string, note *os.File) (*fileLog, error) {
	l := &fileLog{to: to, path: path, note: note}
	data := make([]byte, noteSize)
	if _, err := note.ReadAt(data, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read note of the log: %w", err)
	}
	if inode, next := word(data, 0), word(data, 1); inode^next == word(data, 2) && int64(next) >= 0 {
		l.inode, l.next = inode, int64(next)
	}
	return l, nil
}

func (l *fileLog) close() error {
	if l.file != nil {
		return errors.Join(l.file.Close(), l.note.Close())
	}
	return l.note.Close()
}

func (l *fileLog) follow(ctx context.Context) {
	ticks := time.NewTicker(lookTime)
	defer ticks.Stop()
	for {
		l.look()
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
	}
}

func (l *fileLog) rest(context.Context) {
	l.look()
	l.handOver(nil)
}

// look hands over what is new in the file, and in the one that has taken its place. What can't be read
// is not there: it is looked for again.
func (l *fileLog) look() {
	for {
		inode, err := inodeOf(l.path)
		if l.file != nil {
			l.read() // after looking, so that nothing comes to an old file any more
		}
		if err != nil || l.file != nil && inode == l.inode {
			return
		}
		l.handOver(nil)
		if !l.open() {
			return
		}
	}
}

func inodeOf(path string) (uint64, error) {
	var info unix.Stat_t
	if err := unix.Lstat(path, &info); err != nil {
		return 0, &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	return info.Ino, nil
}

// open opens the file that is there, where the one before was left if it is the same.
func (l *fileLog) open() bool {
	f, err := os.OpenFile(l.path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return false
	}
	var info unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &info); err != nil || info.Mode&unix.S_IFMT != unix.S_IFREG {
		f.Close()
		return false
	}
	if l.file != nil {
		l.file.Close()
	}
	if info.Ino != l.inode || info.Size < l.next {
		l.inode, l.next = info.Ino, 0
	}
	l.file = f
	return true
}

// read hands over the whole lines that are there.
func (l *fileLog) read() {
	lines := bufio.NewReaderSize(io.NewSectionReader(l.file, l.next, 1<<62-l.next), 64<<10)
	at := l.next
	l.begun = l.begun[:0] // is read again
	for {
		line, err := lines.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
		at += int64(len(line))
		text, whole := parseFileLine(line)
		l.begun = append(l.begun, text...)
		if whole || len(l.begun) >= maxLine {
			l.handOver(&at)
		}
	}
}

// handOver hands over the line that was begun, and notes where the next one begins.
func (l *fileLog) handOver(next *int64) {
	if len(l.begun) > 0 || next != nil {
		_, _ = l.to.Write(append(l.begun, '\n')) // what it refuses is lost: a box is not to stall because of its log
	}
	l.begun = l.begun[:0]
	if next == nil {
		return
	}
	l.next = *next
	var data [noteSize]byte
	for i, w := range []uint64{l.inode, uint64(l.next), l.inode ^ uint64(l.next)} {
		binary.LittleEndian.PutUint64(data[8*i:], w)
	}
	_, _ = l.note.WriteAt(data[:], 0) // without it, the next supervisor reads some lines again
}

// parseFileLine cuts a line of the log format of Kubernetes' container runtime interface: the time,
// the stream, F for a whole line or P for a part of one, and the text. Other lines are text.
func parseFileLine(line []byte) (text []byte, whole bool) {
	text = bytes.TrimSuffix(line, []byte("\n"))
	whole = len(text) < len(line)
	parts := bytes.SplitN(text, []byte(" "), 4)
	if len(parts) < 4 {
		return text, whole
	}
	if _, err := time.Parse(time.RFC3339Nano, string(parts[0])); err != nil {
		return text, whole
	}
	return parts[3], whole && string(parts[2]) != "P"
}
