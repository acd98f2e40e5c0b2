package rtsp_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/pion/rtp"

	"sightline/pipeline"
	"sightline/sources"
	"sightline/sources/rtsp"
	"sightline/sources/sim/habits"
)

// scripted is a camera of package habits that answers what real ones were seen to answer. An answer that
// is not scripted is an ordinary one. After PLAY it sends pictures of the first codec in its description
// that there is.
type scripted struct {
	answers map[base.Method][]byte // as sent, but for CSeq and Content-Length
	raw     bool                   // answers are sent as they are, and silence ends the connection
	once    map[base.Method][]byte // given to the first request instead
	silent  bool                   // no pictures
	hangUp  bool                   // ends the connection after what is given once
	packets [][]byte               // RTP packets to send instead of made pictures

	*habits.Camera
}

const plainSDP = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n" +
	"a=fmtp:96 packetization-mode=1\r\na=control:trackID=1\r\n"

func describeAnswer(sdp string) []byte {
	return []byte("RTSP/1.0 200 OK\r\nContent-Type: application/sdp\r\n\r\n" + sdp)
}

func (s *scripted) start(t testing.TB) sources.RTSP {
	t.Helper()
	habit := habits.Habit{Raw: s.raw, Answers: map[string][]string{}}
	habit.Media.Silent = s.silent
	for m, answer := range s.answers {
		habit.Answers[string(m)] = []string{string(answer)}
	}
	for m, answer := range s.once {
		habit.Answers[string(m)] = []string{string(answer), string(s.answers[m])}
		if s.hangUp {
			habit.HangUp = string(m)
		}
	}
	s.Camera = &habits.Camera{Habit: habit, Packets: s.pictures(t)}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return sources.RTSP{URL: s.URL(), Transport: rtsp.TransportTCP, Stall: 3 * time.Second}
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

// pictures are the packets that fit the description.
func (s *scripted) pictures(t testing.TB) (out [][]byte) {
	if s.packets != nil {
		return s.packets
	}
	description, ok := s.answers[base.Describe]
	if !ok {
		description = describeAnswer(plainSDP)
	}
	codec, payloadType, ok := video(description)
	encode := jpeg
	if ok {
		packets := encoder(codec, payloadType)
		encode = func(n uint32) ([]*rtp.Packet, error) { return packets(makePicture(codec, n, 3000)) }
	}
	for n := range uint32(2 * gop) {
		packets, err := encode(n)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range packets {
			p.Timestamp = n * 3000
			raw, err := p.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, raw)
		}
	}
	return out
}

// jpeg makes what gortsplib takes for a picture (RFC 2435 §3.1), for cameras that offer nothing else.
func jpeg(uint32) ([]*rtp.Packet, error) {
	payload := append([]byte{0, 0, 0, 0, 1, 50, 8, 8}, bytes.Repeat([]byte{0x55}, 100)...)
	return []*rtp.Packet{{Header: rtp.Header{Version: 2, PayloadType: 26, Marker: true, SSRC: 1}, Payload: payload}}, nil
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
			alive := s.Seen(string(want))
			if want == base.Options {
				alive = alive[1:]
			}
			if len(alive) < 2 {
				t.Fatalf("%d signs of life by %s in three seconds of a session that ends after one", len(alive), want)
			}
			if session := alive[0].Header["Session"]; len(session) != 1 || session[0] != "7" {
				t.Errorf("they are for session %q", session)
			}
			<-s.Ended
			if len(s.Seen("TEARDOWN")) != 1 {
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
	s.Habit.Answers["DESCRIBE"] = []string{string(moved("rtsp://" + s.Address() + "/other")), ""}
	env, _ := environment(&network{})
	receive(t, &rtsp.Source{Config: config}, env, atLeast(2))
	if d := s.Seen("DESCRIBE"); len(d) != 2 || !strings.HasSuffix(d[1].URL, "/other") {
		t.Errorf("a redirect within the camera was not followed: %v", d)
	}

	s = &scripted{answers: map[base.Method][]byte{base.Describe: moved(otherConfig.URL)}}
	config = s.start(t)
	env, _ = environment(&granted{address: s.Address()})
	_, err := tryReceive(t, &rtsp.Source{Config: config}, env, atLeast(1))
	mustContain(t, err, "not granted", "only connect to the camera")
	if !pipeline.IsPermanent(err) || len(other.Seen("OPTIONS")) != 0 {
		t.Errorf("a redirect to another host was followed: %v", err)
	}

	s = &scripted{}
	config = s.start(t)
	s.Habit.Answers["DESCRIBE"] = []string{string(moved(config.URL))}
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
			asked := s.Seen("SETUP")
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
		all := s.Seen(string(m))
		last := all[len(all)-1]
		if got, want := last.Header["Authorization"][0], "Basic dmlld2VyOmE6YiNjQGQvZSVm"; got != want {
			t.Errorf("%s: %q, want %q", m, got, want)
		}
		if strings.Contains(last.URL, "viewer") {
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
