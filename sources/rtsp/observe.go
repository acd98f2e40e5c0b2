package rtsp

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/pion/rtcp"
)

// Observation keeps what the connections of a source show beside pictures. It is for those who look at
// a camera, not for those who watch it: a source without one works the same. The zero value is ready.
type Observation struct {
	mu      sync.Mutex
	session *session // the newest connection, nil before the first
	facts   Facts
}

// Facts are what one connection showed so far. Texts are the camera's own, made printable.
type Facts struct {
	Server         string // what the camera calls itself
	Authentication string // how user and password were shown: "", "basic", "digest MD5" or "digest SHA-256"
	Transport      string // the way of the media: TransportTCP, TransportUDP or TransportTLS
	Refused        string // why transport auto does not use UDP, empty when it does or was not asked to
	Tracks         []Track
	FrameRate      float64       // that the description states for the chosen track, 0: none
	Announced      bool          // the description brings a sequence parameter set that can be read
	Packets        uint64        // of media, received
	Lost           uint64        // that never came
	Reordered      uint64        // that came after a later one, over UDP
	Reports        int           // sender reports that state a time (RFC 3550 §6.4.1)
	Timeless       int           // sender reports that state none
	ClockOffset    time.Duration // what the camera's clock is ahead of this machine's, by the last report
}

// Facts returns those of the newest connection. It may be called from any goroutine at any time.
func (o *Observation) Facts() Facts {
	o.mu.Lock()
	defer o.mu.Unlock()
	f := o.facts
	if o.session == nil {
		return f
	}
	f.Transport, f.Packets = o.session.transport(), o.session.packets.Load()
	if link := o.session.udp(); link != nil {
		link.mu.Lock()
		f.Reordered = link.reception.turned
		link.mu.Unlock()
	}
	return f
}

// note changes the facts; it does nothing without an observation.
func (o *Observation) note(change func(*Facts)) {
	if o == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	change(&o.facts)
}

// begin forgets the connection before; why is the reason not to use UDP again.
func (o *Observation) begin(c *session, why error) {
	if o == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.session, o.facts = c, Facts{}
	if why != nil {
		o.facts.Refused = printable(why.Error())
	}
}

func (o *Observation) request(req *base.Request) {
	if o == nil || len(req.Header["Authorization"]) == 0 {
		return
	}
	scheme, rest, _ := strings.Cut(req.Header["Authorization"][0], " ")
	kind := strings.ToLower(scheme)
	switch {
	case kind == "digest" && strings.Contains(rest, "SHA-256"):
		kind += " SHA-256"
	case kind == "digest":
		kind += " MD5"
	}
	o.note(func(f *Facts) { f.Authentication = kind })
}

func (o *Observation) response(res *base.Response) {
	if o == nil || len(res.Header["Server"]) == 0 {
		return
	}
	name := printable(strings.TrimSpace(res.Header["Server"][0]))
	o.note(func(f *Facts) { f.Server = name })
}

// describe notes the tracks; t is the one that is received.
func (o *Observation) describe(offer offer, t track, announced bool) {
	payload := strconv.Itoa(int(t.format.PayloadType()))
	o.note(func(f *Facts) {
		f.Tracks, f.FrameRate, f.Announced = offer.tracks(payload), offer.frameRate(payload), announced
	})
}

func (o *Observation) lose(n uint64) { o.note(func(f *Facts) { f.Lost += min(n, 1<<15) }) }

func (o *Observation) report(sr *rtcp.SenderReport, nanoseconds bool) {
	now := time.Now()
	o.note(func(f *Facts) {
		if sr.NTPTime == 0 {
			f.Timeless++
			return
		}
		f.Reports++
		f.ClockOffset = ntpTime(sr.NTPTime, nanoseconds).Sub(now)
	})
}

// frameRate returns the pictures a second that a description states for a payload type, in one of two
// ways (RFC 4566 §6, and what some cameras write instead), or 0.
func (o offer) frameRate(payload string) float64 {
	for _, s := range o.video() {
		for _, a := range s.attributes {
			key, value, _ := strings.Cut(a, ":")
			rate, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			named := key == "framerate" || key == "x-framerate"
			if named && err == nil && rate > 0 && rate <= 1000 && slices.Contains(s.payloads, payload) {
				return rate
			}
		}
	}
	return 0
}
