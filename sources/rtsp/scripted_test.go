package rtsp_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/pion/rtp"

	"sightline/pipeline"
	"sightline/sources"
	"sightline/sources/rtsp"
)

// scripted is a camera that answers what real ones were seen to answer. An answer that is not scripted
// is an ordinary one. After PLAY it sends pictures of the first codec in its description that there is.
type scripted struct {
	answers map[base.Method][]byte // as sent, but for CSeq and Content-Length
	raw     bool                   // answers are sent as they are, and silence ends the connection
	once    map[base.Method][]byte // given to the first request instead
	silent  bool                   // no pictures
	hangUp  bool                   // ends the connection after what is given once
	packets [][]byte               // RTP packets to send instead of made pictures

	address  string
	ended    chan struct{} // gets one for each connection that has ended
	mu       sync.Mutex
	requests []*base.Request
}

const plainSDP = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n" +
	"a=fmtp:96 packetization-mode=1\r\na=control:trackID=1\r\n"

func describeAnswer(sdp string) []byte {
	return []byte("RTSP/1.0 200 OK\r\nContent-Type: application/sdp\r\n\r\n" + sdp)
}

var ordinary = map[base.Method][]byte{
	base.Options:      []byte("RTSP/1.0 200 OK\r\nPublic: OPTIONS, DESCRIBE, SETUP, TEARDOWN, PLAY\r\n\r\n"),
	base.Describe:     describeAnswer(plainSDP),
	base.Setup:        []byte("RTSP/1.0 200 OK\r\nSession: 7\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n"),
	base.Play:         []byte("RTSP/1.0 200 OK\r\nSession: 7\r\n\r\n"),
	base.GetParameter: []byte("RTSP/1.0 200 OK\r\nSession: 7\r\n\r\n"),
	base.Teardown:     []byte("RTSP/1.0 200 OK\r\n\r\n"),
}

func (s *scripted) start(t testing.TB) sources.RTSP {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.address, s.ended = listener.Addr().String(), make(chan struct{}, 64)
	var workers sync.WaitGroup
	workers.Add(1)
	go func() {
		defer workers.Done()
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			workers.Add(1)
			go func() {
				defer workers.Done()
				defer conn.Close()
				s.serve(conn)
				s.ended <- struct{}{}
			}()
		}
	}()
	t.Cleanup(func() { listener.Close(); workers.Wait() })
	return sources.RTSP{URL: "rtsp://" + s.address + "/stream", Transport: rtsp.TransportTCP, Stall: 3 * time.Second}
}

func (s *scripted) serve(conn net.Conn) {
	reader := bufio.NewReader(conn)
	for {
		if s.raw {
			_ = conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		}
		if b, err := reader.Peek(1); err != nil {
			return
		} else if b[0] == '$' {
			if new(base.InterleavedFrame).Unmarshal(reader) != nil {
				return
			}
			continue
		}
		var req base.Request
		if req.Unmarshal(reader) != nil {
			return
		}
		if _, err := conn.Write(s.answer(&req)); err != nil {
			return
		}
		if s.hangUp && s.once[req.Method] != nil && len(s.seen(req.Method)) == 1 {
			return
		}
		if req.Method == base.Play && !s.silent {
			if s.sendPictures(conn) != nil {
				return
			}
		}
	}
}

func (s *scripted) answer(req *base.Request) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := true
	for _, r := range s.requests {
		first = first && r.Method != req.Method
	}
	s.requests = append(s.requests, req)
	answer, ok := s.answers[req.Method]
	if once, there := s.once[req.Method]; there && first {
		answer, ok = once, true
	}
	if ok && s.raw {
		return answer
	}
	if !ok {
		answer = ordinary[req.Method]
	}
	if answer == nil {
		answer = []byte("RTSP/1.0 501 Not Implemented\r\n\r\n")
	}
	return complete(answer, req.Header["CSeq"][0])
}

// complete puts right what belongs to one conversation: the number, and a length that notes in a file
// have changed.
func complete(answer []byte, cseq string) []byte {
	head, body, _ := bytes.Cut(bytes.ReplaceAll(answer, []byte("\r\n"), []byte("\n")), []byte("\n\n"))
	body = bytes.ReplaceAll(body, []byte("\n"), []byte("\r\n"))
	var out bytes.Buffer
	for i, line := range strings.Split(strings.TrimRight(string(head), "\n"), "\n") {
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
	out.WriteString("\r\n")
	out.Write(body)
	return out.Bytes()
}

// seen returns the requests of a method.
func (s *scripted) seen(m base.Method) []*base.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*base.Request
	for _, r := range s.requests {
		if r.Method == m {
			out = append(out, r)
		}
	}
	return out
}

// rtpmap finds tracks that can be chosen in a description, whatever else is in it.
var rtpmap = regexp.MustCompile(`(?s)\nm=video .*?a=rtpmap: *(\d+) (H26[45])/90000`)

// video finds in a description what a source will choose.
func video(answer []byte) (pipeline.Codec, uint8, bool) {
	found := rtpmap.FindSubmatch(bytes.ReplaceAll(answer, []byte("\r"), nil))
	if found == nil {
		return "", 0, false
	}
	payloadType, err := strconv.ParseUint(string(found[1]), 10, 7)
	return pipeline.Codec(strings.ToLower(string(found[2]))), uint8(payloadType), err == nil
}

func (s *scripted) sendPictures(conn io.Writer) error {
	if s.packets != nil {
		for _, p := range s.packets {
			if err := sendFrame(conn, p); err != nil {
				return err
			}
		}
		return nil
	}
	describe, ok := s.answers[base.Describe]
	if !ok {
		describe = ordinary[base.Describe]
	}
	codec, payloadType, ok := video(describe)
	if !ok {
		return s.sendJPEG(conn)
	}
	encode := encoder(codec, payloadType)
	return s.send(conn, func(n uint32) ([]*rtp.Packet, error) { return encode(makePicture(codec, n, 3000)) })
}

// sendJPEG sends what gortsplib takes for pictures (RFC 2435 §3.1), for cameras that offer nothing else.
func (s *scripted) sendJPEG(conn io.Writer) error {
	return s.send(conn, func(uint32) ([]*rtp.Packet, error) {
		payload := append([]byte{0, 0, 0, 0, 1, 50, 8, 8}, bytes.Repeat([]byte{0x55}, 100)...)
		return []*rtp.Packet{{Header: rtp.Header{Version: 2, PayloadType: 26, Marker: true, SSRC: 1}, Payload: payload}}, nil
	})
}

func (s *scripted) send(conn io.Writer, packetise func(n uint32) ([]*rtp.Packet, error)) error {
	for n := range uint32(2 * gop) {
		packets, err := packetise(n)
		if err != nil {
			return err
		}
		for _, p := range packets {
			p.Timestamp = n * 3000
			raw, err := p.Marshal()
			if err != nil {
				return err
			}
			if err := sendFrame(conn, raw); err != nil {
				return err
			}
		}
	}
	return nil
}

func sendFrame(conn io.Writer, packet []byte) error {
	frame := binary.BigEndian.AppendUint16([]byte{'$', 0}, uint16(len(packet)))
	_, err := conn.Write(append(frame, packet...))
	return err
}

func encoder(codec pipeline.Codec, payloadType uint8) func([][]byte) ([]*rtp.Packet, error) {
	if codec == pipeline.H265 {
		if e, err := (&format.H265{PayloadTyp: payloadType}).CreateEncoder(); err == nil {
			return e.Encode
		}
	}
	e, err := (&format.H264{PayloadTyp: payloadType, PacketizationMode: 1}).CreateEncoder()
	if err != nil {
		panic(err)
	}
	return e.Encode
}

func TestKeepAliveAsTheCameraOffersIt(t *testing.T) {
	for public, want := range map[string]base.Method{
		"OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER, TEARDOWN": base.GetParameter,
		"OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN":                base.Options,
	} {
		t.Run(string(want), func(t *testing.T) {
			t.Parallel()
			s := &scripted{silent: true, answers: map[base.Method][]byte{
				base.Options: []byte("RTSP/1.0 200 OK\r\nPublic: " + public + "\r\n\r\n"),
				base.Setup:   []byte("RTSP/1.0 200 OK\r\nSession: 7;timeout=1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n"),
			}}
			config := s.start(t)
			env, _ := environment(&network{})
			_, err := tryReceive(t, &rtsp.Source{Config: config}, env, atLeast(1))
			mustContain(t, err, "no packet for 3s")
			alive := s.seen(want)
			if want == base.Options {
				alive = alive[1:]
			}
			if len(alive) < 2 {
				t.Fatalf("%d signs of life by %s in three seconds of a session that ends after one", len(alive), want)
			}
			if session := alive[0].Header["Session"]; len(session) != 1 || session[0] != "7" {
				t.Errorf("they are for session %q", session)
			}
			<-s.ended
			if len(s.seen(base.Teardown)) != 1 {
				t.Error("it left without TEARDOWN")
			}
		})
	}
}

func TestRedirects(t *testing.T) {
	other := &scripted{}
	otherConfig := other.start(t)
	moved := func(to string) []byte { return []byte("RTSP/1.0 302 Found\r\nLocation: " + to + "\r\n\r\n") }

	s := &scripted{}
	config := s.start(t)
	s.once = map[base.Method][]byte{base.Describe: moved("rtsp://" + s.address + "/other")}
	env, _ := environment(&network{})
	receive(t, &rtsp.Source{Config: config}, env, atLeast(2))
	if d := s.seen(base.Describe); len(d) != 2 || d[1].URL.Path != "/other" {
		t.Errorf("a redirect within the camera was not followed: %v", d)
	}

	s = &scripted{answers: map[base.Method][]byte{base.Describe: moved(otherConfig.URL)}}
	config = s.start(t)
	env, _ = environment(&granted{address: s.address})
	_, err := tryReceive(t, &rtsp.Source{Config: config}, env, atLeast(1))
	mustContain(t, err, "not granted", "only connect to the camera")
	if !pipeline.IsPermanent(err) || len(other.seen(base.Options)) != 0 {
		t.Errorf("a redirect to another host was followed: %v", err)
	}

	s = &scripted{}
	config = s.start(t)
	s.answers = map[base.Method][]byte{base.Describe: moved(config.URL)}
	env, _ = environment(&network{})
	_, err = tryReceive(t, &rtsp.Source{Config: config}, env, atLeast(1))
	mustContain(t, err, "redirects in a circle")
}

// granted is a network with one address.
type granted struct {
	network
	address string
}

func (g *granted) Dial(ctx context.Context, kind, address string) (net.Conn, error) {
	if address != g.address {
		return nil, fmt.Errorf("dial %s: %w", address, pipeline.ErrNotGranted)
	}
	return g.network.Dial(ctx, kind, address)
}

func TestCameraThatSpeaksNonsense(t *testing.T) {
	track := func(control string) []byte {
		return describeAnswer(strings.Replace(plainSDP, "trackID=1", control, 1))
	}
	for name, test := range map[string]struct {
		answers map[base.Method][]byte
		says    string
	}{
		"a track without an address":    {map[base.Method][]byte{base.Describe: track("track#1")}, "makes no address"},
		"another track without one":     {map[base.Method][]byte{base.Describe: track("%zz")}, "makes no address"},
		"no description":                {map[base.Method][]byte{base.Describe: []byte("RTSP/1.0 200 OK\r\n\r\n")}, "Content-Type"},
		"a web page":                    {map[base.Method][]byte{base.Describe: []byte("RTSP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n<html>")}, "text/html"},
		"a description of nothing":      {map[base.Method][]byte{base.Describe: describeAnswer("v=0\r\n")}, "SDP"},
		"no session":                    {map[base.Method][]byte{base.Setup: []byte("RTSP/1.0 200 OK\r\n\r\n")}, "transport header"},
		"channels that are not a pair":  {map[base.Method][]byte{base.Setup: []byte("RTSP/1.0 200 OK\r\nTransport: RTP/AVP/TCP;interleaved=0-7\r\n\r\n")}, "interleaved"},
		"too many viewers":              {map[base.Method][]byte{base.Setup: []byte("RTSP/1.0 453 Not Enough Bandwidth\r\n\r\n")}, "too many viewers"},
		"a kind of authentication":      {map[base.Method][]byte{base.Describe: []byte("RTSP/1.0 401 Unauthorized\r\nWWW-Authenticate: Negotiate\r\n\r\n")}, "other than basic and digest"},
		"a forbidden stream":            {map[base.Method][]byte{base.Describe: []byte("RTSP/1.0 403 Forbidden\r\n\r\n")}, "may not see"},
		"an answer with escape codes":   {map[base.Method][]byte{base.Play: []byte("RTSP/1.0 500 \x1b[31mred\x07\r\n\r\n")}, "500"},
		"no answer to what it promised": {map[base.Method][]byte{base.Play: []byte("RTSP/1.0 454 Session Not Found\r\n\r\n")}, "454"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &scripted{answers: test.answers, silent: true}
			config := s.start(t)
			config.Username, config.Password = "viewer", pipeline.NewSecret("Geheim#@/")
			env, logged := environment(&network{})
			_, err := tryReceive(t, &rtsp.Source{Config: config}, env, atLeast(1))
			mustContain(t, err, test.says)
			hidden(t, err.Error()+logged.String())
			if strings.ContainsAny(err.Error(), "\x1b\x07\n") {
				t.Errorf("%q would act on a terminal", err)
			}
		})
	}
}

// TestAutoTakesTCPFromACameraThatRefusesUDPInItsOwnWay answers SETUP in every way that was seen.
func TestAutoTakesTCPFromACameraThatRefusesUDPInItsOwnWay(t *testing.T) {
	for name, answer := range map[string]string{
		"not supported":  "RTSP/1.0 461 Unsupported Transport\r\n\r\n",
		"a bad request":  "RTSP/1.0 400 Bad Request\r\n\r\n",
		"its own fault":  "RTSP/1.0 500 Internal Server Error\r\n\r\n",
		"TCP instead":    "RTSP/1.0 200 OK\r\nSession: 7\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n",
		"multicast":      "RTSP/1.0 200 OK\r\nSession: 7\r\nTransport: RTP/AVP;multicast;destination=239.1.1.1;port=5000-5001\r\n\r\n",
		"no transport":   "RTSP/1.0 200 OK\r\nSession: 7\r\n\r\n",
		"something else": "HTTP/1.1 200 OK\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &scripted{once: map[base.Method][]byte{base.Setup: []byte(answer)}, hangUp: name == "something else"}
			config := s.start(t)
			config.Transport = rtsp.TransportAuto
			env, logged := environment(&network{})
			receive(t, &rtsp.Source{Config: config}, env, atLeast(2))
			if !strings.Contains(logged.String(), "trying TCP") {
				t.Errorf("log does not tell of TCP:\n%s", logged)
			}
			asked := s.seen(base.Setup)
			if first := asked[0].Header["Transport"][0]; !strings.HasPrefix(first, "RTP/AVP;unicast;client_port=") {
				t.Errorf("UDP was asked for by %q", first)
			}
		})
	}
}

func TestBasicPasswordIsSentAsItIs(t *testing.T) {
	s := &scripted{once: map[base.Method][]byte{
		base.Describe: []byte("RTSP/1.0 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"camera\"\r\n\r\n"),
	}}
	config := s.start(t)
	config.Username, config.Password = "viewer", pipeline.NewSecret("a:b#c@d/e%f")
	env, _ := environment(&network{})
	receive(t, &rtsp.Source{Config: config}, env, atLeast(2))
	for _, m := range []base.Method{base.Describe, base.Setup, base.Play} {
		all := s.seen(m)
		last := all[len(all)-1]
		if got, want := last.Header["Authorization"][0], "Basic dmlld2VyOmE6YiNjQGQvZSVm"; got != want {
			t.Errorf("%s: %q, want %q", m, got, want)
		}
		if strings.Contains(last.URL.String(), "viewer") {
			t.Errorf("%s %s shows the user", m, last.URL)
		}
	}
}

func unquote(t *testing.T, line string) []byte {
	t.Helper()
	inner := line[strings.IndexByte(line, '(')+1 : strings.LastIndexByte(line, ')')]
	text, err := strconv.Unquote(inner)
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return []byte(text)
}
