package rtsp

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strconv"
)

const (
	maxHeader = 64 << 10
	maxBody   = 1 << 20
)

var errMessage = errors.New("the camera's answer is larger than any description")

// readMessage reads one RTSP request or answer (RFC 2326 §4), or one interleaved frame, without
// understanding it.
func readMessage(r *bufio.Reader) ([]byte, error) {
	begin, err := r.Peek(1)
	if err != nil {
		return nil, err
	}
	if begin[0] == '$' {
		return readFrame(r)
	}
	var message []byte
	length := 0
	for {
		start := len(message)
		if message, err = readLine(r, message); err != nil {
			return nil, err
		}
		line := message[start:]
		if n, ok := contentLength(line); ok {
			length = n
		}
		if len(bytes.TrimSpace(line)) == 0 {
			break
		}
	}
	if length > maxBody {
		return nil, errMessage
	}
	return readRest(r, message, length)
}

// readLine appends the next line to message.
func readLine(r *bufio.Reader, message []byte) ([]byte, error) {
	for {
		part, err := r.ReadSlice('\n')
		if message = append(message, part...); len(message) > maxHeader {
			return nil, errMessage
		}
		if err == nil || !errors.Is(err, bufio.ErrBufferFull) {
			return message, err
		}
	}
}

func readFrame(r *bufio.Reader) ([]byte, error) {
	header, err := r.Peek(4)
	if err != nil {
		return nil, err
	}
	return readRest(r, nil, 4+int(header[2])<<8+int(header[3]))
}

func readRest(r io.Reader, message []byte, n int) ([]byte, error) {
	at := len(message)
	message = append(message, make([]byte, n)...)
	_, err := io.ReadFull(r, message[at:])
	return message, err
}

func contentLength(line []byte) (int, bool) {
	key, value, ok := bytes.Cut(line, []byte(":"))
	if !ok || !bytes.EqualFold(bytes.TrimSpace(key), []byte("content-length")) {
		return 0, false
	}
	n, err := strconv.ParseUint(string(bytes.TrimSpace(value)), 10, 31)
	return int(n), err == nil
}
