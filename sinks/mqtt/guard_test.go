package mqtt

import (
	"bytes"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

func inboundCases() map[string]struct {
	bytes []byte
	want  string
} {
	return map[string]struct {
		bytes []byte
		want  string
	}{
		"nothing":                       {nil, ""},
		"an accepted connection":        {[]byte{0x20, 2, 0, 0}, ""},
		"a refused connection":          {[]byte{0x20, 2, 0, 5}, ""},
		"an acknowledgement":            {[]byte{0x40, 2, 0, 1}, ""},
		"a ping answer":                 {[]byte{0xd0, 0}, ""},
		"several":                       {[]byte{0x20, 2, 0, 0, 0x40, 2, 0, 1, 0xd0, 0, 0xd0, 0, 0x40, 2, 255, 255}, ""},
		"half of one":                   {[]byte{0x20, 2, 0}, ""},
		"a refusal code that is none":   {[]byte{0x20, 2, 0, 6}, "unknown code 6"},
		"a message nobody asked for":    {[]byte{0x30, 200, 1}, "unexpected packet of kind 3"},
		"a subscription acknowledged":   {[]byte{0x90, 3, 0, 1, 0}, "unexpected packet of kind 9"},
		"another protocol":              {[]byte("HTTP/1.1 400 Bad Request\r\n"), "with length 84 instead of 2"},
		"a quarter of a gigabyte":       {[]byte{0x40, 0xff, 0xff, 0xff, 0x7f}, "with length 255 instead of 2"},
		"a ping answer with a body":     {[]byte{0xd0, 1, 0}, "with length 1 instead of 0"},
		"an acknowledgement of nothing": {[]byte{0x40, 0}, "with length 0 instead of 2"},
	}
}

func TestInboundLetsOnlyExpectedPacketsIn(t *testing.T) {
	for name, c := range inboundCases() {
		t.Run(name, func(t *testing.T) {
			var whole inbound
			check(t, whole.inspect(c.bytes), c.want)
			var single inbound
			var err error
			for i := 0; i < len(c.bytes) && err == nil; i++ {
				err = single.inspect(c.bytes[i : i+1])
			}
			check(t, err, c.want)
		})
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
		var i inbound
		if i.inspect(b) != nil || i.at != 0 {
			return
		}
		for r := bytes.NewReader(b); r.Len() > 0; {
			packet, err := packets.ReadPacket(r)
			if err != nil {
				t.Fatalf("%x: %v", b, err)
			}
			if ack, ok := packet.(*packets.ConnackPacket); ok && ack.ReturnCode > maxConnack {
				t.Fatalf("%x: return code %d", b, ack.ReturnCode)
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
