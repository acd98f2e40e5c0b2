package rtsp

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"sightline/pipeline"
	"sightline/pipeline/grant"
	"sightline/sources"
)

// mute accepts connections and never says anything.
func mute(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		var conns []net.Conn
		for {
			conn, err := listener.Accept()
			if err != nil {
				break
			}
			conns = append(conns, conn)
		}
		for _, c := range conns {
			c.Close()
		}
	}()
	t.Cleanup(func() { listener.Close(); <-done })
	return listener.Addr().String()
}

func environment(address string) pipeline.Env {
	return pipeline.Env{
		Log: slog.New(slog.DiscardHandler), Stats: pipeline.NewStats(), Report: func(pipeline.Status) {},
		Network: &grant.Network{Endpoints: []grant.Endpoint{{Name: "camera", Address: address, UDP: true}}},
	}
}

func TestSilentCamera(t *testing.T) {
	for _, scheme := range []string{"rtsp", "rtsps"} {
		for _, overUDP := range []bool{false, true} {
			if overUDP && scheme == "rtsps" {
				continue
			}
			address := mute(t)
			config := sources.RTSP{URL: scheme + "://" + address + "/", Stall: 10 * time.Millisecond}
			target, err := aim(&config, os.ReadFile)
			if err != nil {
				t.Fatal(err)
			}
			c := newSession(config, environment(address), target, overUDP)
			c.limit = 100 * time.Millisecond
			err = c.explain(c.run(t.Context(), func(*pipeline.Unit) { t.Error("a picture") }))
			if !strings.Contains(err.Error(), "does not answer") || pipeline.IsPermanent(err) {
				t.Errorf("%s: %v", scheme, err)
			}
		}
	}
}

func TestSilentCameraIsLeftWhenTheStageEnds(t *testing.T) {
	for _, scheme := range []string{"rtsp", "rtsps"} {
		address := mute(t)
		ctx, cancel := context.WithCancel(t.Context())
		dialled := environment(address)
		dialled.Network = &noticing{Network: dialled.Network, dialled: cancel}
		source := &Source{Config: sources.RTSP{URL: scheme + "://" + address + "/"}}
		if err := source.Receive(ctx, dialled, func(*pipeline.Unit) {}); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", scheme, err)
		}
	}
}

// noticing tells when a connection was made.
type noticing struct {
	pipeline.Network
	dialled func()
}

func (n *noticing) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := n.Network.Dial(ctx, network, address)
	n.dialled()
	return conn, err
}

func TestPacketsThatAreTooLarge(t *testing.T) {
	address := mute(t)
	env := environment(address)
	conn, err := env.Network.Dial(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	link, err := newUDPLink(t.Context(), env.Network, conn)
	if err != nil {
		t.Fatal(err)
	}
	defer link.Close()
	link.play()
	sender, err := net.Dial("udp", net.JoinHostPort("127.0.0.1", link.rtp.LocalAddr().String()[strings.LastIndexByte(link.rtp.LocalAddr().String(), ':')+1:]))
	if err != nil {
		t.Fatal(err)
	}
	defer sender.Close()
	if _, err := sender.Write(make([]byte, maxDatagram+100)); err != nil {
		t.Fatal(err)
	}
	if _, err := link.Read(make([]byte, 100)); err == nil {
		t.Error("it is read")
	}
	if err := link.trouble(); !errors.Is(err, errDatagram) {
		t.Errorf("trouble: %v", err)
	}
}
