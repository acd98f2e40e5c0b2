package soak

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// echo is a server that gives back what it gets.
func echo(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn) // until it ends
			}()
		}
	}()
	return listener.Addr().String()
}

func through(t *testing.T, g *gate) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", g.address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func say(t *testing.T, conn net.Conn, text string) string {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, len(text))
	if _, err := io.ReadFull(conn, answer); err != nil {
		t.Fatal(err)
	}
	return string(answer)
}

func TestAGateHasItsMoods(t *testing.T) {
	g, err := newGate(echo(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer g.close()
	conn := through(t, g)
	if got := say(t, conn, "hello"); got != "hello" {
		t.Errorf("%q", got)
	}

	g.litter([]byte("junk"))
	if _, err := io.WriteString(conn, "hello"); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 9)
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "junkhello" {
		t.Errorf("with garbage: %q, %v", got, err)
	}

	g.be(stalled)
	answered := make(chan string)
	go func() { answered <- say(t, conn, "are you there") }()
	select {
	case got := <-answered:
		t.Errorf("a stalled gate let %q through", got)
	case <-time.After(50 * time.Millisecond):
	}
	g.be(open)
	if got := <-answered; got != "are you there" {
		t.Errorf("%q", got)
	}

	g.be(gone)
	for _, conn := range []net.Conn{conn, through(t, g)} {
		if n, err := conn.Read(make([]byte, 1)); err == nil {
			t.Errorf("%d bytes through a gate that is gone", n)
		}
	}
	g.be(slow)
	if text := strings.Repeat("x", 3*sip); say(t, through(t, g), text) != text {
		t.Error("a slow gate loses bytes")
	}
}

func TestATapTakesWhatTheBrokerAcknowledged(t *testing.T) {
	var up, down bytes.Buffer
	write := func(w io.Writer, p packets.ControlPacket) {
		t.Helper()
		if err := p.Write(w); err != nil {
			t.Fatal(err)
		}
	}
	connect := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
	connect.ProtocolName, connect.ProtocolVersion = "MQTT", 4
	write(&up, connect)
	write(&down, packets.NewControlPacket(packets.Connack))
	for id, text := range []string{"unsure", "one", strings.Repeat("two", 100), "three"} {
		p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
		p.TopicName, p.Payload, p.MessageID, p.Qos = "a/b/result", []byte(text), uint16(id), min(1, byte(id))
		write(&up, p)
	}
	for _, id := range []uint16{1, 2, 2, 9} { // 3 was not, 9 is unknown
		p := packets.NewControlPacket(packets.Puback).(*packets.PubackPacket)
		p.MessageID = id
		write(&down, p)
	}
	for _, size := range []int{1, 7, 10_000} { // in pieces
		var taken []string
		tap := newTap(func(topic string, payload []byte) { taken = append(taken, topic+" "+string(payload)) })
		for chunk := range slices.Chunk(up.Bytes(), size) {
			tap.toServer(chunk)
		}
		for chunk := range slices.Chunk(down.Bytes(), size) {
			tap.toClient(chunk)
		}
		if want := []string{"a/b/result one", "a/b/result " + strings.Repeat("two", 100)}; !slices.Equal(taken, want) {
			t.Errorf("in pieces of %d: %q, want %q", size, taken, want)
		}
	}
}

func TestTheSameSeedMakesTheSameFaultsOneAtATimeInAPlace(t *testing.T) {
	cameras := []string{"camera1", "camera2"}
	for _, box := range []string{inlineBox, processBox} {
		for _, length := range []time.Duration{10 * time.Second, 10 * time.Minute} {
			faults := plan(7, length, cameras, box, true)
			if !reflect.DeepEqual(faults, plan(7, length, cameras, box, true)) {
				t.Errorf("%s in %s: the same seed made other faults", length, box)
			}
			if reflect.DeepEqual(faults, plan(8, length, cameras, box, true)) {
				t.Errorf("%s in %s: another seed made the same faults", length, box)
			}
			free := map[string]time.Duration{}
			kinds := map[string]bool{}
			for _, f := range faults {
				if f.At < free[f.Where] || f.At+f.For > length || f.For <= 0 {
					t.Errorf("%s from %s on: its place was not free before %s", f, f.At, free[f.Where])
				}
				free[f.Where] = f.At + f.For
				kinds[f.What] = true
			}
			if len(faults) < 5 || length > time.Minute && len(kinds) < 15 {
				t.Errorf("%s in %s: %d faults, of %d kinds", length, box, len(faults), len(kinds))
			}
		}
	}
}

func TestTheWebServerKeepsWhatItAnswersFor(t *testing.T) {
	p, err := newHookPlace()
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	post := func(id string) int {
		request, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "http://"+p.gate.address(),
			bufio.NewReader(strings.NewReader(`[{"id":"a-scene-`+id+`"},{"source":"gate","state":"online"}]`)))
		if err != nil {
			t.Fatal(err)
		}
		response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
		if err != nil {
			return 0
		}
		response.Body.Close()
		return response.StatusCode
	}
	for id, c := range map[string]struct {
		answer answer
		code   int
		kept   bool
	}{
		"1": {well, 200, true}, "2": {busy, 503, false}, "3": {limited, 429, false}, "4": {broken, 500, false},
		"5": {refuses, 400, false}, "6": {mute, 0, true},
	} {
		p.say(c.answer)
		before := p.book.sum().results
		if code := post(id); code != c.code {
			t.Errorf("%s: status %d, want %d", c.answer, code, c.code)
		}
		if kept := p.book.sum().results > before; kept != c.kept {
			t.Errorf("%s: kept is %t", c.answer, kept)
		}
	}
}

func TestMetricsAreRead(t *testing.T) {
	all, err := readSeries(strings.NewReader(`# HELP sightline_results_dropped_total Results let go.
# TYPE sightline_results_dropped_total counter
sightline_results_dropped_total{device="soak",reason="spool_age",stage="hook"} 3
sightline_results_dropped_total{device="soak",reason="spool_full",stage="hook"} 4
sightline_results_dropped_total{device="soak",reason="spool_full",stage="cloud"} 5
sightline_results_refused_total{device="soak",stage="hook"} 2
sightline_results_total{device="soak",source="camera1",stage="scene"} 7
sightline_results_total{device="soak",source="camera2",stage="scene"} 8
sightline_spool_results{device="soak",stage="hook"} 6
go_goroutines 31
`))
	if err != nil {
		t.Fatal(err)
	}
	l := read(all, []string{sinkCloud, sinkHook}, noon)
	if l.made != 15 || l.waiting[sinkHook].results != 6 || all["go_goroutines"] != 31 {
		t.Errorf("%+v", l)
	}
	if got := l.losses[sinkHook]; got["spool_full"] != 4 || got["spool_age"] != 3 || got["refused"] != 2 {
		t.Errorf("losses of the hook: %v", got)
	}
	if got := l.losses[sinkCloud]; got["spool_full"] != 5 || got["refused"] != 0 {
		t.Errorf("losses of the cloud: %v", got)
	}
	if _, err := readSeries(strings.NewReader("a b\n")); err == nil {
		t.Error("a line without a number is read")
	}
}

// given counts what was given to a client.
type given struct{ times atomic.Int32 }

func (g *given) toServer([]byte) {}
func (g *given) toClient([]byte) {}
func (g *given) gaveClient()     { g.times.Add(1) }
func (g *given) broke()          {}

func TestWhatComesBehindGarbageIsNotHeard(t *testing.T) {
	seen := &given{}
	g, err := newGate(echo(t), func(string) watcher { return seen })
	if err != nil {
		t.Fatal(err)
	}
	conn := through(t, g)
	say(t, conn, "hello")
	g.litter([]byte("junk"))
	if got := say(t, conn, "junkhello"); got != "junkjunkh" {
		t.Errorf("%q", got)
	}
	conn.Close()
	g.close() // which waits until all of it was noted
	if n := seen.times.Load(); n != 1 {
		t.Errorf("%d answers were heard, want that before the garbage", n)
	}
}
