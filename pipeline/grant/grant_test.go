package grant_test

import (
	"errors"
	"net"
	"strings"
	"testing"

	"sightline/pipeline"
	"sightline/pipeline/grant"
)

func TestOnlyTheNamedEndpointIsReached(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	n := &grant.Network{Endpoints: []grant.Endpoint{{Name: "camera", Address: listener.Addr().String()}}}
	conn, err := n.Dial(t.Context(), "tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	for _, address := range []string{other.Addr().String(), "198.51.100.1:80"} {
		if _, err := n.Dial(t.Context(), "tcp", address); !errors.Is(err, pipeline.ErrNotGranted) || !strings.Contains(err.Error(), "camera") {
			t.Errorf("dial %s: %v; want a refusal that names the grant", address, err)
		}
	}
	if _, err := n.Dial(t.Context(), "udp", listener.Addr().String()); !errors.Is(err, pipeline.ErrNotGranted) {
		t.Errorf("udp: %v", err)
	}
	if _, err := n.ListenPacket(t.Context(), "udp", "127.0.0.1:0"); !errors.Is(err, pipeline.ErrNotGranted) {
		t.Errorf("listen: %v", err)
	}
}

func TestMediaOverUDPComesFromTheGrantedHostOnly(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	n := &grant.Network{Endpoints: []grant.Endpoint{{Name: "camera", Address: listener.Addr().String(), UDP: true}}}
	media, err := n.ListenPacket(t.Context(), "udp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer media.Close()
	camera := udp(t, "127.0.0.1:0")
	if _, err := media.WriteTo([]byte("x"), camera.LocalAddr()); !errors.Is(err, pipeline.ErrNotGranted) {
		t.Errorf("sent before the camera was dialled: %v", err)
	}
	conn, err := n.Dial(t.Context(), "tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := media.WriteTo([]byte("x"), camera.LocalAddr()); err != nil {
		t.Errorf("send to the camera: %v", err)
	}
	port := media.LocalAddr().(*net.UDPAddr).Port
	to := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}
	stranger := udp(t, "127.0.0.2:0")
	for _, send := range []struct {
		from *net.UDPConn
		text string
	}{{stranger, "stranger"}, {camera, "camera"}} {
		if _, err := send.from.WriteTo([]byte(send.text), to); err != nil {
			t.Fatal(err)
		}
	}
	buffer := make([]byte, 16)
	got, _, err := media.ReadFrom(buffer)
	if err != nil || string(buffer[:got]) != "camera" {
		t.Errorf("received %q, %v; want the camera's packet only", buffer[:got], err)
	}
}

func udp(t *testing.T, address string) *net.UDPConn {
	t.Helper()
	conn, err := net.ListenPacket("udp4", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn.(*net.UDPConn)
}

func TestAnEndpointComesFromAnAddress(t *testing.T) {
	ports := map[string]string{"rtsp": "554"}
	for address, want := range map[string]string{
		"rtsp://192.0.2.1/s": "192.0.2.1:554", "rtsp://cam:8554/s": "cam:8554", "rtsp://[2001:db8::1]/s": "[2001:db8::1]:554",
	} {
		if e, err := grant.FromURL("camera", address, ports); err != nil || e.Address != want {
			t.Errorf("%s: %q, %v; want %q", address, e.Address, err, want)
		}
	}
	for _, address := range []string{"", "rtsp://", "http://x/", "rtsp://a:b@/x", ":"} {
		if e, err := grant.FromURL("camera", address, ports); err == nil {
			t.Errorf("%q was taken as %q", address, e.Address)
		}
	}
}
