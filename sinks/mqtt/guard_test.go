package mqtt

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// inboundCase is what a broker sends: what the client library sees of it, what is heard, what is wrong.
type inboundCase struct {
	bytes []byte
	seen  []byte // nil: all
	heard []heard
	want  string
}

func message(topic, payload string) []byte {
	p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	p.TopicName, p.Payload = topic, []byte(payload)
	var b bytes.Buffer
	if err := p.Write(&b); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func inboundCases() map[string]inboundCase {
	long, nothing := strings.Repeat("x", 100_000), []byte{}
	ack := []byte{0x40, 2, 0, 1}
	return map[string]inboundCase{
		"nothing":                       {bytes: nil},
		"an accepted connection":        {bytes: []byte{0x20, 2, 0, 0}},
		"a refused connection":          {bytes: []byte{0x20, 2, 0, 5}},
		"an acknowledgement":            {bytes: ack},
		"a ping answer":                 {bytes: []byte{0xd0, 0}},
		"several":                       {bytes: []byte{0x20, 2, 0, 0, 0x40, 2, 0, 1, 0xd0, 0, 0xd0, 0, 0x40, 2, 255, 255}},
		"half of one":                   {bytes: []byte{0x20, 2, 0}},
		"a subscription granted":        {bytes: []byte{0x90, 3, 0, 1, 0}},
		"a subscription refused":        {bytes: []byte{0x90, 3, 0, 1, 0x80}},
		"a message":                     {bytes: message("a/b", "online"), seen: nothing, heard: []heard{{"a/b", "online"}}},
		"an empty message":              {bytes: message("a/b", ""), seen: nothing, heard: []heard{{"a/b", ""}}},
		"a message between others":      {bytes: slices.Concat(ack, message("a", "b"), ack), seen: slices.Concat(ack, ack), heard: []heard{{"a", "b"}}},
		"a long message":                {bytes: slices.Concat(message("a", long), ack), seen: ack, heard: []heard{{"a", long[:64]}}},
		"a long topic":                  {bytes: slices.Concat(message(long[:60000], "b"), ack), seen: ack},
		"a retained message":            {bytes: []byte{0x31, 4, 0, 1, 'a', 'b'}, seen: nothing, heard: []heard{{"a", "b"}}},
		"half of a message":             {bytes: []byte{0x30, 200, 1, 0, 1, 'a'}, seen: nothing},
		"a refusal code that is none":   {bytes: []byte{0x20, 2, 0, 6}, want: "unknown code 6"},
		"a grant that is none":          {bytes: []byte{0x90, 3, 0, 1, 2}, want: "unknown code 2"},
		"grants for several":            {bytes: []byte{0x90, 4, 0, 1, 0, 0}, want: "with length 4 instead of 3"},
		"a message with QoS 1":          {bytes: []byte{0x32, 6, 0, 1, 'a', 0, 1, 'b'}, want: "message with QoS 1"},
		"a message sent again":          {bytes: []byte{0x38, 4, 0, 1, 'a', 'b'}, want: "message with QoS 0, which nobody asked for"},
		"a message without a topic":     {bytes: []byte{0x30, 1, 0}, want: "cannot have a topic"},
		"a message with an empty topic": {bytes: []byte{0x30, 3, 0, 0, 'b'}, want: "topic of 0 bytes"},
		"a topic longer than all":       {bytes: []byte{0x30, 4, 255, 255, 'a', 'b'}, want: "topic of 65535 bytes"},
		"a length without an end":       {bytes: []byte{0x30, 255, 255, 255, 255, 1}, want: "longer than"},
		"another protocol":              {bytes: []byte("HTTP/1.1 400 Bad Request\r\n"), want: "with length 84 instead of 2"},
		"a quarter of a gigabyte":       {bytes: []byte{0x40, 0xff, 0xff, 0xff, 0x7f}, want: "with length 255 instead of 2"},
		"a ping answer with a body":     {bytes: []byte{0xd0, 1, 0}, want: "with length 1 instead of 0"},
		"an acknowledgement of nothing": {bytes: []byte{0x40, 0}, want: "with length 0 instead of 2"},
	}
}

func TestInboundLetsOnlyExpectedPacketsIn(t *testing.T) {
	for name, c := range inboundCases() {
		for _, size := range []int{1, 3, 7, max(len(c.bytes), 1)} {
			t.Run(fmt.Sprintf("%s, %d bytes at a time", name, size), func(t *testing.T) {
				var got []heard
				i := inbound{hear: func(h heard) { got = append(got, h) }}
				var seen []byte
				var err error
				for p := range slices.Chunk(c.bytes, size) {
					if seen, err = i.inspect(seen, p); err != nil {
						break
					}
				}
				check(t, err, c.want)
				want := c.seen
				if want == nil {
					want = c.bytes
				}
				if c.want == "" && !bytes.Equal(seen, want) {
					t.Errorf("the client library sees %x, want %x", seen, want)
				}
				if !slices.Equal(got, c.heard) {
					t.Errorf("heard %.100q, want %.100q", got, c.heard)
				}
				if cap(i.text) > 4096 {
					t.Errorf("%d bytes are kept", cap(i.text))
				}
			})
		}
	}
}

func TestWhoSubscribesToNothingGetsNothing(t *testing.T) {
	for _, b := range [][]byte{message("a", "b"), {0x90, 3, 0, 1, 0}} {
		var i inbound
		_, err := i.inspect(nil, b)
		check(t, err, fmt.Sprintf("unexpected packet of kind %d", b[0]>>4))
	}
}

func check(t *testing.T, err error, want string) {
	t.Helper()
	if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
		t.Errorf("error %v, want %q", err, want)
	}
}

// What the guard lets in, the client library reads without trouble.
func FuzzInbound(f *testing.F) {
	for _, c := range inboundCases() {
		f.Add(c.bytes)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		i := inbound{hear: func(h heard) {
			if h.topic == "" || len(h.topic) > maxHeardTopic || len(h.payload) > maxHeard {
				t.Fatalf("%x: heard %+v", b, h)
			}
		}}
		seen, err := i.inspect(nil, b)
		if err != nil || len(i.head) > 0 {
			return
		}
		for r := bytes.NewReader(seen); r.Len() > 0; {
			packet, err := packets.ReadPacket(r)
			if err != nil {
				t.Fatalf("%x: %v", b, err)
			}
			switch p := packet.(type) {
			case *packets.ConnackPacket:
				if p.ReturnCode > maxConnack {
					t.Fatalf("%x: return code %d", b, p.ReturnCode)
				}
			case *packets.SubackPacket:
				if len(p.ReturnCodes) != 1 {
					t.Fatalf("%x: return codes %d", b, p.ReturnCodes)
				}
			case *packets.PublishPacket:
				t.Fatalf("%x: a message", b)
			}
		}
	})
}

func TestGuardNeverReportsTheLibrarysOwnClosing(t *testing.T) {
	here, there := net.Pipe()
	defer there.Close()
	var ended error
	g := &guard{Conn: here, raw: here, ended: func(err error) { ended = err }}
	here.Close()
	g.fail(net.ErrClosed)
	if _, err := g.Read(make([]byte, 1)); !errors.Is(err, errClosedHere) {
		t.Errorf("read: %v, want %v", err, errClosedHere)
	}
	if !errors.Is(ended, errClosedHere) {
		t.Errorf("ended by %v", ended)
	}
}

func TestRefusedCredentialsAreTriedSlowly(t *testing.T) {
	k := &keeper{sink: &Sink{}}
	quick, slow := k.backoff(errClosedByBroker), k.backoff(packets.ErrorRefusedNotAuthorised)
	if d := quick.Delay(1, 0); d != 250*time.Millisecond {
		t.Errorf("first wait %v", d)
	}
	if d := quick.Delay(100, 0); d != 30*time.Second {
		t.Errorf("longest wait %v", d)
	}
	if d := slow.Delay(1, 0); d != 5*time.Second {
		t.Errorf("first wait after a refusal %v", d)
	}
	if d := slow.Delay(100, 0); d != time.Minute {
		t.Errorf("longest wait after a refusal %v", d)
	}
}
