package rtsp

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/pion/rtcp"
)

// readRTP passes packets on in order. When the client does not keep up the kernel's buffer fills, and
// what it drops shows as lost.
func (l *udpLink) readRTP() {
	defer l.workers.Done()
	order := reorder{emit: l.put, drop: func(d *datagram) { l.pool.Put(d) }}
	for {
		_ = l.rtp.SetReadDeadline(order.due())
		d, err := l.receive(l.rtp)
		switch {
		case err == nil && d != nil && d.size >= 12:
			d.sequence = uint16(d.buffer[4+2])<<8 | uint16(d.buffer[4+3])
			l.count(d)
			order.push(d)
		case err == nil && d != nil:
			l.pool.Put(d)
		case err != nil && !isTimeout(err):
			l.end(err)
			return
		}
		order.expire(time.Now())
	}
}

// readRTCP passes reports on, and sends those of the receiver meanwhile: some cameras take them for a
// sign of life.
func (l *udpLink) readRTCP() {
	defer l.workers.Done()
	report := time.Now()
	for {
		if now := time.Now(); !now.Before(report) {
			report = now.Add(reportPeriod)
			l.report(now)
		}
		_ = l.rtcp.SetReadDeadline(report)
		d, err := l.receive(l.rtcp)
		switch {
		case err == nil && d != nil && isRTCP(d.packet()):
			l.note(d)
			l.put(d)
		case err == nil && d != nil:
			l.pool.Put(d)
		case err != nil && !isTimeout(err):
			l.end(err)
			return
		}
	}
}

// end makes the client end too, unless it was it that closed the sockets.
func (l *udpLink) end(err error) {
	if !errors.Is(err, net.ErrClosed) {
		l.fail(fmt.Errorf("receive media: %w", err))
		l.Conn.Close()
	}
}

// receive returns the next packet of the camera, nil for one of somebody else.
func (l *udpLink) receive(socket net.PacketConn) (*datagram, error) {
	d, ok := l.pool.Get().(*datagram)
	if !ok {
		d = &datagram{}
	}
	n, from, err := socket.ReadFrom(d.buffer[4:])
	if n > maxDatagram {
		err = errDatagram
	}
	if err == nil {
		d.size, d.at = n, time.Now()
		udp, isUDP := from.(*net.UDPAddr)
		if !l.peer.IsValid() || isUDP && udp.AddrPort().Addr().Unmap() == l.peer {
			return d, nil
		}
	}
	l.pool.Put(d)
	return nil, err
}

// errDatagram is what a camera on a network of large packets runs into, which TCP would spare it.
var errDatagram = fmt.Errorf("the camera sends packets larger than %d bytes", maxDatagram)

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// isRTCP tells a report from media by its packet type (RFC 5761 §4).
func isRTCP(packet []byte) bool { return len(packet) >= 8 && packet[1] >= 192 && packet[1] <= 223 }

// report sends a receiver report; an empty one before the first packet.
func (l *udpLink) report(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	packet, err := rtcp.Marshal([]rtcp.Packet{l.reception.report(now)})
	if err == nil {
		l.send(l.rtcp, l.remote[1], packet)
	}
}

// count and note keep what the receiver reports tell.
func (l *udpLink) count(d *datagram) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reception.count(d.packet(), d.at)
}

func (l *udpLink) note(d *datagram) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reception.note(d.packet(), d.at)
}
