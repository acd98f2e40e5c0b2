package sim

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"sightline/pipeline"
)

// clockRate is that of RTP video (RFC 6184 §5.1, RFC 7798 §4.1, RFC 2435 §3).
const clockRate = 90000

// StreamOptions says what a stream carries.
type StreamOptions struct {
	Codec pipeline.Codec // default H264
	Audio bool           // a track of G.711 silence, described before the video
	// OutOfBand leaves parameter sets out of the pictures: viewers find them in the description
	// only, which is complete once a keyframe was published.
	OutOfBand bool
}

// Stream is one path of a server. Publish is called from one goroutine at a time.
type Stream struct {
	options  StreamOptions
	desc     *description.Session
	video    *description.Media
	audio    *description.Media
	format   format.Format
	encode   func([][]byte) ([]*rtp.Packet, error)
	learn    func(nal []byte) bool // keeps a parameter set for the description; nil without
	reports  time.Duration
	clockOff time.Duration
	base     uint32 // RTP time of presentation time 0
	sequence uint16
	voice    voice
	nals     [][]byte

	mu       sync.Mutex
	stream   *gortsplib.ServerStream // nil while the server is stopped
	source   uint32                  // SSRC
	reported time.Time
	packets  uint32
	octets   uint32
}

func newStream(options StreamOptions, reports, clockError time.Duration) (*Stream, error) {
	if options.Codec == "" {
		options.Codec = pipeline.H264
	}
	if reports == 0 {
		reports = defaultReports
	}
	s := &Stream{options: options, reports: reports, clockOff: clockError, base: rand.Uint32(), sequence: uint16(rand.Uint32())}
	if err := s.choose(); err != nil {
		return nil, err
	}
	s.video = &description.Media{Type: description.MediaTypeVideo, Formats: []format.Format{s.format}}
	s.desc = &description.Session{Title: "Sightline simulated camera", Medias: []*description.Media{s.video}}
	if options.Audio {
		s.audio = &description.Media{Type: description.MediaTypeAudio, Formats: []format.Format{
			&format.G711{MULaw: true, SampleRate: 8000, ChannelCount: 1},
		}}
		s.desc.Medias = []*description.Media{s.audio, s.video}
	}
	return s, nil
}

// choose sets what depends on the codec.
func (s *Stream) choose() error {
	switch s.options.Codec {
	case pipeline.H264:
		f := &format.H264{PayloadTyp: 96, PacketizationMode: 1}
		e, err := f.CreateEncoder()
		if err != nil {
			return err
		}
		s.format, s.encode, s.learn = f, e.Encode, func(nal []byte) bool { return learnH264(f, nal) }
	case pipeline.H265:
		f := &format.H265{PayloadTyp: 96}
		e, err := f.CreateEncoder()
		if err != nil {
			return err
		}
		s.format, s.encode, s.learn = f, e.Encode, func(nal []byte) bool { return learnH265(f, nal) }
	case pipeline.MJPEG:
		f := &format.MJPEG{}
		e, err := f.CreateEncoder()
		if err != nil {
			return err
		}
		s.format, s.encode = f, func(nals [][]byte) ([]*rtp.Packet, error) { return e.Encode(nals[0]) }
	default:
		return fmt.Errorf("codec %q is unknown (h264, h265 or mjpeg)", s.options.Codec)
	}
	return nil
}

func (s *Stream) open(server *gortsplib.Server) error {
	stream := &gortsplib.ServerStream{Server: server, Desc: s.desc}
	if err := stream.Initialize(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stream, s.reported = stream, time.Time{}
	s.source = stream.Stats().Medias[s.video].Formats[s.format].LocalSSRC
	return nil
}

func (s *Stream) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stream != nil {
		s.stream.Close()
		s.stream = nil
	}
}

func (s *Stream) served() *gortsplib.ServerStream {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stream
}

// Publish sends one picture to all viewers: its NAL units without start codes (of MJPEG one whole
// JPEG), its presentation time in ticks of 1/90000 s, and when it was taken, which the sender reports
// tell. It keeps nothing of nals. Without viewers, or while the server is stopped, it does nothing.
func (s *Stream) Publish(nals [][]byte, pts int64, captured time.Time) error {
	packets, err := s.packetise(nals)
	if err != nil {
		return fmt.Errorf("publish picture: %w", err)
	}
	return s.send(packets, pts, captured)
}

// packetise makes packets without time and number.
func (s *Stream) packetise(nals [][]byte) ([]*rtp.Packet, error) {
	if s.learn != nil {
		s.nals = s.nals[:0]
		for _, n := range nals {
			if set := s.learn(n); !set || !s.options.OutOfBand {
				s.nals = append(s.nals, n)
			}
		}
		nals = s.nals
	}
	if len(nals) == 0 {
		return nil, nil
	}
	return s.encode(nals)
}

// send sends packets, which it numbers; they may be sent again.
func (s *Stream) send(packets []*rtp.Packet, pts int64, captured time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stream == nil {
		return nil
	}
	timestamp := s.base + uint32(pts)
	if s.reports > 0 && captured.Sub(s.reported).Abs() >= s.reports {
		s.reported = captured
		if err := s.stream.WritePacketRTCP(s.video, s.report(timestamp, captured)); err != nil {
			return fmt.Errorf("send report: %w", err)
		}
	}
	for _, p := range packets {
		p.Timestamp, p.SequenceNumber = timestamp, s.sequence
		s.sequence++
		s.packets++
		s.octets += uint32(len(p.Payload))
		if err := s.stream.WritePacketRTPWithNTP(s.video, p, captured); err != nil {
			return fmt.Errorf("send picture: %w", err)
		}
	}
	if s.audio != nil {
		return s.voice.speak(s.stream, s.audio, captured)
	}
	return nil
}

func (s *Stream) report(timestamp uint32, captured time.Time) *rtcp.SenderReport {
	return &rtcp.SenderReport{
		SSRC: s.source, NTPTime: ntp(captured.Add(s.clockOff)), RTPTime: timestamp,
		PacketCount: s.packets, OctetCount: s.octets,
	}
}

// ntp converts to seconds since 1900 and their fraction in units of 2⁻³² s (RFC 3550 §4).
func ntp(t time.Time) uint64 {
	return uint64(t.Unix()+2208988800)<<32 | uint64(t.Nanosecond())<<32/uint64(time.Second)
}

func learnH264(f *format.H264, nal []byte) bool {
	if len(nal) == 0 {
		return false
	}
	sps, pps := f.SafeParams()
	switch nal[0] & 0x1f {
	case 7:
		f.SafeSetParams(kept(sps, nal), pps)
	case 8:
		f.SafeSetParams(sps, kept(pps, nal))
	default:
		return false
	}
	return true
}

func learnH265(f *format.H265, nal []byte) bool {
	if len(nal) < 2 {
		return false
	}
	vps, sps, pps := f.SafeParams()
	switch nal[0] >> 1 & 0x3f {
	case 32:
		f.SafeSetParams(kept(vps, nal), sps, pps)
	case 33:
		f.SafeSetParams(vps, kept(sps, nal), pps)
	case 34:
		f.SafeSetParams(vps, sps, kept(pps, nal))
	default:
		return false
	}
	return true
}

// kept returns old when it equals nal, else a copy of nal.
func kept(old, nal []byte) []byte {
	if string(old) == string(nal) {
		return old
	}
	return append([]byte(nil), nal...)
}

// voice sends silence, as much as time has passed.
type voice struct {
	begun    time.Time
	samples  uint32
	sequence uint16
}

const voiceSamples = 160 // 20 ms at 8 kHz

func (v *voice) speak(stream *gortsplib.ServerStream, media *description.Media, now time.Time) error {
	if v.begun.IsZero() {
		v.begun = now
	}
	for time.Duration(v.samples)*time.Second/8000 < now.Sub(v.begun) {
		silence := make([]byte, voiceSamples)
		for i := range silence {
			silence[i] = 0xff // µ-law zero
		}
		packet := &rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: 0, SequenceNumber: v.sequence, Timestamp: v.samples}, Payload: silence}
		v.sequence++
		v.samples += voiceSamples
		if err := stream.WritePacketRTPWithNTP(media, packet, now); err != nil {
			return fmt.Errorf("send audio: %w", err)
		}
	}
	return nil
}
