package rtsp

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/auth"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/headers"

	"sightline/sources"
)

// challenged gives a session with credentials an answer of 401.
func challenged(digestBefore bool, values ...string) (*session, *base.Response) {
	u, err := base.ParseURL("rtsp://192.0.2.1/stream")
	if err != nil {
		panic(err)
	}
	u.User = url.UserPassword("viewer", "kennwort")
	c := newSession(sources.RTSP{}, environment("192.0.2.1:554"), &target{url: u, credentials: true}, false)
	c.digest = digestBefore
	res := &base.Response{StatusCode: base.StatusUnauthorized, Header: base.Header{"WWW-Authenticate": values}}
	c.onUnauthorized(res)
	return c, res
}

// authorization is what the session shows for a challenge.
func authorization(c *session) string {
	req := &base.Request{Method: base.Describe, URL: c.target.url, Header: base.Header{}}
	c.quirks.authorize(req)
	return strings.Join(req.Header["Authorization"], "")
}

func TestChallenges(t *testing.T) {
	for _, test := range []struct {
		name   string
		values []string
		before bool   // a digest was asked for earlier
		shows  string // the begin of what is answered
	}{
		{"digest", []string{`Digest realm="a", nonce="b"`}, false, `Digest username="viewer", realm="a", nonce="b"`},
		{"digest in capitals, without blanks", []string{`DIGEST REALM="a, b",nonce = "c" ,qop="auth",stale="FALSE"`}, false, `Digest username="viewer", realm="a, b", nonce="c"`},
		{"both: never the readable one", []string{`Basic realm="a"`, `Digest realm="a", nonce="b"`}, false, "Digest "},
		{"both, the other way round", []string{`Digest realm="a", nonce="b"`, `Basic realm="a"`}, false, "Digest "},
		{"basic alone", []string{`basic realm=a`}, false, "Basic "},
		{"basic after a digest", []string{`Basic realm="a"`}, true, ""},
		{"a digest that is broken, and basic: not basic either", []string{`Digest realm="a"`, `Basic realm="a"`}, false, ""},
		{"another kind", []string{"NTLM"}, false, ""},
		{"nothing", nil, false, ""},
	} {
		c, res := challenged(test.before, test.values...)
		if got := authorization(c); !strings.HasPrefix(got, test.shows) || test.shows == "" && got != "" {
			t.Errorf("%s: %q, want %q", test.name, got, test.shows)
		}
		// What the client makes of the same answer must not show more.
		client := &auth.Sender{WWWAuth: res.Header["WWW-Authenticate"], User: "viewer", Pass: "kennwort"}
		if client.Initialize() == nil && test.shows == "" {
			t.Errorf("%s: the client would answer %q", test.name, res.Header["WWW-Authenticate"])
		}
	}
}

// FuzzChallenge: whatever is asked, a password that was hidden before is not shown, and a digest is
// preferred.
func FuzzChallenge(f *testing.F) {
	f.Add(true, `Digest realm="a", nonce="b", stale=true`, `Basic realm="a"`)
	f.Add(false, `DIGEST realm="Login, to",qop="auth",nonce=x`, "NTLM")
	f.Fuzz(func(t *testing.T, before bool, one, two string) {
		c, res := challenged(before, one, two)
		shown := authorization(c)
		if strings.HasPrefix(shown, "Basic ") && c.digest {
			t.Fatalf("%q and %q are answered %q", one, two, shown)
		}
		client := &auth.Sender{WWWAuth: res.Header["WWW-Authenticate"], User: "viewer", Pass: "kennwort"}
		if client.Initialize() != nil {
			return
		}
		req := &base.Request{Method: base.Describe, URL: c.target.url}
		client.AddAuthorization(req)
		if c.digest && strings.HasPrefix(req.Header["Authorization"][0], "Basic ") {
			t.Fatalf("%q and %q: the client answers with the password itself", one, two)
		}
	})
}

func TestSessions(t *testing.T) {
	for sent, want := range map[string]string{
		"7": "7", "7;timeout=60": "7;timeout=30", " 7 ; Timeout = \"20\"": "7;timeout=10", "7;timeout=1": "7;timeout=1",
		"7;timeout=-1": "7", "7;timeout=x": "7", "7;timeout=18446744073709551615": "7", "7;timeout=4294967295": "7;timeout=30",
		"7;timeout=0": "7", "": "", ";timeout=5": "", "7;foo;timeout=8;timeout=9": "7;timeout=4",
	} {
		res := &base.Response{Header: base.Header{"Session": base.HeaderValue{sent, "other"}}}
		mendSession(res)
		if got := strings.Join(res.Header["Session"], ""); got != want {
			t.Errorf("%q becomes %q, want %q", sent, got, want)
		}
	}
}

// FuzzHeaders: what is left of Session and Transport is what the client reads, or it is refused; a
// timeout never makes signs of life come without a pause, or hardly ever.
func FuzzHeaders(f *testing.F) {
	f.Add("7;timeout=60", "RTP/AVP/TCP;unicast;interleaved=0-1")
	f.Add("x;timeout=-1", "rtp/avp;multicast;destination=239.0.0.1;port=5000-5001;ttl=2;mode=\"PLAY\"")
	f.Fuzz(func(t *testing.T, id, transport string) {
		res := &base.Response{StatusCode: base.StatusOK, Header: base.Header{"Session": {id}, "Transport": {transport}}}
		mendSession(res)
		mendTransport(res, false)
		if all := res.Header["Session"]; len(all) > 0 {
			var s headers.Session
			if err := s.Unmarshal(all); err != nil {
				t.Fatalf("session %q becomes %q: %v", id, all, err)
			}
			if s.Timeout != nil && (*s.Timeout < 1 || *s.Timeout > maxTimeout) {
				t.Fatalf("session %q: a timeout of %d", id, *s.Timeout)
			}
		}
		var parsed headers.Transport
		if parsed.Unmarshal(res.Header["Transport"]) == nil && (parsed.Source != nil || parsed.Destination != nil) {
			t.Fatalf("transport %q becomes %q", transport, res.Header["Transport"])
		}
		mendDescription(res)
	})
}

// FuzzPackets gives packets of any content to all that reads them before the client does.
func FuzzPackets(f *testing.F) {
	f.Add(false, []byte{0x80, 0x60, 0, 1, 0, 0, 0, 1, 0, 0, 0, 7, 0x65})
	f.Add(true, []byte{0x80, 200, 0, 6, 0, 0, 0, 7, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, isReport bool, packet []byte) {
		var k sourceKeeper
		var r reception
		sent := bytes.Clone(packet)
		first := k.keep(packet, isReport)
		if !first || !bytes.Equal(sent, packet) {
			t.Fatal("the first packet is not as it was")
		}
		passed := 0
		for i := range uint32(2 * strangers) {
			if len(packet) >= 12 {
				binary.BigEndian.PutUint32(packet[8:], i/strangers+100)
			}
			if k.keep(packet, isReport) {
				passed++
			}
		}
		if passed == 0 {
			t.Fatal("a camera with a new source is never seen again")
		}
		if len(packet) >= 12 && !isRTCP(packet) {
			r.count(packet, time.Now())
		} else if isRTCP(packet) {
			r.note(packet, time.Now())
		}
		if _, err := r.report(time.Now()).Marshal(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestSingleStrangersAreNotTheCamera(t *testing.T) {
	var k sourceKeeper
	packet := func(source uint32) bool {
		b := make([]byte, 12)
		binary.BigEndian.PutUint32(b[8:], source)
		kept := k.keep(b, false)
		if kept && binary.BigEndian.Uint32(b[8:]) != 1 {
			t.Errorf("source %d is passed on as %d", source, binary.BigEndian.Uint32(b[8:]))
		}
		return kept
	}
	for range 100 {
		if !packet(1) || packet(2) || packet(3) {
			t.Fatal("strangers are mixed in")
		}
	}
	n := 0
	for range strangers {
		if packet(4) {
			n++
		}
	}
	if n != 1 || !packet(4) || packet(1) {
		t.Errorf("a new source is taken after %d", n)
	}
}

// TestTheCameraIsAnsweredAtAnyTime: also when the client has said nothing for longer than it may take to
// say something.
func TestTheCameraIsAnsweredAtAnyTime(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	if err := near.SetWriteDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	conn := newMendedConn(near)
	go func() { _, _ = conn.Read(make([]byte, 100)) }()
	if _, err := far.Write([]byte("OPTIONS * RTSP/1.0\r\nCSeq: 9\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 100)
	n, err := far.Read(answer)
	if want := "RTSP/1.0 200 OK\r\nCSeq: 9\r\n\r\n"; err != nil || string(answer[:n]) != want {
		t.Errorf("%q, %v; want %q", answer[:n], err, want)
	}
}
