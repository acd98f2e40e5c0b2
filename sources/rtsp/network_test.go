package rtsp

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/pion/rtcp"

	"sightline/pipeline"
)

func TestReorder(t *testing.T) {
	begin := time.Now()
	for _, test := range []struct {
		name string
		sent []int // sequence numbers, 10 ms apart; -1 is a pause of 100 ms
		want []int
		drop []int
	}{
		{"in order", []int{1, 2, 3}, []int{1, 2, 3}, nil},
		{"turned around", []int{1, 3, 2, 4}, []int{1, 2, 3, 4}, nil},
		{"far turned around", []int{1, 5, 4, 3, 2, 6}, []int{1, 2, 3, 4, 5, 6}, nil},
		{"doubles", []int{1, 1, 2, 4, 4, 3, 2}, []int{1, 2, 3, 4}, []int{1, 4, 2}},
		{"one is lost: not waited for long", []int{1, 3, 4, 5, 6, 7, 8, 9}, []int{1, 3, 4, 5, 6, 7, 8, 9}, nil},
		{"one is lost, and nothing follows", []int{1, 3, -1}, []int{1, 3}, nil},
		{"two are lost", []int{1, 3, 5, -1, -1, 6}, []int{1, 3, 5, 6}, nil},
		{"late after it was given up", []int{1, 3, -1, 2, 4}, []int{1, 3, 4}, []int{2}},
		{"wraps around", []int{65534, 0, 65535, 1}, []int{65534, 65535, 0, 1}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got, dropped []int
			r := reorder{
				emit: func(d *datagram) { got = append(got, int(d.sequence)) },
				drop: func(d *datagram) { dropped = append(dropped, int(d.sequence)) },
			}
			now := begin
			for _, n := range test.sent {
				if n < 0 {
					now = now.Add(100 * time.Millisecond)
				} else {
					now = now.Add(10 * time.Millisecond)
					r.push(&datagram{sequence: uint16(n), at: now})
				}
				r.expire(now)
				if due := r.due(); !due.IsZero() && due.Before(now) {
					t.Errorf("after %d it holds what was due %v ago", n, now.Sub(due))
				}
			}
			if !slices.Equal(got, test.want) || !slices.Equal(dropped, test.drop) {
				t.Errorf("%v, dropped %v; want %v, dropped %v", got, dropped, test.want, test.drop)
			}
		})
	}
}

func TestReorderOfACameraThatCountsAnew(t *testing.T) {
	got := 0
	r := reorder{emit: func(*datagram) { got++ }, drop: func(*datagram) {}}
	now := time.Now()
	for n := range 100 {
		r.push(&datagram{sequence: uint16(30000 + n), at: now})
	}
	for n := range 200 {
		r.push(&datagram{sequence: uint16(n), at: now})
	}
	if want := 100 + 200 - maxLate; got != want {
		t.Errorf("%d packets come through, want %d", got, want)
	}
	for n := range 2 * maxHeld {
		r.push(&datagram{sequence: uint16(1000 + n), at: now})
	}
	if len(r.held) > maxHeld {
		t.Errorf("%d packets are held", len(r.held))
	}
}

// FuzzReorder: whatever comes, packets leave in growing order (but for a new beginning), each at most
// once, and not more are held than allowed.
func FuzzReorder(f *testing.F) {
	f.Add([]byte{1, 3, 2, 4, 4, 0, 200})
	f.Fuzz(func(t *testing.T, steps []byte) {
		in, out := 0, 0
		r := reorder{emit: func(*datagram) { out++ }, drop: func(*datagram) { out++ }}
		now := time.Now()
		sequence := uint16(65500)
		for _, s := range steps {
			now = now.Add(time.Duration(s&7) * time.Millisecond)
			sequence += uint16(int8(s))
			in++
			r.push(&datagram{sequence: sequence, at: now})
			r.expire(now)
			if len(r.held) > maxHeld || in != out+len(r.held) {
				t.Fatalf("%d in, %d out, %d held", in, out, len(r.held))
			}
		}
		r.expire(now.Add(time.Second))
		if len(r.held) != 0 {
			t.Fatalf("%d are held after a second", len(r.held))
		}
	})
}

func TestReceiverReport(t *testing.T) {
	begin := time.Now()
	packet := func(sequence uint16, timestamp uint32) []byte {
		b := make([]byte, 12)
		b[0] = 0x80
		binary.BigEndian.PutUint16(b[2:], sequence)
		binary.BigEndian.PutUint32(b[4:], timestamp)
		binary.BigEndian.PutUint32(b[8:], 77)
		return b
	}
	var r reception
	if got := r.report(begin); len(got.Reports) != 0 || got.SSRC == 0 {
		t.Errorf("before the first packet: %+v", got)
	}
	for i, sequence := range []uint16{65533, 65534, 65535, 1, 2} { // 0 is lost
		r.count(packet(sequence, uint32(3000*i)), begin.Add(time.Duration(i)*time.Second/30))
	}
	sr, err := (&rtcp.SenderReport{SSRC: 77, NTPTime: 0x1122334455667788}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	r.note(sr, begin)
	got := r.report(begin.Add(2 * time.Second)).Reports[0]
	want := rtcp.ReceptionReport{
		SSRC: 77, LastSequenceNumber: 1<<16 | 2, TotalLost: 1, FractionLost: 256 / 6, Jitter: got.Jitter,
		LastSenderReport: 0x33445566, Delay: 2 * 65536,
	}
	if got != want || got.Jitter > 30 {
		t.Errorf("report %+v, want %+v", got, want)
	}
	if again := r.report(begin).Reports[0]; again.FractionLost != 0 || again.TotalLost != 1 {
		t.Errorf("the next report says %+v", again)
	}
}

// messages are what cameras send, and what the client is given.
var messages = []struct{ sent, given string }{
	{"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n", "RTSP/1.0 200 OK\r\ncseq: 1\r\n\r\n"},
	{"RTSP/1.0 200 OK\r\ncseq:1\r\nX-Own: x\r\ncontent-length : 4\r\n\r\nv=0\n", "RTSP/1.0 200 OK\r\ncseq: 1\r\ncontent-length: 4\r\n\r\nv=0\n"},
	{"RTSP/1.0 200\nCSeq: 1\nSession: 7;\n timeout=60\nSession: 8\n\n", "RTSP/1.0 200 -\r\ncseq: 1\r\nsession: 7; timeout=60\r\n\r\n"},
	{"RTSP/2.0 454 Session Not Found\r\nno colon\r\nPublic: " + strings.Repeat("x", maxValue+1) + "\r\n\r\n", "RTSP/1.0 454 Session Not Found\r\n\r\n"},
	{"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n", ""},
	{"SET_PARAMETER rtsp://x/ RTSP/1.0\r\nCSeq: 2\r\nContent-Length: 3\r\n\r\nabc", ""},
	{"ANNOUNCE rtsp://x/ RTSP/1.0\r\nCSeq: 3\r\n\r\n", ""},
	{"$\x01\x00\x03abc", "$\x01\x00\x03abc"},
	{"\r\ngarbage $ with $a dollar\x00", ""},
	{"$\x00\x00\x04\x80abc", "$\x00\x00\x04\x80abc"},
}

func newMender(sent string) (*mender, *strings.Builder) {
	replies, frames := &strings.Builder{}, &atomic.Bool{}
	frames.Store(true)
	return &mender{
		reader: bufio.NewReaderSize(strings.NewReader(sent), 16), frames: frames,
		reply: func(p []byte) { replies.Write(p) },
	}, replies
}

func TestMessagesAreMended(t *testing.T) {
	var sent strings.Builder
	for _, m := range messages {
		sent.WriteString(m.sent)
	}
	mender, replies := newMender(sent.String())
	for _, m := range messages {
		if m.given == "" {
			continue
		}
		got, err := mender.next()
		if err != nil || string(got) != m.given {
			t.Errorf("%q, %v; want %q", got, err, m.given)
		}
	}
	if _, err := mender.next(); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
	want := "RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\nRTSP/1.0 200 OK\r\nCSeq: 2\r\n\r\nRTSP/1.0 501 Not Implemented\r\nCSeq: 3\r\n\r\n"
	if replies.String() != want {
		t.Errorf("the camera is answered %q, want %q", replies, want)
	}
	for _, bad := range []struct {
		sent string
		err  error
	}{
		{"RTSP/1.0 200 OK\r\nContent-Length: 9999999\r\n\r\n", errMessage},
		{"RTSP/1.0 200 OK\r\n" + strings.Repeat("a: b\r\n", 1<<15), errMessage},
		{"RTSP/1.0 200 OK\r\na: " + strings.Repeat("b", maxHeader), errMessage},
		{"SET_PARAMETER x RTSP/1.0\r\nContent-Length: 9999999\r\n\r\n", errMessage},
		{strings.Repeat("\r\n", maxGarbage), errGarbage},
		{"HTTP/1.1 400 Bad Request\r\n\r\n", errWeb},
		{"RTSP/1.0 200 OK\r\nContent-Length: 9\r\n\r\nv=0", io.ErrUnexpectedEOF},
	} {
		mender, _ := newMender(bad.sent)
		if _, err := mender.next(); !errors.Is(err, bad.err) {
			t.Errorf("%.40q of %d bytes: %v, want %v", bad.sent, len(bad.sent), err, bad.err)
		}
	}
}

// FuzzMessage: nothing that a camera sends makes it fall over, and what comes out is right: it would not
// be changed again.
func FuzzMessage(f *testing.F) {
	for _, m := range messages {
		f.Add([]byte(m.sent))
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		first, _ := newMender(string(sent))
		var given [][]byte
		for {
			m, err := first.next()
			if err != nil {
				break
			}
			given = append(given, bytes.Clone(m))
		}
		again, replies := newMender(string(bytes.Join(given, nil)))
		for i, want := range given {
			if got, err := again.next(); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("message %d, %q, becomes %q, %v", i, want, got, err)
			}
		}
		if replies.Len() > 0 {
			t.Fatalf("a request came through: %q", replies)
		}
	})
}

func TestTheNumberIsTheFirstHeader(t *testing.T) {
	for sent, want := range map[string]string{
		"PLAY x RTSP/1.0\r\nAccept: a\r\nCSeq: 3\r\nUser-Agent: y\r\n\r\n": "PLAY x RTSP/1.0\r\nCSeq: 3\r\nAccept: a\r\nUser-Agent: y\r\n\r\n",
		"PLAY x RTSP/1.0\r\nCSeq: 3\r\n\r\n":                               "PLAY x RTSP/1.0\r\nCSeq: 3\r\n\r\n",
		"RTSP/1.0 200 OK\r\n\r\n":                                          "RTSP/1.0 200 OK\r\n\r\n",
	} {
		if got := string(numberFirst([]byte(sent))); got != want {
			t.Errorf("%q becomes %q, want %q", sent, got, want)
		}
	}
}

func TestSourceOfTransportIsNotLookedUp(t *testing.T) {
	for sent, want := range map[string]string{
		"RTP/AVP;unicast;source=192.168.1.9;server_port=5000-5001":     "RTP/AVP;unicast;server_port=5000-5001",
		"RTP/AVP/UDP;unicast; Source=camera.invalid;client_port=1-2":   "RTP/AVP/UDP;unicast",
		"rtp/avp/tcp;unicast;interleaved=0-1;ssrc= d6d6627;mode=\"x\"": "RTP/AVP/TCP;unicast;interleaved=0-1",
		"RTP/AVP/TCP;unicast": "RTP/AVP/TCP;unicast;interleaved=0-1",
	} {
		res := &base.Response{Header: base.Header{"Transport": base.HeaderValue{sent}}, StatusCode: base.StatusOK}
		mendTransport(res, false)
		if got := res.Header["Transport"][0]; got != want {
			t.Errorf("%q becomes %q, want %q", sent, got, want)
		}
	}
}

func TestANameThatNobodyKnowsIsToldWithTheWayOut(t *testing.T) {
	err := fmt.Errorf("describe: %w", &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "gate.example.com", IsNotFound: true}})
	got := (&session{}).explain(err)
	if !strings.Contains(got.Error(), "gate.example.com") || !strings.Contains(got.Error(), "write the IP address") || pipeline.IsPermanent(got) {
		t.Errorf("%v", got)
	}
}

func TestErrorsAreOneLineAndShort(t *testing.T) {
	got := printable("bad\r\n\x1b[31mthing " + strings.Repeat("é", maxErrorText))
	if strings.ContainsAny(got, "\r\n\x1b") || len(got) > maxErrorText+40 || !strings.HasPrefix(got, "bad") {
		t.Errorf("%q", got)
	}
}
