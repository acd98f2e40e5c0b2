package habits

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// challenge returns an answer to a request that does not prove who asks, empty when it does.
func (v *visit) challenge(req *Request) string {
	a := v.camera.Habit.Auth
	scheme := a.Scheme
	if v.number > 0 && a.Then != "" {
		scheme = a.Then
	}
	if scheme == "" {
		return ""
	}
	if scheme == "basic" {
		if basic(req) {
			return ""
		}
		return "RTSP/1.0 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"camera\"\r\n\r\n"
	}
	if digest(req, v.nonce()) {
		v.accepted++
		return ""
	}
	if scheme == "digest" {
		scheme = `Digest realm="camera", nonce="${nonce}"`
	}
	if a.Stale && v.accepted > 0 {
		scheme += ", stale=true"
	}
	return "RTSP/1.0 401 Unauthorized\r\nWWW-Authenticate: " + strings.ReplaceAll(scheme, "${nonce}", v.nonce()) + "\r\n\r\n"
}

// nonce is what a digest is made with now.
func (v *visit) nonce() string {
	turn := 0
	if every := v.camera.Habit.Auth.Every; every > 0 {
		turn = v.accepted / every
	}
	return md5Hex(fmt.Sprint("nonce", v.number, turn))
}

// options is RTSP's (RFC 2326 §10.1), not HTTP's.
const options = "OPTIONS"

// NoAnswer in Habit.Answers means that the camera says nothing.
const NoAnswer = "-"

const ordinarySDP = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 ${codec}/90000\r\n" +
	"${fmtp}a=control:trackID=1\r\n"

func (v *visit) answer(req *Request, nth int) string {
	h := &v.camera.Habit
	if list := h.Answers[req.Method]; len(list) > 0 {
		if text := list[min(nth, len(list)-1)]; text != "" {
			return v.fill(text, req)
		}
	}
	switch req.Method {
	case options:
		return "RTSP/1.0 200 OK\r\nPublic: OPTIONS, DESCRIBE, SETUP, TEARDOWN, PLAY\r\n\r\n"
	case "DESCRIBE":
		sdp := h.SDP
		if sdp == "" {
			sdp = ordinarySDP
		}
		return "RTSP/1.0 200 OK\r\nContent-Type: application/sdp\r\n\r\n" + v.fill(sdp, req)
	case "SETUP":
		return "RTSP/1.0 200 OK\r\nSession: 7\r\nTransport: " + v.stream.transport() + "\r\n\r\n"
	case "PLAY", "GET_PARAMETER":
		return "RTSP/1.0 200 OK\r\nSession: 7\r\n\r\n"
	case "TEARDOWN":
		return "RTSP/1.0 200 OK\r\n\r\n"
	}
	return "RTSP/1.0 501 Not Implemented\r\n\r\n"
}

// fill replaces what a file cannot know.
func (v *visit) fill(text string, req *Request) string {
	if !strings.Contains(text, "${") {
		return text
	}
	c := v.camera
	transport := ""
	if v.stream != nil {
		transport = v.stream.transport()
	}
	codec, fmtp := strings.ToUpper(string(c.clip.codec)), ""
	if c.Habit.Media.Sets != "in_band" {
		fmtp = "a=fmtp:96 " + c.parameters() + "\r\n"
	}
	pairs := []string{
		"${url}", c.URL(), "${address}", c.Address(), "${cseq}", req.Header.Get("CSeq"), "${transport}", transport,
		"${codec}", codec, "${fmtp}", fmtp, "${sets}", c.encoded(""), "${annexb}", c.encoded("\x00\x00\x00\x01"),
		"${large}", strings.Repeat("x", 4000),
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// parameters is the fmtp of the clip (RFC 6184 §8.1, RFC 7798 §7.1).
func (c *Camera) parameters() string {
	code := ""
	if c.Habit.Media.Sets == "start_codes" {
		code = "\x00\x00\x00\x01"
	}
	sets := strings.Split(c.encoded(code), ",")
	if len(sets) == 3 {
		return fmt.Sprintf("sprop-vps=%s;sprop-sps=%s;sprop-pps=%s", sets[0], sets[1], sets[2])
	}
	return "packetization-mode=1;sprop-parameter-sets=" + strings.Join(sets, ",")
}

// encoded returns the parameter sets in base 64, each behind a start code.
func (c *Camera) encoded(code string) string {
	var out []string
	for _, s := range c.clip.sets {
		out = append(out, base64.StdEncoding.EncodeToString(append([]byte(code), s...)))
	}
	return strings.Join(out, ",")
}

// clientPort reads where a viewer wants its packets, 0 when it wants them interleaved.
func clientPort(transport string) (int, error) {
	_, rest, ok := strings.Cut(transport, "client_port=")
	if !ok {
		return 0, errors.New("none")
	}
	first, _, _ := strings.Cut(rest, "-")
	return strconv.Atoi(first)
}
