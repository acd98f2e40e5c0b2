package rtsp

import (
	"errors"
	"time"

	"github.com/pion/rtp"

	"sightline/pipeline"
)

// What one picture may at most be made of.
const (
	maxUnitBytes = 16 << 20
	maxUnitNALs  = 4096
)

var errTooLarge = errors.New("the picture is larger than any camera's")

// assembler makes access units of RTP packets. It is used from one goroutine.
//
// A picture ends with the packet that carries the marker, or when the next one has another timestamp
// (RFC 6184 §5.1): some cameras never set the marker, on lossy ways it gets lost, and some set it at
// the end of each slice, which is found out and from then on ignored.
type assembler struct {
	codec       pipeline.Codec
	depacketize depacketize
	look        look // nil for MJPEG
	sets        parameterSets
	take        func(*pipeline.Unit)
	clock       senderClock
	timeline    timeline

	open      bool // a picture has begun
	timestamp uint32
	source    uint32 // SSRC
	begun     time.Time
	last      time.Time // arrival of the last packet of the picture
	nals      [][]byte
	bytes     int
	picture   picture

	delivered     bool   // a picture was delivered
	deliveredAt   uint32 // its timestamp
	byTime        bool   // markers do not end pictures
	refreshed     bool   // a refresh has begun since the last keyframe
	lost          uint64 // packets lost since the unit before
	unit          pipeline.Unit
	out           [][]byte                          // NAL units of unit
	fault         error                             // the last thing that went wrong with a packet
	onImplausible func(captured, arrival time.Time) // nil once it was told
}

// packet takes the next packet in order, which arrived at now. It keeps what the packet points to
// until the picture is delivered.
func (a *assembler) packet(pkt *rtp.Packet, now time.Time) {
	marker := pkt.Marker
	if a.open && pkt.Timestamp != a.timestamp {
		a.finish()
	}
	if !a.open {
		a.open, a.timestamp, a.source, a.begun = true, pkt.Timestamp, pkt.SSRC, now
	}
	a.last = now
	var nals [][]byte
	var err error
	if len(pkt.Payload) > 0 { // some cameras send packets of nothing, to keep the way open
		nals, err = a.depacketize(pkt)
	}
	switch {
	case err == nil:
		err = a.add(nals)
	case err == errMidway:
		err = nil
	}
	if err != nil {
		a.fault = err
		a.lost++
	}
	if marker && !a.byTime {
		a.finish()
	}
}

// lose notes packets that are missing before the next one. A number beyond half of the sequence
// numbers means that the camera started them anew.
func (a *assembler) lose(n uint64) { a.lost += min(n, 1<<15) }

func (a *assembler) add(nals [][]byte) error {
	for _, n := range nals {
		if a.bytes += len(n); a.bytes > maxUnitBytes || len(a.nals) >= maxUnitNALs {
			a.nals, a.bytes, a.picture = a.nals[:0], 0, picture{}
			return errTooLarge
		}
		if a.look == nil {
			a.nals = append(a.nals, n)
			a.picture.slices++
			continue
		}
		from := len(a.nals)
		a.nals = splitStartCodes(n, a.nals)
		for _, unit := range a.nals[from:] {
			a.look(unit, &a.picture, &a.sets)
		}
	}
	return nil
}

// finish delivers the picture that has begun, if there is one: packets that only bring parameter sets
// make none.
func (a *assembler) finish() {
	if a.picture.slices > 0 && a.sets.refused == nil {
		if a.delivered && a.timestamp == a.deliveredAt && !a.picture.first && a.look != nil {
			a.byTime = true
		}
		a.deliver()
		a.delivered, a.deliveredAt = true, a.timestamp
	}
	a.open, a.nals, a.bytes, a.picture = false, a.nals[:0], 0, picture{}
}

func (a *assembler) deliver() {
	u := &a.unit
	u.Codec, u.Received, u.Lost = a.codec, a.last, a.lost
	u.Keyframe = a.keyframe()
	u.NALs = a.units(u.Keyframe)
	var jumped bool
	if u.PTS, jumped = a.timeline.advance(a.timestamp, a.begun); jumped {
		a.clock.forget()
	}
	u.Captured, u.Origin = a.captured()
	a.lost = 0
	a.take(u)
}

// keyframe tells whether a decoder can begin with the picture. Of a stream that refreshes itself bit by
// bit, and so has no such picture, it is where a refresh begins: some pictures later all is whole. Such
// a stream is known by its second refresh without a keyframe.
func (a *assembler) keyframe() bool {
	if a.look == nil || a.picture.keyframe() {
		a.refreshed = false
		return true
	}
	if !a.picture.first || !a.picture.gradual {
		return false
	}
	again := a.refreshed
	a.refreshed = true
	return again
}

// units returns the NAL units of the picture; before a keyframe with all the parameter sets that are
// known, after an access unit delimiter, which is always the first (ITU-T H.264 §7.4.1.2.3).
func (a *assembler) units(keyframe bool) [][]byte {
	if !keyframe || a.look == nil {
		return a.nals
	}
	rest := a.nals
	a.out = a.out[:0]
	if a.delimiter(rest[0]) {
		a.out, rest = append(a.out, rest[0]), rest[1:]
	}
	a.out = a.sets.appendMissing(a.out, a.picture.present)
	a.out = append(a.out, rest...)
	return a.out
}

func (a *assembler) delimiter(nal []byte) bool {
	if a.codec == pipeline.H265 {
		return nal[0]>>1&0x3f == 35
	}
	return nal[0]&0x1f == 9
}

// captured returns when the camera took the picture: by its own clock if its sender reports make
// sense, else when the first packet came.
func (a *assembler) captured() (time.Time, pipeline.Origin) {
	at := a.clock.capture(a.source, a.timestamp)
	if at.IsZero() {
		return a.begun, pipeline.OriginArrival
	}
	if plausible(at, a.begun) {
		return at, pipeline.OriginSenderReport
	}
	if a.onImplausible != nil {
		a.onImplausible(at, a.begun)
		a.onImplausible = nil
	}
	return a.begun, pipeline.OriginArrival
}
