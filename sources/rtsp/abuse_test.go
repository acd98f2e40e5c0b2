package rtsp_test

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math/bits"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sightline/pipeline"
	"sightline/sources"
	"sightline/sources/nal"
	"sightline/sources/rtsp"
	"sightline/sources/sim/habits"
)

// golomb appends a number in Exp-Golomb to bits written as '0' and '1'.
func golomb(to string, v uint64) string {
	text := fmt.Sprintf("%b", v+1)
	return to + strings.Repeat("0", bits.Len64(v+1)-1) + text
}

func packBits(text string) (out []byte) {
	text += "1" + strings.Repeat("0", 7-len(text)%8)
	for i := 0; i+8 <= len(text); i += 8 {
		var b byte
		for _, c := range text[i : i+8] {
			b = b<<1 | byte(c-'0')
		}
		out = append(out, b)
	}
	return out
}

// giantH264 is an SPS of so many macroblocks each way (ITU-T H.264 §7.3.2.1.1).
func giantH264(across, down uint64) []byte {
	text := ""
	for _, v := range []uint64{0, 0, 2, 1} { // id, frame numbers, order, references
		text = golomb(text, v)
	}
	text = golomb(golomb(text+"0", across-1), down-1) + "1100"
	return append([]byte{0x67, 66, 0, 51}, packBits(text)...)
}

func TestGiantPicturesAreRefusedByTheirParameterSet(t *testing.T) {
	for _, test := range []struct {
		across, down uint64
		refused      bool
	}{{120, 68, false}, {512, 272, false}, {512, 273, true}, {1024, 1024, true}, {1 << 31, 1 << 31, true}} {
		err := nal.CheckSize(pipeline.H264, giantH264(test.across, test.down))
		if (err != nil) != test.refused {
			t.Errorf("%d×%d macroblocks: %v", test.across, test.down, err)
		}
	}
	if err := nal.CheckSize(pipeline.H264, []byte{0x67}); err != nil {
		t.Errorf("a set that cannot be read: %v", err)
	}
	if err := nal.CheckSize(pipeline.H265, h265SPS); err != nil {
		t.Errorf("full HD: %v", err)
	}
}

// media makes RTP packets of payloads, each with a timestamp of its own unless still is set.
func media(still bool, payloads ...[]byte) (out [][]byte) {
	for i, p := range payloads {
		stamp := uint32(i) * 3000
		if still {
			stamp = 0
		}
		header := binary.BigEndian.AppendUint16([]byte{0x80, 96}, uint16(i))
		out = append(out, append(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(header, stamp), 1), p...))
	}
	return out
}

func repeat(n int, payload []byte) (out [][]byte) {
	for range n {
		out = append(out, payload)
	}
	return out
}

// abuse is what a hostile camera does, and the words with which it is refused.
type abuse struct {
	name    string
	habit   habits.Habit
	packets func() [][]byte
	refused string
}

// raw is an answer to the first request, as it is.
func raw(answer string) habits.Habit {
	return habits.Habit{Raw: true, Answers: map[string][]string{"OPTIONS": {answer}}}
}

func described(sdp string) habits.Habit { return habits.Habit{SDP: sdp} }

func abuses() []abuse {
	const begin = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\n"
	fragment := append([]byte{0x7c, 0x05}, make([]byte, 60_000)...)
	return []abuse{
		{name: "a header without end", habit: raw("RTSP/1.0 200 OK\r\nServer: " + strings.Repeat("x", 4<<20)), refused: "larger than any description"},
		{name: "headers without end", habit: raw("RTSP/1.0 200 OK\r\n" + strings.Repeat("a: b\r\n", 1<<19)), refused: "larger than any description"},
		{name: "a status without end", habit: raw("RTSP/1.0 " + strings.Repeat("2", 1<<20)), refused: "larger than any description"},
		{name: "a body of 4 GiB", habit: raw("RTSP/1.0 200 OK\r\nContent-Length: 4294967296\r\n\r\n"), refused: "larger than any description"},
		{name: "a body of 2 GiB", habit: raw("RTSP/1.0 200 OK\r\nContent-Length: 2147483647\r\n\r\n"), refused: "larger than any description"},
		{name: "a description of 2 MiB", habit: described(begin + strings.Repeat("a=x\r\n", 1<<19)), refused: "larger than any description"},
		{name: "ten thousand tracks", habit: described(begin + strings.Repeat("m=audio 0 RTP/AVP 0\r\n", 6_000)), refused: "offers no video"},
		{name: "one long line", habit: described(begin + "m=video 0 RTP/AVP " + strings.Repeat("9", 120_000)), refused: "offers no video"},
		{name: "a thousand payload types", habit: described(begin + "m=video 0 RTP/AVP" + strings.Repeat(" 35", 1000) + "\r\n"), refused: "offers no video"},
		{name: "garbage without end", habit: raw(strings.Repeat("garbage\n", 1<<18)), refused: "what is not RTSP"},
		{name: "requests without end", habit: raw(strings.Repeat("OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n", 1<<10)), refused: "closed the connection"},
		{name: "answers to what was not asked", habit: raw(strings.Repeat("RTSP/1.0 200 OK\r\nCSeq: 77\r\n\r\n", 1<<12)), refused: "closed the connection"},
		{name: "a redirect in a circle", habit: habits.Habit{Answers: map[string][]string{"DESCRIBE": {"RTSP/1.0 302 Found\r\nLocation: ${url}\r\n\r\n"}}}, refused: "redirects in a circle"},
		{name: "a redirect to another host", habit: habits.Habit{Answers: map[string][]string{"DESCRIBE": {"RTSP/1.0 301 Moved\r\nLocation: rtsp://192.0.2.7/\r\n\r\n"}}}, refused: "not granted"},
		{name: "a password that is never right", habit: habits.Habit{Auth: habits.Auth{Scheme: `Digest realm="x", nonce="a", algorithm="SHA-256"`}}, refused: "refuses user and password"},
		{name: "a fragment without end", packets: func() [][]byte {
			return media(true, append([][]byte{append([]byte{0x7c, 0x85}, fragment[2:]...)}, repeat(1000, fragment)...)...)
		}, refused: "no picture could be made"},
		{name: "a picture without end", packets: func() [][]byte {
			return media(true, repeat(1000, append([]byte{0x41, 0x9a}, make([]byte, 60_000)...))...)
		}, refused: "no picture could be made"},
		{name: "units without end", packets: func() [][]byte { return media(true, repeat(50_000, []byte{0x41, 0x9a, 0x80})...) }, refused: "no picture could be made"},
		{name: "parameter sets without end", packets: func() [][]byte { return media(false, manySets(20_000)...) }, refused: "no picture could be made"},
		{name: "the largest frames there can be", packets: func() [][]byte { return media(false, repeat(500, append([]byte{0x1f}, make([]byte, 65_500)...))...) }, refused: "no picture could be made"},
		{name: "packets of nothing", packets: func() [][]byte { return media(false, repeat(20_000, nil)...) }, refused: "no picture could be made"},
		{name: "packets that are none", packets: func() [][]byte { return repeat(20_000, []byte{1, 2, 3}) }, refused: "no packet for"},
		{name: "a picture of 16384×16384", packets: func() [][]byte { return media(false, giantH264(1024, 1024), h264PPS, []byte{0x65, 0x88, 0x80}) }, refused: "16384×16384 are larger"},
		{name: "a picture of 16384×16384 in the description", habit: described(begin + "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n" +
			"a=fmtp:96 sprop-parameter-sets=" + base64Of(giantH264(1024, 1024)) + ",aO48gA==\r\n"), refused: "16384×16384 are larger"},
	}
}

// manySets are parameter sets with ever new numbers.
func manySets(n int) (out [][]byte) {
	for i := range n {
		out = append(out, append([]byte{0x68}, packBits(golomb("", uint64(i)))...))
	}
	return out
}

// TestAbuse: what is hostile is refused by name, and takes no more memory than one picture may.
func TestAbuse(t *testing.T) {
	const limit = 48 << 20
	for _, a := range abuses() {
		t.Run(a.name, func(t *testing.T) {
			var packets [][]byte
			if a.packets != nil {
				packets = a.packets()
			}
			c := &habits.Camera{Habit: a.habit, Packets: packets}
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			defer c.Stop()
			env, logged := environment(&granted{address: c.Address()})
			config := sources.RTSP{
				URL: c.URL(), Transport: rtsp.TransportTCP, Stall: 300 * time.Millisecond,
				Username: habits.Username, Password: pipeline.NewSecret(habits.Password),
			}
			peak := watchHeap(t)
			_, err := tryReceive(t, &rtsp.Source{Config: config}, env, func([]unit) bool { return false })
			mustContain(t, err, a.refused)
			if grown := peak(); grown > limit {
				t.Errorf("it took %d MiB", grown>>20)
			}
			hidden(t, err.Error()+logged.String())
			if len(err.Error()) > 1200 {
				t.Errorf("the reason is %d bytes long", len(err.Error()))
			}
			if n := len(c.Seen("DESCRIBE")); n > 6 {
				t.Errorf("%d attempts to describe", n)
			}
		})
	}
}

// watchHeap measures what is in use at most until the function it returns is called.
func watchHeap(t *testing.T) (peak func() uint64) {
	t.Helper()
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	var most atomic.Uint64
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			runtime.GC()
			var now runtime.MemStats
			runtime.ReadMemStats(&now)
			if now.HeapAlloc > before.HeapAlloc {
				most.Store(max(most.Load(), now.HeapAlloc-before.HeapAlloc))
			}
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	return func() uint64 { close(stop); <-done; return most.Load() }
}

func base64Of(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// TestAPasswordInThePathIsShownNowhere: some cameras want it there, as a whole segment
// (scrypted#2096, frigate#5798, go2rtc#238: others have shown it).
func TestAPasswordInThePathIsShownNowhere(t *testing.T) {
	for name, habit := range map[string]habits.Habit{
		"pictures":        {Media: habits.Media{Pictures: 3, Then: "close"}},
		"not found":       {Answers: map[string][]string{"DESCRIBE": {"RTSP/1.0 404 no /kennwort/ here\r\n\r\n"}}},
		"a redirect":      {Answers: map[string][]string{"DESCRIBE": {"RTSP/1.0 302 Found\r\nLocation: rtsp://192.0.2.7/kennwort/stream\r\n\r\n"}}},
		"nothing over it": {Answers: map[string][]string{"SETUP": {"RTSP/1.0 461 kennwort\r\n\r\n"}}},
	} {
		t.Run(name, func(t *testing.T) {
			c := &habits.Camera{Habit: habit}
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			defer c.Stop()
			env, logged := environment(&granted{address: c.Address()})
			base := "rtsp://" + c.Address() + "/"
			config := sources.RTSP{URL: base + "kennwort/stream", Shown: base + "${PW}/stream", Transport: rtsp.TransportAuto}
			_, err := tryReceive(t, &rtsp.Source{Config: config}, env, func([]unit) bool { return false })
			mustContain(t, err, "${PW}/stream")
			if text := err.Error() + logged.String(); strings.Contains(text, "kennwort") {
				t.Errorf("%s", text)
			}
		})
	}
	config := sources.RTSP{URL: "rtsp//kennwort", Shown: "rtsp//${PW}"}
	env, _ := environment(&network{})
	if _, err := tryReceive(t, &rtsp.Source{Config: config}, env, atLeast(1)); strings.Contains(err.Error(), "kennwort") {
		t.Error(err)
	}
}
