// Package grant is the network of a stage that runs in place: it connects to the endpoints that the
// stage's section of the pipeline file names, and to nothing else.
package grant

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"sync"

	"sightline/pipeline"
)

// Endpoint is one address that a stage may reach.
type Endpoint struct {
	Name    string // what it is to the stage: "camera" or "broker"
	Address string // host:port
	UDP     bool   // whether the host may also send and receive media over UDP
}

// Network implements pipeline.Network for a list of endpoints. The zero value reaches nothing.
type Network struct {
	Endpoints []Endpoint
	Dialer    net.Dialer

	mu    sync.Mutex
	peers []netip.Addr // addresses that granted names were found to have
}

var _ pipeline.Network = (*Network)(nil)

// FromURL makes the endpoint of an address such as rtsp://camera/stream. Schemes without a port in
// the address take it from ports.
func FromURL(name, address string, ports map[string]string) (Endpoint, error) {
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" {
		return Endpoint{}, fmt.Errorf("address of the %s has no host: %q", name, pipeline.RedactText(address))
	}
	port := u.Port()
	if port == "" {
		port = ports[u.Scheme]
	}
	if port == "" {
		return Endpoint{}, fmt.Errorf("address of the %s has no port and none is known for %q", name, u.Scheme)
	}
	return Endpoint{Name: name, Address: net.JoinHostPort(u.Hostname(), port)}, nil
}

// Dial connects to a granted endpoint; any other address is refused with pipeline.ErrNotGranted.
func (n *Network) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	granted := func(e Endpoint) bool { return e.Address == address }
	if network != "tcp" || !slices.ContainsFunc(n.Endpoints, granted) {
		return nil, fmt.Errorf("dial %s %s: %w (the stage may reach %s)", network, address, pipeline.ErrNotGranted, n)
	}
	conn, err := n.Dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if peer, err := netip.ParseAddrPort(conn.RemoteAddr().String()); err == nil {
		n.remember(peer.Addr())
	}
	return conn, nil
}

// ListenPacket opens a UDP socket that only talks to hosts that Dial has connected to and whose
// endpoint allows UDP.
func (n *Network) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	allowed := func(e Endpoint) bool { return e.UDP }
	if !slices.ContainsFunc(n.Endpoints, allowed) {
		return nil, fmt.Errorf("listen %s: %w (the stage has no grant for media over UDP)", network, pipeline.ErrNotGranted)
	}
	var config net.ListenConfig
	conn, err := config.ListenPacket(ctx, network, address)
	if err != nil {
		return nil, err
	}
	udp, ok := conn.(*net.UDPConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("listen %s: %w (media comes over UDP only)", network, pipeline.ErrNotGranted), conn.Close())
	}
	return &packetConn{PacketConn: udp, udp: udp, network: n}, nil
}

// String names the endpoints, for messages.
func (n *Network) String() string {
	if len(n.Endpoints) == 0 {
		return "nothing"
	}
	text := ""
	for i, e := range n.Endpoints {
		if i > 0 {
			text += ", "
		}
		text += e.Name + " " + e.Address
	}
	return text
}

func (n *Network) remember(a netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if a = a.Unmap(); !slices.Contains(n.peers, a) {
		n.peers = append(n.peers, a)
	}
}

func (n *Network) knows(a netip.Addr) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Contains(n.peers, a.Unmap())
}

// packetConn sends only to known peers and drops what comes from others.
type packetConn struct {
	net.PacketConn
	udp     *net.UDPConn
	network *Network
}

// SetReadBuffer sets the size of the socket's receive buffer in bytes.
func (c *packetConn) SetReadBuffer(size int) error { return c.udp.SetReadBuffer(size) }

// WriteTo sends a packet, to a known peer only.
func (c *packetConn) WriteTo(p []byte, to net.Addr) (int, error) {
	udp, ok := to.(*net.UDPAddr)
	if !ok || !c.network.knows(udp.AddrPort().Addr()) {
		return 0, fmt.Errorf("send to %s: %w", to, pipeline.ErrNotGranted)
	}
	return c.PacketConn.WriteTo(p, to)
}

// ReadFrom returns the next packet that a known peer sent.
func (c *packetConn) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		n, from, err := c.udp.ReadFromUDPAddrPort(p)
		if err != nil {
			return n, nil, err
		}
		if c.network.knows(from.Addr()) {
			return n, net.UDPAddrFromAddrPort(from), nil
		}
	}
}
