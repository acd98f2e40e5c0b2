package rtsp

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
)

// What a camera may send at most.
const (
	maxHeader  = 64 << 10  // bytes of all headers of a message
	maxValue   = 2000      // of one header; longer ones are left out
	maxBody    = 128 << 10 // of a description
	maxGarbage = 1 << 20   // between two messages
)

var (
	errMessage = errors.New("the camera's answer is larger than any description")
	errGarbage = errors.New("the camera sends what is not RTSP")
	errWeb     = errors.New("a web server answers at this port: give the port of RTSP, which is 554 with most cameras")
)

// kept are the headers that mean something to the client. Cameras send more, and write some of that in
// ways that the client stumbles over.
func kept(key string) bool {
	return slices.Contains([]string{
		"cseq", "session", "transport", "content-type", "content-base", "location", "www-authenticate", "public", "keymgmt", "server",
	}, key)
}

// mender reads what a camera sends, and gives it as RFC 2326 wants it: each answer or interleaved frame
// whole, without what is between them, and without requests of the camera, which it answers itself.
type mender struct {
	reader *bufio.Reader
	reply  func([]byte) // sends an answer to the camera
	frames *atomic.Bool // whether interleaved frames are wanted
	source sourceKeeper // of the media
	buffer []byte       // the last frame
	lost   bool         // in the middle of garbage
}

// next returns the next answer or frame, which is valid until the next call.
func (m *mender) next() ([]byte, error) {
	for skipped := 0; ; skipped++ {
		begin, err := m.reader.Peek(2)
		if err != nil {
			return nil, err
		}
		var message []byte
		switch {
		case begin[0] == '$' && m.plausible():
			message, err = m.frame()
			skipped = 0
		case begin[0] == 'R' && begin[1] == 'T', begin[0] == 'H' && begin[1] == 'T':
			message, err = m.answer()
		case isMethod(begin):
			err = m.request()
		default:
			m.lost = true
			_, err = m.reader.Discard(1)
		}
		if err != nil || message != nil {
			m.lost = false
			return message, err
		}
		if skipped > maxGarbage {
			return nil, errGarbage
		}
	}
}

// isMethod tells whether a request may begin so.
func isMethod(begin []byte) bool {
	switch string(begin) {
	case "AN", "DE", "GE", "OP", "PA", "PL", "RE", "SE", "TE":
		return true
	}
	return false
}

// plausible tells whether a frame begins. In the middle of garbage a dollar sign is not enough: what it
// carries must look like RTP or RTCP of version 2.
func (m *mender) plausible() bool {
	if !m.lost {
		return true
	}
	header, err := m.reader.Peek(5)
	return err == nil && header[1] < 16 && header[4]>>6 == 2
}

// frame returns nil for one that is not wanted: some cameras begin before they have answered PLAY, or go
// on with what was asked for over the connection before.
func (m *mender) frame() ([]byte, error) {
	header, err := m.reader.Peek(4)
	if err != nil {
		return nil, err
	}
	size := 4 + int(header[2])<<8 + int(header[3])
	if !m.frames.Load() {
		_, err := m.reader.Discard(size)
		return nil, err
	}
	m.buffer = slices.Grow(m.buffer[:0], size)[:size]
	if _, err := io.ReadFull(m.reader, m.buffer); err != nil {
		return nil, err
	}
	if !m.source.keep(m.buffer[4:], m.buffer[1]%2 != 0) {
		return nil, nil
	}
	return m.buffer, nil
}

// answer returns nil for a line that is none.
func (m *mender) answer() ([]byte, error) {
	lines, err := readHead(m.reader)
	if err != nil {
		return nil, err
	}
	words := strings.Fields(lines[0])
	if len(words) > 0 && strings.HasPrefix(words[0], "HTTP/") {
		return nil, errWeb
	}
	if len(words) < 2 || !strings.HasPrefix(words[0], "RTSP/") {
		return nil, nil
	}
	code, err := strconv.ParseUint(words[1], 10, 10)
	if err != nil {
		return nil, fmt.Errorf("the camera answers %.64q, which is no status", lines[0])
	}
	reason := strings.Join(words[2:], " ")
	if reason == "" {
		reason = "-"
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, "RTSP/1.0 %d %.200s\r\n", code, reason)
	return m.body(&out, lines[1:])
}

// body appends headers and body of an answer.
func (m *mender) body(out *bytes.Buffer, lines []string) ([]byte, error) {
	length, seen := 0, map[string]int{}
	for _, line := range lines {
		key, value, ok := strings.Cut(line, ":")
		key, value = strings.ToLower(strings.TrimSpace(key)), strings.TrimSpace(value)
		if ok && key == "content-length" {
			length = decimal(value)
		}
		most := 1
		if key == "www-authenticate" {
			most = 8
		}
		if !ok || !kept(key) || len(value) > maxValue || seen[key] >= most {
			continue
		}
		seen[key]++
		out.WriteString(key + ": " + value + "\r\n")
	}
	if length > maxBody {
		return nil, errMessage
	}
	if length > 0 {
		fmt.Fprintf(out, "content-length: %d\r\n", length)
	}
	out.WriteString("\r\n")
	_, err := io.CopyN(out, m.reader, int64(length))
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return out.Bytes(), err
}

// request answers a request of the camera. OPTIONS and *_PARAMETER ask whether the viewer is still there.
func (m *mender) request() error {
	lines, err := readHead(m.reader)
	if err != nil {
		return err
	}
	words := strings.Fields(lines[0])
	if len(words) != 3 || !strings.HasPrefix(words[2], "RTSP/") {
		return nil
	}
	cseq, length := "", 0
	for _, line := range lines[1:] {
		key, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch {
		case strings.EqualFold(key, "CSeq"):
			cseq = "CSeq: " + strconv.Itoa(decimal(value)) + "\r\n"
		case strings.EqualFold(key, "Content-Length"):
			length = decimal(value)
		}
	}
	if length > maxBody {
		return errMessage
	}
	if _, err := m.reader.Discard(length); err != nil {
		return err
	}
	status := "501 Not Implemented"
	if words[0] == "OPTIONS" || strings.HasSuffix(words[0], "_PARAMETER") {
		status = "200 OK"
	}
	m.reply([]byte("RTSP/1.0 " + status + "\r\n" + cseq + "\r\n"))
	return nil
}

// decimal reads a number, however large; what is none is 0.
func decimal(text string) int {
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0
	}
	return int(n) // the largest, when it is out of range
}

// readHead reads the lines up to an empty one, which are broken as the camera likes it; a line that
// begins with a blank belongs to the one before. There is at least one.
func readHead(r *bufio.Reader) ([]string, error) {
	lines, size := []string{""}, 0
	for n := 0; ; n++ {
		var line []byte
		for {
			part, err := r.ReadSlice('\n')
			if size += len(part); size > maxHeader {
				return nil, errMessage
			}
			line = append(line, part...)
			if err == nil {
				break
			}
			if !errors.Is(err, bufio.ErrBufferFull) {
				return nil, err
			}
		}
		text := strings.TrimRight(string(line), "\r\n")
		switch blank := strings.HasPrefix(text, " ") || strings.HasPrefix(text, "\t"); {
		case n == 0:
			lines[0] = text
		case strings.TrimSpace(text) == "":
			return lines, nil
		case blank:
			lines[len(lines)-1] += text
		default:
			lines = append(lines, text)
		}
	}
}
