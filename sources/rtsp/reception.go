package rtsp

import (
	"encoding/binary"
	"math/rand/v2"
	"time"

	"github.com/pion/rtcp"
)

// reportPeriod is that of receiver reports, the shortest that RFC 3550 §6.2 recommends.
const reportPeriod = 5 * time.Second

// reception is what a receiver report tells of a source (RFC 3550 §6.4.1, appendix A.3 and A.8).
type reception struct {
	own      uint32 // our SSRC
	source   uint32
	started  bool
	first    uint32 // sequence numbers with their cycles in the upper half
	highest  uint32
	received uint32
	turned   uint64 // that came after a later one

	transit int64 // arrival less timestamp of the packet before, in ticks
	jitter  float64

	expectedBefore, receivedBefore uint32 // at the report before

	senderReport uint32 // middle of its NTP time
	reportedAt   time.Time
}

// count takes an RTP packet of at least 12 bytes.
func (r *reception) count(packet []byte, at time.Time) {
	sequence := binary.BigEndian.Uint16(packet[2:])
	source := binary.BigEndian.Uint32(packet[8:])
	if !r.started || source != r.source {
		*r = reception{own: r.own, turned: r.turned, source: source, started: true, first: uint32(sequence), highest: uint32(sequence)}
	}
	if step := int16(sequence - uint16(r.highest)); step > 0 {
		r.highest += uint32(step)
	} else if step < 0 {
		r.turned++
	}
	r.received++
	arrival := at.UnixMicro() / 100 * 9 // ticks of 1/90000 s
	transit := arrival - int64(binary.BigEndian.Uint32(packet[4:]))
	if r.received > 1 {
		r.jitter += (float64(max(transit-r.transit, r.transit-transit)) - r.jitter) / 16
	}
	r.transit = transit
}

// note takes an RTCP packet of at least 8 bytes.
func (r *reception) note(packet []byte, at time.Time) {
	if packet[1] == byte(rtcp.TypeSenderReport) && len(packet) >= 16 {
		r.senderReport, r.reportedAt = binary.BigEndian.Uint32(packet[10:]), at
	}
}

func (r *reception) report(now time.Time) *rtcp.ReceiverReport {
	for r.own == 0 {
		r.own = rand.Uint32()
	}
	out := &rtcp.ReceiverReport{SSRC: r.own}
	if !r.started {
		return out
	}
	expected := r.highest - r.first + 1
	lost := int64(expected) - int64(r.received)
	block := rtcp.ReceptionReport{
		SSRC: r.source, LastSequenceNumber: r.highest,
		TotalLost: uint32(min(max(lost, 0), 0x7fffff)), Jitter: uint32(r.jitter),
	}
	interval := int64(expected - r.expectedBefore)
	if missing := interval - int64(r.received-r.receivedBefore); missing > 0 && interval > 0 {
		block.FractionLost = uint8(min(missing*256/interval, 255))
	}
	r.expectedBefore, r.receivedBefore = expected, r.received
	if !r.reportedAt.IsZero() {
		block.LastSenderReport = r.senderReport
		block.Delay = uint32(now.Sub(r.reportedAt).Seconds() * 65536)
	}
	out.Reports = []rtcp.ReceptionReport{block}
	return out
}
