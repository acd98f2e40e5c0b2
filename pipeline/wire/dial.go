package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"sightline/pipeline"
)

// recDialled is the supervisor's answer to the opening of a connection.
const recDialled recordType = 48

// The codes of connections that did not come about.
const (
	dialNotGranted  = "not_granted"
	dialRefused     = "refused"
	dialTimedOut    = "timeout"
	dialUnreachable = "unreachable"
	dialNoSuchHost  = "no_such_host"
	dialFailed      = "failed"
)

type dialledBody struct {
	Code   string `json:"code,omitempty"` // empty: connected
	Reason string `json:"reason,omitempty"`
	Local  string `json:"local,omitempty"`
	Remote string `json:"remote,omitempty"`
}

// DialError is why the supervisor did not connect. It unwraps to pipeline.ErrNotGranted,
// syscall.ECONNREFUSED, syscall.EHOSTUNREACH, a *net.DNSError or os.ErrDeadlineExceeded where it was that.
type DialError struct {
	Code   string // "not_granted", "refused", "timeout", "unreachable", "no_such_host" or "failed"
	Reason string // in words for the operator
	host   string
}

func (e *DialError) Error() string { return e.Reason }

// Timeout implements net.Error.
func (e *DialError) Timeout() bool { return e.Code == dialTimedOut }

// Temporary implements net.Error.
func (e *DialError) Temporary() bool { return e.Timeout() }

// Unwrap returns the error behind the code.
func (e *DialError) Unwrap() error {
	switch e.Code {
	case dialNotGranted:
		return pipeline.ErrNotGranted
	case dialRefused:
		return syscall.ECONNREFUSED
	case dialUnreachable:
		return syscall.EHOSTUNREACH
	case dialTimedOut:
		return os.ErrDeadlineExceeded
	case dialNoSuchHost:
		return &net.DNSError{Err: "no such host", Name: e.host, IsNotFound: true}
	}
	return nil
}

var _ net.Error = (*DialError)(nil)

// dialled says how a connection went.
func dialled(conn net.Conn, err error) dialledBody {
	if err == nil {
		return dialledBody{Local: conn.LocalAddr().String(), Remote: conn.RemoteAddr().String()}
	}
	d := dialledBody{Code: dialFailed, Reason: clip(pipeline.RedactText(err.Error()), maxReason)}
	var timeout net.Error
	var dns *net.DNSError
	switch {
	case errors.Is(err, pipeline.ErrNotGranted):
		d.Code = dialNotGranted
	case errors.Is(err, syscall.ECONNREFUSED):
		d.Code = dialRefused
	case errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.ENETUNREACH):
		d.Code = dialUnreachable
	case errors.As(err, &dns) && dns.IsNotFound:
		d.Code = dialNoSuchHost
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		d.Code = dialTimedOut
	}
	return d
}

// network is the way out of a stage: every connection is asked of the supervisor.
type network struct {
	session func() *session // the wire of the moment; nil while there is none
	back    func() <-chan struct{}
}

var (
	_ pipeline.Network     = (*network)(nil)
	_ pipeline.Interrupted = (*network)(nil)
)

// Back implements pipeline.Interrupted: the network is back with the next wire.
func (n *network) Back() <-chan struct{} { return n.back() }

// Dial implements pipeline.Network. address is a grant's name or its host:port.
func (n *network) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := n.dial(ctx, network, address)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: textAddress{network, address}, Err: err}
	}
	return conn, nil
}

func (n *network) dial(ctx context.Context, network, address string) (net.Conn, error) {
	s := n.session()
	if s == nil {
		return nil, fmt.Errorf("no supervisor: %w", ErrEnded)
	}
	stream, err := s.open(opening{kind: streamDial, Network: network, Address: address})
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { stream.SetReadDeadline(time.Unix(1, 0)) }) //nolint:errcheck // wakes the reader
	_, body, err := readRecord(stream, nil, func(t recordType) int {
		if t == recDialled {
			return MaxRecord
		}
		return 0
	})
	if !stop() {
		err = ctx.Err()
	}
	if err != nil {
		stream.Close()
		return nil, s.lost("wait for the supervisor to connect", err)
	}
	var d dialledBody
	if err := decodeJSON(body, &d); err != nil {
		stream.Close()
		return nil, err
	}
	if d.Code != "" {
		stream.Close()
		host, _, _ := net.SplitHostPort(address)
		reason := strings.TrimPrefix(d.Reason, "dial "+network+" "+address+": ") // what Dial says anyway
		return nil, &DialError{Code: d.Code, Reason: clip(reason, maxReason), host: host}
	}
	return &blockConn{stream: stream, local: parseAddress(network, d.Local), remote: parseAddress(network, d.Remote)}, nil
}

// ListenPacket implements pipeline.Network: no datagrams cross a wire.
func (n *network) ListenPacket(_ context.Context, _, address string) (net.PacketConn, error) {
	return nil, fmt.Errorf("listen %s: %w (a box has no UDP: media comes over TCP)", address, pipeline.ErrNotGranted)
}

// textAddress is an address that is only a text.
type textAddress struct{ network, text string }

func (a textAddress) Network() string { return a.network }
func (a textAddress) String() string  { return a.text }

func parseAddress(network, text string) net.Addr {
	if a, err := netip.ParseAddrPort(text); err == nil {
		return net.TCPAddrFromAddrPort(a)
	}
	return textAddress{network, clip(text, maxName)}
}

// Grant is the permission of a stage to reach one endpoint.
type Grant struct {
	Name    string `json:"name"`    // "camera" or "broker"
	Address string `json:"address"` // host:port
}

// Traffic is what went over one grant.
type Traffic struct {
	Dialled  uint64 // connections that came about
	Sent     uint64 // bytes from the stage to the endpoint
	Received uint64 // bytes from the endpoint to the stage
}

// find returns the grant that a stage asks for, by its name or its address.
func find(grants []Grant, network, address string) (int, error) {
	i := slices.IndexFunc(grants, func(g Grant) bool { return address == g.Name || address == g.Address })
	if network != "tcp" || i < 0 || address == "" {
		return -1, fmt.Errorf("%s %q: %w", clip(network, maxName), address, pipeline.ErrNotGranted)
	}
	return i, nil
}
