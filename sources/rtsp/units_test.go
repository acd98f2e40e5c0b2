package rtsp

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"

	"sightline/pipeline"
)

// NAL units of H.264 whose headers are real: a slice header begins with first_mb_in_slice and
// slice_type in Exp-Golomb (ITU-T H.264 §7.3.3).
var (
	sps       = []byte{0x67, 0x42, 0x00, 0x1e, 0x95, 0xa8}
	spsOther  = []byte{0x67, 0x4d, 0x00, 0x1e, 0x95, 0xa8}
	pps       = []byte{0x68, 0xce, 0x3c, 0x80}
	ppsOne    = []byte{0x68, 0x5e, 0x3c, 0x80} // pic_parameter_set_id 1
	delimiter = []byte{0x09, 0xf0}
	idr       = []byte{0x65, 0x88, 0x84, 0x11}       // mb 0, I
	idrSecond = []byte{0x65, 0x22, 0x20, 0x12}       // mb 3, I
	inter     = []byte{0x41, 0x9a, 0x22, 0x13}       // mb 0, P
	interNext = []byte{0x41, 0x26, 0x88, 0x14}       // mb 3, P
	intra     = []byte{0x41, 0x88, 0x84, 0x15}       // mb 0, I, not IDR
	recovery  = []byte{0x06, 0x06, 0x01, 0xc0, 0x80} // recovery_frame_cnt 0
	refresh   = []byte{0x06, 0x06, 0x01, 0x24, 0x80} // recovery_frame_cnt 8
	userData  = []byte{0x06, 0x05, 0x02, 0xff, 0xff, 0x80}
)

// sent is a packet: its NAL units (several in an aggregation), its timestamp in pictures, its marker.
type sent struct {
	nals   [][]byte
	at     uint32
	marker bool
}

func one(nal []byte, at uint32, marker bool) sent { return sent{[][]byte{nal}, at, marker} }

func (s sent) packet(sequence uint16) *rtp.Packet {
	payload := s.nals[0]
	if len(s.nals) > 1 { // STAP-A, RFC 6184 §5.7.1
		payload = []byte{24}
		for _, n := range s.nals {
			payload = append(payload, byte(len(n)>>8), byte(len(n)))
			payload = append(payload, n...)
		}
	}
	return &rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: sequence, Timestamp: s.at * 3000, Marker: s.marker, SSRC: 1}, Payload: payload}
}

func h264Track(t testing.TB, described ...[]byte) (depacketize, look, parameterSets) {
	f := &format.H264{PayloadTyp: 96, PacketizationMode: 1}
	if len(described) == 2 {
		f.SafeSetParams(described[0], described[1])
	}
	d, l, sets, err := track{format: f, codec: pipeline.H264}.reader()
	if err != nil {
		t.Fatal(err)
	}
	return d, l, sets
}

// assembled is what a table expects of a unit.
type assembled struct {
	nals [][]byte
	key  bool
	at   uint32
	lost uint64
}

func TestAccessUnits(t *testing.T) {
	for _, test := range []struct {
		name      string
		described [][]byte
		sent      []sent
		lose      map[int]uint64 // before which packet how many are missing
		want      []assembled
	}{
		{
			"one packet each", nil,
			[]sent{{[][]byte{sps, pps, idr}, 0, true}, one(inter, 1, true), one(inter, 2, true)}, nil,
			[]assembled{{[][]byte{sps, pps, idr}, true, 0, 0}, {[][]byte{inter}, false, 1, 0}, {[][]byte{inter}, false, 2, 0}},
		},
		{
			"slices in packets of their own", nil,
			[]sent{{[][]byte{sps, pps}, 0, false}, one(idr, 0, false), one(idrSecond, 0, true), one(inter, 1, false), one(interNext, 1, true)}, nil,
			[]assembled{{[][]byte{sps, pps, idr, idrSecond}, true, 0, 0}, {[][]byte{inter, interNext}, false, 1, 0}},
		},
		{
			"parameter sets come from the description, after the delimiter", [][]byte{sps, pps},
			[]sent{{[][]byte{delimiter, idr}, 0, true}, {[][]byte{delimiter, inter}, 1, true}}, nil,
			[]assembled{{[][]byte{delimiter, sps, pps, idr}, true, 0, 0}, {[][]byte{delimiter, inter}, false, 1, 0}},
		},
		{
			"the description has start codes in its parameter sets", [][]byte{append([]byte{0, 0, 0, 1}, sps...), append([]byte{0, 0, 1}, pps...)},
			[]sent{one(idr, 0, true)}, nil,
			[]assembled{{[][]byte{sps, pps, idr}, true, 0, 0}},
		},
		{
			"parameter sets of an earlier keyframe, changed in-band, two of a kind", [][]byte{sps, pps},
			[]sent{{[][]byte{spsOther, ppsOne, idr}, 0, true}, one(idr, 1, true)}, nil,
			[]assembled{{[][]byte{spsOther, ppsOne, idr}, true, 0, 0}, {[][]byte{spsOther, pps, ppsOne, idr}, true, 1, 0}},
		},
		{
			"parameter sets with a marker of their own are no picture", nil,
			[]sent{one(sps, 0, true), one(pps, 0, true), one(idr, 0, true), one(inter, 1, true)}, nil,
			[]assembled{{[][]byte{sps, pps, idr}, true, 0, 0}, {[][]byte{inter}, false, 1, 0}},
		},
		{
			"several units in one packet, as a byte stream", nil,
			[]sent{one(bytes.Join([][]byte{nil, sps, pps, idr}, []byte{0, 0, 0, 1}), 0, true), one(bytes.Join([][]byte{inter, interNext}, []byte{0, 0, 1}), 1, true)}, nil,
			[]assembled{{[][]byte{sps, pps, idr}, true, 0, 0}, {[][]byte{inter, interNext}, false, 1, 0}},
		},
		{
			"no markers at all", nil,
			[]sent{one(idr, 0, false), one(inter, 1, false), one(interNext, 1, false), one(inter, 2, false)}, nil,
			[]assembled{{[][]byte{idr}, true, 0, 0}, {[][]byte{inter, interNext}, false, 1, 0}},
		},
		{
			"a marker that was lost holds nothing back", nil,
			[]sent{one(idr, 0, true), one(inter, 1, false), one(inter, 2, true), one(inter, 3, true)}, map[int]uint64{2: 1},
			[]assembled{{[][]byte{idr}, true, 0, 0}, {[][]byte{inter}, false, 1, 1}, {[][]byte{inter}, false, 2, 0}, {[][]byte{inter}, false, 3, 0}},
		},
		{
			"a marker after each slice is not believed for long", nil,
			[]sent{
				one(inter, 0, true), one(interNext, 0, true), one(inter, 1, true), one(interNext, 1, true),
				one(inter, 2, true), one(interNext, 2, true), one(inter, 3, true),
			}, nil,
			[]assembled{
				{[][]byte{inter}, false, 0, 0}, {[][]byte{interNext}, false, 0, 0},
				{[][]byte{inter, interNext}, false, 1, 0}, {[][]byte{inter, interNext}, false, 2, 0},
			},
		},
		{
			"a stream that is joined within a keyframe", nil,
			[]sent{one(idrSecond, 0, true), one(idr, 1, true)}, nil,
			[]assembled{{[][]byte{idrSecond}, false, 0, 0}, {[][]byte{idr}, true, 1, 0}},
		},
		{
			"open GOP: I pictures and recovery points are keyframes", nil,
			[]sent{{[][]byte{recovery, intra}, 0, true}, one(intra, 1, true), {[][]byte{userData, inter}, 2, true}}, nil,
			[]assembled{{[][]byte{recovery, intra}, true, 0, 0}, {[][]byte{intra}, true, 1, 0}, {[][]byte{userData, inter}, false, 2, 0}},
		},
		{
			"intra refresh: where it begins, from the second time", nil,
			[]sent{
				one(idr, 0, true), {[][]byte{refresh, inter}, 1, true}, one(inter, 2, true), {[][]byte{refresh, inter}, 3, true},
				one(idr, 4, true), {[][]byte{refresh, inter}, 5, true},
			}, nil,
			[]assembled{
				{[][]byte{idr}, true, 0, 0}, {[][]byte{refresh, inter}, false, 1, 0}, {[][]byte{inter}, false, 2, 0},
				{[][]byte{refresh, inter}, true, 3, 0}, {[][]byte{idr}, true, 4, 0}, {[][]byte{refresh, inter}, false, 5, 0},
			},
		},
		{
			"packets that cannot be read count as lost", nil,
			[]sent{one([]byte{27, 1, 2}, 0, false), one(inter, 0, true), one(inter, 1, true)}, nil,
			[]assembled{{[][]byte{inter}, false, 0, 1}, {[][]byte{inter}, false, 1, 0}},
		},
		{
			"a whole picture that is lost counts for the next; a camera that counts anew does not count much", nil,
			[]sent{one(idr, 0, true), one(inter, 3, true), one(inter, 4, true)}, map[int]uint64{1: 7, 2: 65535},
			[]assembled{{[][]byte{idr}, true, 0, 0}, {[][]byte{inter}, false, 3, 7}, {[][]byte{inter}, false, 4, 1 << 15}},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got []assembled
			d, l, sets := h264Track(t, test.described...)
			a := &assembler{codec: pipeline.H264, depacketize: d, look: l, sets: sets, take: func(u *pipeline.Unit) {
				c := assembled{key: u.Keyframe, at: uint32((u.PTS + time.Second/60) / (time.Second / 30)), lost: u.Lost}
				for _, n := range u.NALs {
					c.nals = append(c.nals, bytes.Clone(n))
				}
				got = append(got, c)
			}}
			now := time.Now()
			for i, s := range test.sent {
				a.lose(test.lose[i])
				a.packet(s.packet(uint16(i)), now.Add(time.Duration(s.at)*time.Second/30))
			}
			compare(t, got, test.want)
		})
	}
}

func compare(t *testing.T, got, want []assembled) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d units %v, want %d", len(got), got, len(want))
	}
	for i, w := range want {
		g := got[i]
		if g.key != w.key || g.at != w.at || g.lost != w.lost {
			t.Errorf("unit %d: keyframe %t, at %d, %d lost; want %t, %d, %d", i, g.key, g.at, g.lost, w.key, w.at, w.lost)
		}
		if !bytes.Equal(bytes.Join(g.nals, []byte{0, 0, 1}), bytes.Join(w.nals, []byte{0, 0, 1})) {
			t.Errorf("unit %d: NAL units %x, want %x", i, g.nals, w.nals)
		}
	}
}

func TestUnitsAreBounded(t *testing.T) {
	d, l, sets := h264Track(t)
	var delivered, lost uint64
	a := &assembler{codec: pipeline.H264, depacketize: d, look: l, sets: sets, take: func(u *pipeline.Unit) {
		delivered++
		size := 0
		for _, n := range u.NALs {
			size += len(n)
		}
		if lost += u.Lost; size > maxUnitBytes || len(u.NALs) > maxUnitNALs {
			t.Errorf("a unit of %d bytes, %d NAL units", size, len(u.NALs))
		}
	}}
	big := append(bytes.Clone(inter), bytes.Repeat([]byte{0xff}, 60_000)...)
	for i := range 2 * maxUnitBytes / len(big) {
		a.packet(one(big, 0, false).packet(uint16(i)), time.Now())
	}
	for i := range 3 * maxUnitNALs {
		a.packet(one(inter, 1, false).packet(uint16(i)), time.Now())
	}
	a.packet(one(inter, 2, true).packet(0), time.Now())
	if delivered == 0 || lost == 0 {
		t.Errorf("%d units are delivered, %d packets counted as lost", delivered, lost)
	}
	if cap(a.nals) > 2*maxUnitNALs {
		t.Errorf("room for %d NAL units is kept", cap(a.nals))
	}
}

// TestDeliveringAllocatesNothing is about this package's part: gortsplib makes packets and joins
// fragments in new memory.
func TestDeliveringAllocatesNothing(t *testing.T) {
	_, l, sets := h264Track(t, sps, pps)
	units := [][][]byte{{delimiter, idr}, {inter}, {inter, interNext}}
	n := 0
	a := &assembler{codec: pipeline.H264, look: l, sets: sets, take: func(*pipeline.Unit) {}}
	a.depacketize = func(*rtp.Packet) ([][]byte, error) { n++; return units[n%len(units)], nil }
	pkt := &rtp.Packet{Header: rtp.Header{Version: 2, Marker: true, SSRC: 1}}
	now := time.Now()
	if got := testing.AllocsPerRun(1000, func() {
		pkt.Timestamp += 3000
		pkt.Marker = true
		now = now.Add(time.Second / 30)
		a.packet(pkt, now)
	}); got != 0 {
		t.Errorf("%v allocations a picture", got)
	}
}

func TestCaptureTimes(t *testing.T) {
	begin := time.Date(2026, 3, 1, 12, 0, 0, 500e6, time.UTC)
	report := func(at time.Time, timestamp uint32, nanoseconds bool) *rtcp.SenderReport {
		fraction := uint64(at.Nanosecond())
		if !nanoseconds {
			fraction = fraction << 32 / 1e9
		}
		return &rtcp.SenderReport{SSRC: 1, NTPTime: uint64(at.Unix()+ntpOffset)<<32 | fraction, RTPTime: timestamp}
	}
	const start = 1<<32 - 45000 // timestamps wrap around after half a second
	ts := func(d time.Duration) uint32 { return start + uint32(d*90/time.Millisecond) }
	var c senderClock
	if !c.capture(1, start).IsZero() {
		t.Error("there is a time before the first report")
	}
	c.take(&rtcp.SenderReport{SSRC: 1, RTPTime: start})
	if !c.capture(1, start).IsZero() {
		t.Error("a report without a clock is believed")
	}
	c.take(report(begin, start, false))
	for _, d := range []time.Duration{0, time.Second, -time.Second, 40 * time.Millisecond, 5 * time.Minute} {
		if off := c.capture(1, ts(d)).Sub(begin.Add(d)).Abs(); off > time.Microsecond {
			t.Errorf("%v later it is %v off", d, off)
		}
	}
	if !c.capture(2, start).IsZero() {
		t.Error("the report of another source is used")
	}
	c.forget()
	if !c.capture(1, start).IsZero() {
		t.Error("a report that was forgotten is used")
	}

	t.Run("fractions in nanoseconds are found out by the second report", func(t *testing.T) {
		var c senderClock
		for i, d := range []time.Duration{0, 5*time.Second + 300*time.Millisecond, 10 * time.Second} {
			c.take(report(begin.Add(d), ts(d), true))
			if off := c.capture(1, ts(d)).Sub(begin.Add(d)).Abs(); i > 0 && off > time.Microsecond {
				t.Errorf("after report %d it is %v off", i+1, off)
			}
		}
		c.forget()
		c.take(report(begin, start, true))
		if off := c.capture(1, start).Sub(begin).Abs(); off > time.Microsecond {
			t.Errorf("after a new beginning it is %v off", off)
		}
	})
	t.Run("standard fractions stay so", func(t *testing.T) {
		var c senderClock
		for _, d := range []time.Duration{0, 5 * time.Second, 10*time.Second + 70*time.Millisecond, 15 * time.Second} {
			c.take(report(begin.Add(d), ts(d), false))
			if off := c.capture(1, ts(d)).Sub(begin.Add(d)).Abs(); off > time.Microsecond {
				t.Errorf("after %v it is %v off", d, off)
			}
		}
	})
}

func TestNTPTime(t *testing.T) {
	for _, test := range []struct {
		ntp  uint64
		want time.Time
	}{
		{0x83aa7e80 << 32, time.Unix(0, 0)},
		{0xe9b0e4a0<<32 | 1<<31, time.Date(2024, 3, 30, 0, 0, 0, 500e6, time.UTC)},
		{0x00000001 << 32, time.Date(2036, 2, 7, 6, 28, 17, 0, time.UTC)},
	} {
		if got := ntpTime(test.ntp, false); test.want.Year() != 2024 && !got.Equal(test.want) || got.Year() != test.want.Year() || got.Nanosecond() != test.want.Nanosecond() {
			t.Errorf("%#x is %v, want %v", test.ntp, got.UTC(), test.want.UTC())
		}
	}
}

func TestTimeline(t *testing.T) {
	begin := time.Now()
	var l timeline
	steps := []struct {
		name      string
		timestamp uint32
		at        time.Duration
		pts       time.Duration
		jumped    bool
	}{
		{"begins at zero", 1<<32 - 9000, 0, 0, false},
		{"goes on", 1<<32 - 4500, 50 * time.Millisecond, 50 * time.Millisecond, false},
		{"wraps around", 4500, 150 * time.Millisecond, 150 * time.Millisecond, false},
		{"goes back for a B-picture", 0, 160 * time.Millisecond, 100 * time.Millisecond, false},
		{"comes in a burst", 90000, 200 * time.Millisecond, 1100 * time.Millisecond, false},
		{"is set back to zero by the camera", 3_000_000_000, 300 * time.Millisecond, 1200 * time.Millisecond, true},
		{"goes on from there", 3_000_009_000, 400 * time.Millisecond, 1300 * time.Millisecond, false},
	}
	for _, s := range steps {
		pts, jumped := l.advance(s.timestamp, begin.Add(s.at))
		if pts != s.pts || jumped != s.jumped {
			t.Errorf("%s: %v, jumped %t; want %v, %t", s.name, pts, jumped, s.pts, s.jumped)
		}
	}
}

func TestChoice(t *testing.T) {
	video := func(formats ...format.Format) *description.Media {
		return &description.Media{Type: description.MediaTypeVideo, Formats: formats}
	}
	generic := &format.Generic{PayloadTyp: 99, RTPMa: "MP4V-ES/90000"}
	if err := generic.Init(); err != nil {
		t.Fatal(err)
	}
	audio := &description.Media{Type: description.MediaTypeAudio, Formats: []format.Format{&format.G711{}}}
	h264, h265, jpeg := &format.H264{PayloadTyp: 96}, &format.H265{PayloadTyp: 97}, &format.MJPEG{}
	back := video(h264)
	back.IsBackChannel = true
	for _, test := range []struct {
		name   string
		medias []*description.Media
		want   format.Format
		says   string
	}{
		{"video beside audio", []*description.Media{audio, video(h264)}, h264, ""},
		{"the first of several", []*description.Media{video(h265), video(h264)}, h265, ""},
		{"anything before MJPEG", []*description.Media{video(jpeg), video(h264)}, h264, ""},
		{"MJPEG when there is nothing else", []*description.Media{audio, video(generic), video(jpeg)}, jpeg, ""},
		{"one of the formats of a track", []*description.Media{video(generic, h264)}, h264, ""},
		{"not a back channel", []*description.Media{back, video(jpeg)}, jpeg, ""},
		{"no video", []*description.Media{audio}, nil, "no video track"},
		{"another codec", []*description.Media{audio, video(&format.AV1{})}, nil, `"AV1" only`},
		{"a codec that nobody knows", []*description.Media{video(generic)}, nil, `"MP4V-ES" only`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := choose(test.medias)
			if test.want != nil && (err != nil || got.format != test.want) {
				t.Errorf("chose %v: %v", got.format, err)
			}
			if test.says != "" && (err == nil || !bytes.Contains([]byte(err.Error()), []byte(test.says)) || !pipeline.IsPermanent(err)) {
				t.Errorf("error %v does not say %q, or is not permanent", err, test.says)
			}
		})
	}
}

func TestPackingThatIsNotSupported(t *testing.T) {
	for _, f := range []format.Format{&format.H264{PacketizationMode: 2}, &format.H265{MaxDONDiff: 1}} {
		if _, _, _, err := (track{format: f}).reader(); !pipeline.IsPermanent(err) {
			t.Errorf("%T: %v", f, err)
		}
	}
	if _, _, _, err := (track{format: &format.AV1{}}).reader(); err == nil || errors.Is(err, pipeline.ErrClosed) {
		t.Error("AV1 is read")
	}
}
