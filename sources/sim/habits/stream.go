package habits

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// stream sends pictures to one viewer.
type stream struct {
	visit  *visit
	media  *Media
	clip   *clip
	remote [2]*net.UDPAddr   // of the viewer, for RTP and RTCP; nil: interleaved
	sock   [2]net.PacketConn // ours
	mu     sync.Mutex        // held while a message or a frame is written
	halted chan struct{}
	worker sync.WaitGroup
	begun  bool

	place    int // in the clip
	time     uint32
	sequence uint16
	source   uint32
	frozen   bool
	sent     int    // media packets
	held     []byte // comes after the next one
}

// newStream makes what a SETUP asks for. Without a socket for UDP it is a stream that sends nothing.
func newStream(v *visit, req *Request) *stream {
	m := &v.camera.Habit.Media
	s := &stream{
		visit: v, media: m, clip: v.camera.clip, halted: make(chan struct{}),
		time: m.Start, sequence: m.Sequence, source: 0x51,
	}
	port, err := clientPort(req.Header.Get("Transport"))
	host, _, splitErr := net.SplitHostPort(v.conn.RemoteAddr().String())
	if err != nil || splitErr != nil {
		return s
	}
	for range 32 {
		own := 10000 + 2*rand.IntN((65534-10000)/2)
		if s.sock[0], err = net.ListenPacket("udp", "127.0.0.1:"+strconv.Itoa(own)); err != nil {
			continue
		}
		if s.sock[1], err = net.ListenPacket("udp", "127.0.0.1:"+strconv.Itoa(own+1)); err == nil {
			s.remote[0] = &net.UDPAddr{IP: net.ParseIP(host), Port: port}
			s.remote[1] = &net.UDPAddr{IP: net.ParseIP(host), Port: port + 1}
			return s
		}
		s.sock[0].Close()
	}
	return s
}

func (s *stream) transport() string {
	if s == nil || s.remote[0] == nil {
		return "RTP/AVP/TCP;unicast;interleaved=0-1"
	}
	own := s.sock[0].LocalAddr().(*net.UDPAddr).Port
	return fmt.Sprintf("RTP/AVP;unicast;client_port=%d-%d;server_port=%d-%d", s.remote[0].Port, s.remote[1].Port, own, own+1)
}

// play begins to send; it returns at once.
func (s *stream) play() {
	if s.begun {
		return
	}
	s.begun = true
	s.worker.Go(func() {
		if s.send() == nil && s.media.Then == "close" {
			s.visit.conn.Close()
		}
	})
}

func (s *stream) close() {
	close(s.halted)
	s.worker.Wait()
	for _, sock := range s.sock {
		if sock != nil {
			sock.Close()
		}
	}
}

func (s *stream) send() error {
	for _, p := range s.visit.camera.Packets {
		if err := s.frame(0, p); err != nil {
			return err
		}
	}
	if s.visit.camera.Packets != nil {
		return nil
	}
	if err := s.report(); err != nil {
		return err
	}
	pictures := s.media.Pictures
	if pictures == 0 {
		pictures = 40
	}
	for n := range pictures {
		if err := errors.Join(s.turns(n, false), s.picture()); err != nil {
			return err
		}
		if err := s.rest(); err != nil {
			return err
		}
	}
	return nil
}

// rest waits until the next picture is due.
func (s *stream) rest() error {
	pace := s.visit.camera.Pace
	if pace == 0 {
		pace = s.media.Pace
	}
	if pace == 0 && s.remote[0] != nil {
		pace = time.Millisecond
	}
	if pace == 0 {
		return nil
	}
	select {
	case <-time.After(pace):
		return nil
	case <-s.halted:
		return net.ErrClosed
	}
}

// early does what comes before the answer to PLAY.
func (s *stream) early() { _ = s.turns(0, true) }

// turns does what comes before picture n.
func (s *stream) turns(n int, before bool) error {
	for _, t := range s.media.At {
		if t.Before != before || n != t.Picture && !(t.Repeat && n > t.Picture) {
			continue
		}
		if err := s.turn(t); err != nil {
			return err
		}
	}
	return nil
}

func (s *stream) turn(t Turn) error {
	s.time += uint32(t.Jump)
	s.frozen = s.frozen || t.Freeze
	if t.Source != 0 {
		s.source = t.Source
	}
	if t.Restart {
		s.sequence = 0
	}
	if t.Clip != "" {
		next, err := readClip(t.Clip)
		if err != nil {
			return err
		}
		s.clip, s.place = next, 0
	}
	if t.Channel != 0 {
		if err := s.raw([]byte{'$', byte(t.Channel), 0, 4, 1, 2, 3, 4}); err != nil {
			return err
		}
	}
	if t.Garbage != "" {
		if err := s.raw([]byte(t.Garbage)); err != nil {
			return err
		}
	}
	if t.Request != "" {
		return s.raw([]byte(strings.ReplaceAll(strings.TrimSpace(t.Request), "\n", "\r\n") + "\r\n\r\n"))
	}
	return nil
}

// raw writes into the connection as it is.
func (s *stream) raw(p []byte) error {
	_, err := s.visit.write(p)
	return err
}

// picture sends the next picture of the clip, which begins again after its end.
func (s *stream) picture() error {
	units := s.clip.pictures[s.place]
	if s.place == 0 && s.media.Sets != "described" {
		units = append(append([][]byte{}, s.clip.sets...), units...)
	}
	size := s.media.Payload
	if size == 0 {
		size = 1200
	}
	step := s.media.Step
	if step == 0 {
		step = 3600
	}
	stamp := s.time + uint32(s.clip.shift(s.place)*int64(step))
	payloads := pack(s.clip.codec, s.media.Packing, units, size)
	for i, p := range payloads {
		if err := s.packet(p, stamp, i == len(payloads)-1); err != nil {
			return err
		}
	}
	if s.place = (s.place + 1) % len(s.clip.pictures); !s.frozen {
		s.time += step
	}
	return nil
}

func (s *stream) packet(payload []byte, stamp uint32, last bool) error {
	header := []byte{0x80, 96, 0, 0}
	if s.media.Markers == "every_packet" || last && s.media.Markers != "none" {
		header[1] |= 0x80
	}
	binary.BigEndian.PutUint16(header[2:], s.sequence)
	s.sequence++
	packet := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(header, stamp), s.source)
	packet = append(packet, payload...)
	if n := s.media.Padding; n > 0 {
		packet[0] |= 0x20
		packet = append(append(packet, bytes.Repeat([]byte{0}, n-1)...), byte(n))
	}
	s.sent++
	if s.remote[0] == nil {
		return s.frame(0, packet)
	}
	return s.datagrams(packet)
}

// datagrams does to a packet what a bad network does.
func (s *stream) datagrams(packet []byte) error {
	n := &s.media.Network
	every := func(k int) bool { return k > 0 && s.sent%k == 0 }
	switch {
	case every(n.Lose):
		return nil
	case every(n.Turn) && s.held == nil:
		s.held = packet
		return nil
	}
	all := [][]byte{packet}
	if s.held != nil {
		all, s.held = append(all, s.held), nil
	}
	if every(n.Double) {
		all = append(all, packet)
	}
	for _, p := range all {
		if err := s.frame(0, p); err != nil {
			return err
		}
	}
	return nil
}

// frame sends a packet on the way of media (0) or of reports (1).
func (s *stream) frame(channel byte, packet []byte) error {
	if to := s.remote[channel]; to != nil {
		_, err := s.sock[channel].WriteTo(packet, to)
		return err
	}
	return s.raw(append(binary.BigEndian.AppendUint16([]byte{'$', channel}, uint16(len(packet))), packet...))
}

// report sends a sender report (RFC 3550 §6.4.1): this moment by the camera's clock and in RTP time.
func (s *stream) report() error {
	now := time.Now()
	switch s.media.Reports {
	case "right":
	case "wrong":
		now = time.Unix(3600, 0)
	case "zero":
		now = time.Time{}
	default:
		return nil
	}
	var ntp uint64
	if !now.IsZero() {
		ntp = uint64(now.Unix()+2208988800)<<32 | uint64(now.Nanosecond())<<32/uint64(time.Second)
	}
	out := binary.BigEndian.AppendUint32([]byte{0x80, 200, 0, 6}, s.source)
	out = binary.BigEndian.AppendUint64(out, ntp)
	out = binary.BigEndian.AppendUint32(out, s.time)
	return s.frame(1, append(out, make([]byte, 8)...))
}
