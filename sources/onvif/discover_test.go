package onvif

import (
	"errors"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestRefusedMulticastIsExplained(t *testing.T) {
	socket, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	socket.Close()
	if err := sendProbes(t.Context(), []net.PacketConn{socket}, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9}); err == nil {
		t.Error("nothing could be sent, which is not told")
	}
	for errno, says := range map[syscall.Errno]string{syscall.EPERM: "forbids multicast", syscall.EACCES: "forbids multicast", syscall.ENETUNREACH: "no network here"} {
		err := refusal(&net.OpError{Op: "write", Err: os.NewSyscallError("sendto", errno)})
		if !errors.Is(err, errno) || !strings.Contains(err.Error(), says) {
			t.Errorf("%v: %v", errno, err)
		}
	}
	lonely := []net.Interface{{Name: "lo", Flags: net.FlagUp | net.FlagLoopback | net.FlagMulticast}, {Name: "eth0", Flags: net.FlagMulticast}}
	if found := multicasting(lonely); len(found) != 0 {
		t.Errorf("%v", found)
	}
}

// TestTheNetworkIsAskedByMulticast answers as a camera of this machine's network. Others that are there
// are not asked anything.
func TestTheNetworkIsAskedByMulticast(t *testing.T) {
	interfaces, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(interfaces, func(i net.Interface) bool { return len(multicasting([]net.Interface{i})) > 0 })
	if i < 0 {
		t.Skip("no interface of this machine takes multicast")
	}
	to, err := net.ResolveUDPAddr("udp4", group)
	if err != nil {
		t.Fatal(err)
	}
	socket, err := net.ListenMulticastUDP("udp4", &interfaces[i], to)
	if err != nil {
		t.Skipf("hear multicast on %s: %v", interfaces[i].Name, err)
	}
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		for buffer := make([]byte, 4096); ; {
			n, from, err := socket.ReadFromUDP(buffer)
			if err != nil {
				return
			}
			if strings.Contains(string(buffer[:n]), "NetworkVideoTransmitter") {
				_, _ = socket.WriteToUDP([]byte(strings.Replace(answered, "urn:uuid:1", "urn:uuid:sightline-test", 1)), from)
			}
		}
	}()
	defer func() { socket.Close(); <-heard }()
	ours := func(m match) bool { return m.endpoint == "urn:uuid:sightline-test" && m.scope("name") == "a b" }
	for wait := time.Second; wait < 20*time.Second; wait *= 2 {
		found, err := (&Search{Wait: wait}).discover(t.Context())
		if err != nil {
			t.Skipf("ask by multicast: %v", err)
		}
		if slices.ContainsFunc(found, ours) {
			return
		}
	}
	t.Error("the camera of this machine was not found")
}
