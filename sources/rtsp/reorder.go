package rtsp

import (
	"slices"
	"time"
)

const (
	// reorderWait is how long a missing packet is waited for: longer than a network turns packets
	// around, shorter than a picture.
	reorderWait = 50 * time.Millisecond
	maxHeld     = 256
	// maxDatagram is the size of the largest packet that is taken; networks carry 1500 bytes.
	maxDatagram = 2048
	// maxLate packets in a row that come too late mean that the camera has started its sequence
	// numbers anew.
	maxLate = 64
)

// datagram is a packet as it came, in front of it room for the header that frames it in the
// connection (RFC 2326 §10.12).
type datagram struct {
	buffer   [4 + maxDatagram + 1]byte
	size     int    // of the packet
	sequence uint16 // of RTP packets
	at       time.Time
}

// packet returns the bytes that came.
func (d *datagram) packet() []byte { return d.buffer[4 : 4+d.size] }

// frame returns the packet with its header for a channel.
func (d *datagram) frame(channel byte) []byte {
	d.buffer[0], d.buffer[1], d.buffer[2], d.buffer[3] = '$', channel, byte(d.size>>8), byte(d.size)
	return d.buffer[:4+d.size]
}

// reorder puts RTP packets into the order of their sequence numbers (RFC 3550 §5.1) and drops
// doubles. It holds packets back only while one before them is missing, and not longer than
// reorderWait.
type reorder struct {
	started bool
	next    uint16
	held    []*datagram // in order
	late    int
	emit    func(*datagram)
	drop    func(*datagram)
}

// push takes a packet; emit or drop is called for it now or later.
func (r *reorder) push(d *datagram) {
	ahead := int16(d.sequence - r.next)
	switch {
	case !r.started || ahead == 0:
		r.started, r.late = true, 0
		r.release(d)
	case ahead < 0:
		if r.late++; r.late > maxLate {
			r.restart(d)
			return
		}
		r.drop(d)
		return
	default:
		r.late = 0
		r.hold(d)
	}
	for len(r.held) > 0 && (r.held[0].sequence == r.next || len(r.held) > maxHeld) {
		r.shift()
	}
}

func (r *reorder) release(d *datagram) {
	r.next = d.sequence + 1
	r.emit(d)
}

func (r *reorder) shift() {
	d := r.held[0]
	r.held = slices.Delete(r.held, 0, 1)
	r.release(d)
}

func (r *reorder) hold(d *datagram) {
	i, double := slices.BinarySearchFunc(r.held, d.sequence, func(h *datagram, s uint16) int { return int(int16(h.sequence - s)) })
	if double {
		r.drop(d)
		return
	}
	r.held = slices.Insert(r.held, i, d)
}

func (r *reorder) restart(d *datagram) {
	for _, h := range r.held {
		r.drop(h)
	}
	r.held, r.late = r.held[:0], 0
	r.release(d)
}

// due returns when expire has to be called; zero when nothing is held.
func (r *reorder) due() time.Time {
	if len(r.held) == 0 {
		return time.Time{}
	}
	oldest := r.held[0].at
	for _, d := range r.held[1:] {
		if d.at.Before(oldest) {
			oldest = d.at
		}
	}
	return oldest.Add(reorderWait)
}

// expire gives up on packets that have been waited for long enough.
func (r *reorder) expire(now time.Time) {
	for len(r.held) > 0 && !now.Before(r.due()) {
		r.shift()
		for len(r.held) > 0 && r.held[0].sequence == r.next {
			r.shift()
		}
	}
}
