package rtsp

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/pion/rtp"

	"sightline/pipeline"
)

// FuzzAssemble feeds packets of any content, order and codec to an assembler. Data is a row of
// packets: one byte of flags (marker, next timestamp, a gap), two bytes of length, the payload.
func FuzzAssemble(f *testing.F) {
	row := func(packets ...[]byte) []byte {
		var out []byte
		for i, p := range packets {
			out = append(out, byte(i%2)|2)
			out = binary.BigEndian.AppendUint16(out, uint16(len(p)))
			out = append(out, p...)
		}
		return out
	}
	f.Add(uint8(0), row(sps, pps, idr, inter, interNext, recovery, refresh, delimiter))
	f.Add(uint8(0), row(append([]byte{28, 0x85}, idr...), []byte{28, 0x45, 1, 2}, []byte{24, 0, 1, 9, 0, 0}))
	f.Add(uint8(1), row([]byte{0x40, 1, 0x0c}, []byte{0x42, 1, 1}, []byte{0x44, 1, 0xc0}, []byte{0x26, 1, 0xaf}, []byte{98, 1, 0x93, 1}, []byte{98, 1, 0x53, 1}))
	f.Add(uint8(2), row([]byte{0, 0, 0, 0, 1, 50, 8, 8, 1, 2, 3, 0xff, 0xd9}, append([]byte{0, 0, 0, 0, 1, 255, 8, 8, 0, 0, 0, 64}, make([]byte, 70)...)))
	formats := []track{
		{format: &format.H264{PacketizationMode: 1}, codec: pipeline.H264},
		{format: &format.H265{}, codec: pipeline.H265},
		{format: &format.MJPEG{}, codec: pipeline.MJPEG},
	}
	f.Fuzz(func(t *testing.T, codec uint8, data []byte) {
		track := formats[int(codec)%len(formats)]
		d, l, sets, err := track.reader()
		if err != nil {
			t.Fatal(err)
		}
		a := &assembler{codec: track.codec, depacketize: d, look: l, sets: sets, take: func(u *pipeline.Unit) {
			if len(u.NALs) == 0 {
				t.Fatal("a unit without content")
			}
			for _, n := range u.NALs {
				if len(n) == 0 || l != nil && bytes.Contains(n, []byte{0, 0, 1}) {
					t.Fatalf("a NAL unit %x", n)
				}
			}
		}}
		feed(a, data)
		if len(a.sets.sets) > maxParameterSets {
			t.Fatalf("%d parameter sets are kept", len(a.sets.sets))
		}
	})
}

func feed(a *assembler, data []byte) {
	now := time.Unix(1_700_000_000, 0)
	pkt := rtp.Header{Version: 2, SSRC: 1}
	for len(data) >= 3 {
		flags, size := data[0], int(binary.BigEndian.Uint16(data[1:]))
		size = min(size, len(data)-3)
		if pkt.Marker = flags&1 != 0; flags&2 != 0 {
			pkt.Timestamp += 3000
		}
		pkt.SequenceNumber++
		if flags&4 != 0 {
			a.lose(uint64(flags))
			pkt.SequenceNumber += uint16(flags)
		}
		now = now.Add(time.Duration(flags) * time.Millisecond)
		a.packet(&rtp.Packet{Header: pkt, Payload: bytes.Clone(data[3 : 3+size])}, now)
		data = data[3+size:]
	}
}

// FuzzLook reads NAL units of any content.
func FuzzLook(f *testing.F) {
	for _, n := range [][]byte{sps, pps, idr, inter, intra, recovery, refresh, userData, delimiter, {0x42, 1, 1}, {0x4e, 1, 6, 1, 0x80}} {
		f.Add(n)
	}
	f.Fuzz(func(t *testing.T, nal []byte) {
		var sets parameterSets
		for _, look := range []look{lookH264, lookH265} {
			var p picture
			look(nal, &p, &sets)
			if p.keyframe() && p.slices == 0 {
				t.Fatalf("%x is a keyframe without a slice", nal)
			}
		}
		announce(lookH264, &sets, nal, nal)
	})
}
