package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/yamux"
)

// gate is the supervisor's end of a stage's connections.
type gate struct {
	grants  []Grant
	connect func(ctx context.Context, network, address string) (net.Conn, error)
	refused func(network, address string, err error)
	open    atomic.Int64

	traffic []counts // of grants, one each
}

type counts struct{ dialled, sent, received atomic.Uint64 }

func newGate(grants []Grant, connect func(ctx context.Context, network, address string) (net.Conn, error), refused func(network, address string, err error)) *gate {
	if connect == nil {
		connect = (&net.Dialer{}).DialContext
	}
	return &gate{grants: grants, connect: connect, refused: refused, traffic: make([]counts, len(grants))}
}

// serve connects a stream to the endpoint that its opening asks for, if it is granted, and carries
// bytes until both directions have ended.
func (g *gate) serve(ctx context.Context, stream *yamux.Stream, o opening) error {
	defer g.open.Add(-1)
	if g.open.Add(1) > maxDials {
		return writeJSON(stream, recDialled, dialled(nil, fmt.Errorf("%d connections at once are too many", maxDials)))
	}
	i, err := find(g.grants, o.Network, o.Address)
	if err != nil {
		if g.refused != nil {
			g.refused(o.Network, o.Address, err)
		}
		return writeJSON(stream, recDialled, dialled(nil, err))
	}
	dialing, cancel := context.WithTimeout(ctx, dialTimeout)
	conn, err := g.connect(dialing, o.Network, g.grants[i].Address)
	cancel()
	if err != nil {
		return writeJSON(stream, recDialled, dialled(nil, err))
	}
	defer conn.Close()
	g.traffic[i].dialled.Add(1)
	if err := writeJSON(stream, recDialled, dialled(conn, nil)); err != nil {
		return err
	}
	splice(ctx, &blockConn{stream: stream}, conn, &g.traffic[i])
	return nil
}

// splice carries bytes both ways. The end of one direction is passed on and leaves the other; a
// break of either ends both.
func splice(ctx context.Context, stage *blockConn, endpoint net.Conn, c *counts) {
	stop := context.AfterFunc(ctx, func() { endpoint.Close(); stage.abort() })
	defer stop()
	var both sync.WaitGroup
	both.Go(func() {
		if err := carry(endpoint, stage, &c.sent); err != nil || stage.gone.Load() {
			endpoint.Close()
			stage.abort()
		}
	})
	both.Go(func() {
		if err := carry(stage, endpoint, &c.received); err != nil {
			stage.abort()
			endpoint.Close()
		}
	})
	both.Wait()
	stage.Close()
}

// carry copies until from ends, then ends to's direction.
func carry(to, from net.Conn, count *atomic.Uint64) error {
	buf := make([]byte, maxBlock)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			count.Add(uint64(n))
			if _, err := to.Write(buf[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return closeWrite(to)
		}
		if err != nil {
			return err
		}
	}
}

func closeWrite(conn net.Conn) error {
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return conn.Close()
}

// Traffic returns what went over each grant so far, by its name.
func (g *gate) Traffic() map[string]Traffic {
	all := make(map[string]Traffic, len(g.grants))
	for i := range g.grants {
		c := &g.traffic[i]
		all[g.grants[i].Name] = Traffic{Dialled: c.dialled.Load(), Sent: c.sent.Load(), Received: c.received.Load()}
	}
	return all
}
