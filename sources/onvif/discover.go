package onvif

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	group       = "239.255.255.250:3702" // WS-Discovery 1.0 §2.4
	maxDatagram = 64 << 10
	repeats     = 3 // probes are repeated, UDP loses some (§3.1.2)
	repeatAfter = 250 * time.Millisecond
	anyPort     = "0"
)

// match is one answer to a probe.
type match struct {
	from     netip.Addr
	endpoint string
	scopes   []string
	services []*url.URL
}

// scope returns what a camera says of itself by one of ONVIF's scopes (Core Specification §7.3.2.2).
func (m *match) scope(kind string) string {
	for _, s := range m.scopes {
		if value, ok := strings.CutPrefix(s, "onvif://www.onvif.org/"+kind+"/"); ok {
			if plain, err := url.PathUnescape(value); err == nil {
				value = plain
			}
			return tidy(value)
		}
	}
	return ""
}

// discover sends probes and gathers the answers of Wait.
func (s *Search) discover(ctx context.Context) ([]match, error) {
	sockets, to, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	wait := s.Wait
	if wait <= 0 {
		wait = DefaultWait
	}
	limited, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	answers := make(chan match)
	for _, socket := range sockets {
		go listen(limited, socket, answers)
	}
	sent := make(chan error, 1)
	go func() {
		err := sendProbes(limited, sockets, to)
		if err != nil {
			cancel() // no answer is to be waited for
		}
		sent <- err
	}()
	matches := gather(limited, answers)
	err = <-sent
	for _, socket := range sockets {
		socket.Close()
	}
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, fmt.Errorf("ask for cameras at %s: %w", to, refusal(err))
	}
	return matches, nil
}

// open opens a socket on each interface that takes multicast, or one for the target.
func (s *Search) open(ctx context.Context) ([]net.PacketConn, *net.UDPAddr, error) {
	if s.Target != "" {
		to, err := net.ResolveUDPAddr("udp", s.Target)
		if err != nil {
			return nil, nil, fmt.Errorf("target %q: %w", s.Target, err)
		}
		socket, err := new(net.ListenConfig).ListenPacket(ctx, "udp", ":"+anyPort)
		if err != nil {
			return nil, nil, fmt.Errorf("ask for cameras at %s: %w", to, err)
		}
		return []net.PacketConn{socket}, to, nil
	}
	to, err := net.ResolveUDPAddr("udp4", group)
	if err != nil {
		return nil, nil, err
	}
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, nil, fmt.Errorf("list network interfaces: %w", err)
	}
	var sockets []net.PacketConn
	errs := []error{ErrNoMulticast}
	for _, address := range multicasting(interfaces) {
		socket, err := new(net.ListenConfig).ListenPacket(ctx, "udp4", net.JoinHostPort(address.String(), anyPort))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		sockets = append(sockets, socket)
	}
	if len(sockets) == 0 {
		return nil, nil, errors.Join(errs...)
	}
	return sockets, to, nil
}

// ErrNoMulticast is returned where no network can be searched.
var ErrNoMulticast = errors.New("no network interface here takes multicast, which the search goes by (a container has its own network: run it with the host's)")

// multicasting lists an IPv4 address of each interface that takes multicast. Packets from a socket with
// such an address go out by its interface.
func multicasting(interfaces []net.Interface) []netip.Addr {
	const wanted = net.FlagUp | net.FlagMulticast
	var out []netip.Addr
	for _, i := range interfaces {
		if i.Flags&wanted != wanted || i.Flags&net.FlagLoopback != 0 {
			continue
		}
		addresses, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addresses {
			if prefix, err := netip.ParsePrefix(a.String()); err == nil && prefix.Addr().Is4() {
				out = append(out, prefix.Addr())
				break
			}
		}
	}
	return out
}

// refusal adds the way out to the reason why nothing could be sent.
func refusal(err error) error {
	switch {
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%w: a firewall or sandbox here forbids multicast", err)
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return fmt.Errorf("%w: no network here takes multicast", err)
	}
	return err
}

// sendProbes sends each probe some times by each socket. An error says why none could be sent.
func sendProbes(ctx context.Context, sockets []net.PacketConn, to *net.UDPAddr) error {
	var failed error
	sent := false
	probes := [][]byte{probeFor("dn:NetworkVideoTransmitter"), probeFor("tds:Device")}
	for n := range repeats {
		if n > 0 && !sleep(ctx, repeatAfter) {
			break
		}
		for _, socket := range sockets {
			for _, p := range probes {
				if _, err := socket.WriteTo(p, to); err != nil {
					failed = err
				} else {
					sent = true
				}
			}
		}
	}
	if sent {
		return nil
	}
	return failed
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// probeFor is a request for devices of a type (WS-Discovery 1.0 §5.3).
func probeFor(kind string) []byte {
	return fmt.Appendf(nil, `<?xml version="1.0" encoding="UTF-8"?>`+
		`<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing"`+
		` xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery" xmlns:dn="http://www.onvif.org/ver10/network/wsdl" xmlns:tds="http://www.onvif.org/ver10/device/wsdl">`+
		`<s:Header><a:Action s:mustUnderstand="1">http://schemas.xmlsoap.org/ws/2005/04/discovery/Probe</a:Action>`+
		`<a:MessageID>urn:uuid:%s</a:MessageID><a:ReplyTo><a:Address>http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous</a:Address></a:ReplyTo>`+
		`<a:To s:mustUnderstand="1">urn:schemas-xmlsoap-org:ws:2005:04:discovery</a:To></s:Header>`+
		`<s:Body><d:Probe><d:Types>%s</d:Types></d:Probe></s:Body></s:Envelope>`, uuid(), kind)
}

// uuid makes a random one (RFC 9562 §5.4).
func uuid() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// listen passes on what comes until ctx ends or the socket is closed.
func listen(ctx context.Context, socket net.PacketConn, out chan<- match) {
	buffer := make([]byte, maxDatagram)
	for {
		n, from, err := socket.ReadFrom(buffer)
		if err != nil {
			if errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) || ctx.Err() != nil {
				return
			}
			continue // a refusal that an earlier datagram met
		}
		udp, ok := from.(*net.UDPAddr)
		if !ok {
			continue
		}
		for _, m := range readMatches(buffer[:n], udp.AddrPort().Addr().Unmap()) {
			select {
			case out <- m:
			case <-ctx.Done():
				return
			}
		}
	}
}

// gather collects answers until ctx ends, each device once.
func gather(ctx context.Context, answers <-chan match) []match {
	var all []match
	for {
		select {
		case m := <-answers:
			same := func(o match) bool { return o.from == m.from && o.endpoint == m.endpoint }
			if len(all) < maxDevices && !slices.ContainsFunc(all, same) {
				all = append(all, m)
			}
		case <-ctx.Done():
			return all
		}
	}
}

// readMatches reads an answer to a probe. It takes outside bytes; what it does not understand it leaves
// out.
func readMatches(datagram []byte, from netip.Addr) []match {
	var answer struct {
		Matches []struct {
			Endpoint string `xml:"EndpointReference>Address"`
			Scopes   string
			XAddrs   string
		} `xml:"Body>ProbeMatches>ProbeMatch"`
	}
	if decode(datagram, &answer) != nil {
		return nil
	}
	var out []match
	for _, a := range answer.Matches[:min(len(answer.Matches), 8)] {
		m := match{from: from, endpoint: tidy(a.Endpoint), scopes: fields(a.Scopes, 64)}
		for _, x := range fields(a.XAddrs, 16) {
			if u, err := url.Parse(x); err == nil && u.Hostname() != "" && (u.Scheme == "http" || u.Scheme == "https") {
				m.services = append(m.services, u)
			}
		}
		out = append(out, m)
	}
	return out
}

func fields(text string, most int) []string {
	all := strings.Fields(text)
	return slices.DeleteFunc(all[:min(len(all), most)], func(s string) bool { return len(s) > maxAddress })
}

// own returns the first address that is of the host itself, http before https; else the first one with
// its host replaced, which moved says.
func own(addresses []*url.URL, host netip.Addr) (service *url.URL, moved bool) {
	var best *url.URL
	for _, u := range addresses {
		c := *u
		c.User, c.Fragment = nil, ""
		there := !isAt(&c, host)
		if best == nil || moved && !there || moved == there && best.Scheme == "https" && c.Scheme == "http" {
			best, moved = &c, there
		}
	}
	if best != nil && moved {
		best.Host = joinHost(host, best.Port())
	}
	return best, moved
}

func joinHost(host netip.Addr, port string) string {
	if port != "" {
		return net.JoinHostPort(host.String(), port)
	}
	if host.Is6() {
		return "[" + host.String() + "]"
	}
	return host.String()
}

// isAt tells whether an address is of a host, by number; names are not looked up.
func isAt(u *url.URL, host netip.Addr) bool {
	at, err := netip.ParseAddr(u.Hostname())
	return err == nil && at.Unmap().WithZone("") == host.WithZone("")
}
