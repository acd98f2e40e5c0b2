package habits

import (
	"bufio"
	"crypto/md5" // what digest is made of (RFC 2617)
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
)

// Request is one that a viewer sent.
type Request struct {
	Method string
	URL    string
	Header http.Header
	First  string // the name of the first header
}

// readRequest reads a request, or skips what the viewer sends between them.
func readRequest(r *bufio.Reader) (*Request, error) {
	for {
		begin, err := r.Peek(4)
		if err != nil {
			return nil, err
		}
		if begin[0] != '$' {
			break
		}
		if _, err := r.Discard(4 + int(begin[2])<<8 + int(begin[3])); err != nil {
			return nil, err
		}
	}
	line, err := r.ReadString('\n')
	if err != nil {
		return nil, err
	}
	words := strings.Fields(line)
	if len(words) != 3 {
		return &Request{}, nil // an answer to one of the camera's own, or nonsense
	}
	out := &Request{Method: words[0], URL: words[1], Header: http.Header{}}
	for {
		if line, err = r.ReadString('\n'); err != nil {
			return nil, err
		}
		if line = strings.TrimRight(line, "\r\n"); line == "" {
			break
		}
		key, value, _ := strings.Cut(line, ":")
		if out.First == "" {
			out.First = key
		}
		out.Header.Add(key, strings.TrimSpace(value))
	}
	length, _ := strconv.Atoi(out.Header.Get("Content-Length"))
	_, err = io.CopyN(io.Discard, r, int64(length))
	if strings.HasPrefix(out.Method, "RTSP/") {
		return &Request{}, err
	}
	return out, err
}

func md5Hex(text string) string {
	sum := md5.Sum([]byte(text))
	return hex.EncodeToString(sum[:])
}

var parameter = regexp.MustCompile(`(\w+)=(?:"([^"]*)"|([^",\s]*))`)

// digest tells whether a request proves the password with a nonce (RFC 2617 §3.2.2).
func digest(req *Request, nonce string) bool {
	text, ok := strings.CutPrefix(req.Header.Get("Authorization"), "Digest ")
	if !ok {
		return false
	}
	p := map[string]string{}
	for _, m := range parameter.FindAllStringSubmatch(text, -1) {
		p[m[1]] = m[2] + m[3]
	}
	want := md5Hex(md5Hex(Username+":"+p["realm"]+":"+Password) + ":" + nonce + ":" + md5Hex(req.Method+":"+p["uri"]))
	return p["nonce"] == nonce && p["response"] == want
}

func basic(req *Request) bool {
	return req.Header.Get("Authorization") == "Basic "+base64.StdEncoding.EncodeToString([]byte(Username+":"+Password))
}

// complete puts right what belongs to one conversation: the number, and a length that notes in a file
// have changed.
func complete(answer, cseq string) string {
	head, body, _ := strings.Cut(strings.ReplaceAll(answer, "\r\n", "\n"), "\n\n")
	body = strings.ReplaceAll(body, "\n", "\r\n")
	var out strings.Builder
	for i, line := range strings.Split(strings.TrimRight(head, "\n"), "\n") {
		key, _, _ := strings.Cut(strings.ToLower(line), ":")
		if i > 0 && (key == "cseq" || key == "content-length" || strings.HasSuffix(key, "notes")) {
			continue
		}
		out.WriteString(line + "\r\n")
	}
	fmt.Fprintf(&out, "CSeq: %s\r\n", cseq)
	if len(body) > 0 {
		fmt.Fprintf(&out, "Content-Length: %d\r\n", len(body))
	}
	out.WriteString("\r\n" + body)
	return out.String()
}
