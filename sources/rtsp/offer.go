package rtsp

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/sdp"

	"sightline/pipeline"
)

// maxSections bounds the tracks of a description.
const maxSections = 64

// maxPayloads bounds those of one track.
const maxPayloads = 16

// unnamed is how a payload type is called that the description does not name.
const unnamed = "payload type "

// offer is a camera's description (SDP, RFC 4566) as far as it matters here. Cameras break the rules
// of all the rest: unknown kinds of tracks, session lines among those of a track, numbers that are none,
// lines that are broken in two. So the client is given no more than the lines about video.
type offer struct {
	control  string // of the session, empty unless it is an address
	keys     string // of the session, for SRTP
	sections []section
}

// section is one track.
type section struct {
	media      string // "video", "audio", …
	proto      string // "RTP/AVP"
	payloads   []string
	attributes []string // "control:track1"
}

// readOffer never fails: what it does not understand it leaves out.
func readOffer(body []byte) offer {
	var o offer
	for _, line := range sdpLines(string(body)) {
		key, value := line[0], line[2:]
		attribute, rest, _ := strings.Cut(value, ":")
		switch {
		case key == 'm' && len(o.sections) < maxSections:
			o.sections = append(o.sections, readSection(value))
		case key != 'a':
		case len(o.sections) > 0:
			s := &o.sections[len(o.sections)-1]
			s.attributes = append(s.attributes, value)
		case attribute == "control" && isAddress(rest):
			o.control = rest
		case attribute == "key-mgmt":
			o.keys = rest
		}
	}
	return o
}

// sdpLines returns the lines of the form "x=…", each with what follows it up to the next one.
func sdpLines(body string) []string {
	var lines []string
	for line := range strings.Lines(body) {
		line = strings.TrimRight(line, "\r\n\x00 \t")
		begins := len(line) >= 2 && line[1] == '=' && line[0] >= 'a' && line[0] <= 'z'
		switch {
		case begins:
			lines = append(lines, line)
		case len(lines) > 0:
			lines[len(lines)-1] += line
		}
	}
	return lines
}

func readSection(value string) section {
	fields := strings.Fields(value)
	s := section{media: strings.ToLower(first(fields)), proto: "RTP/AVP"}
	if len(fields) < 4 {
		return s
	}
	if strings.Contains(fields[2], "SAVP") {
		s.proto = "RTP/SAVP"
	}
	for _, payload := range fields[3:] {
		if n, err := strconv.Atoi(payload); err == nil && n >= 0 && n <= 127 {
			s.payloads = append(s.payloads, payload)
		}
	}
	return s
}

// formats names the codecs of a section as the camera does.
func (s section) formats() []string {
	var names []string
	for _, payload := range s.payloads {
		name := unnamed + payload
		for _, a := range s.attributes {
			if rest, ok := strings.CutPrefix(a, "rtpmap:"); ok {
				if p, codec, _ := strings.Cut(strings.TrimSpace(rest), " "); p == payload {
					name, _, _ = strings.Cut(strings.TrimSpace(codec), "/")
				}
			}
		}
		names = append(names, name)
	}
	return names
}

// codecOfName is the codec of a name in an rtpmap, or of a payload type that needs none.
func codecOfName(name string) pipeline.Codec {
	switch strings.ToUpper(name) {
	case "H264":
		return pipeline.H264
	case "H265":
		return pipeline.H265
	case "JPEG", "PAYLOAD TYPE 26":
		return pipeline.MJPEG
	}
	return ""
}

// tracks lists what is offered; chosen is the payload type that Receive would take, or empty.
func (o offer) tracks(chosen string) []Track {
	var out []Track
	for _, s := range o.sections {
		for i, name := range s.formats() {
			t := Track{Media: s.media, Format: name}
			if s.media == "video" {
				t.Codec = codecOfName(name)
				t.Chosen = s.payloads[i] == chosen
			}
			if t.Chosen {
				chosen = ""
			}
			out = append(out, t)
		}
	}
	return out
}

func (o offer) video() []section {
	var out []section
	for _, s := range o.sections {
		if s.media != "video" {
			continue
		}
		if s = s.named(); len(s.payloads) > 0 {
			out = append(out, s)
		}
	}
	return out
}

// named leaves out what the client would refuse the whole description for: payload types that nothing
// says the meaning of. What is read has the clock rate that it must have.
func (s section) named() section {
	names, payloads, rates := s.formats(), []string(nil), []string(nil)
	for i, payload := range s.payloads {
		known := codecOfName(names[i]) != ""
		if strings.HasPrefix(names[i], unnamed) && !known || slices.Contains(payloads, payload) || len(payloads) >= maxPayloads {
			continue
		}
		payloads = append(payloads, payload)
		if known && !strings.HasPrefix(names[i], unnamed) {
			rates = append(rates, "rtpmap:"+payload+" "+strings.ToUpper(names[i])+"/90000")
		}
	}
	attributes := slices.DeleteFunc(slices.Clone(s.attributes), func(a string) bool {
		rest, ok := strings.CutPrefix(a, "rtpmap:")
		payload, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
		return ok && slices.ContainsFunc(rates, func(r string) bool { return strings.HasPrefix(r, "rtpmap:"+payload+" ") })
	})
	s.payloads, s.attributes = payloads, append(rates, attributes...)
	return s
}

// String names the tracks, for messages.
func (o offer) String() string {
	var names []string
	for _, s := range o.sections {
		names = append(names, fmt.Sprintf("%.32q", s.media+" "+strings.Join(s.formats(), " or ")))
	}
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, ", ")
}

// reduced is a description of the video tracks only. Their parameters are left out when the client
// would refuse them: parameter sets come in-band too.
func (o offer) reduced() []byte {
	whole := o.write(true)
	var parsed sdp.SessionDescription
	if parsed.Unmarshal(whole) == nil && new(description.Session).Unmarshal(&parsed) == nil {
		return whole
	}
	return o.write(false)
}

func (o offer) write(parameters bool) []byte {
	var b strings.Builder
	b.WriteString("v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n")
	if o.control != "" {
		b.WriteString("a=control:" + o.control + "\r\n")
	}
	if o.keys != "" {
		b.WriteString("a=key-mgmt:" + o.keys + "\r\n")
	}
	for _, s := range o.video() {
		fmt.Fprintf(&b, "m=video 0 %s %s\r\n", s.proto, strings.Join(s.payloads, " "))
		for _, a := range s.attributes {
			if s.keeps(a, parameters) {
				b.WriteString("a=" + a + "\r\n")
			}
		}
	}
	return []byte(b.String())
}

// keeps leaves out sendonly too: cameras say so of the pictures that they send, and the client would
// take it for a track that it has to send.
func (s section) keeps(attribute string, parameters bool) bool {
	key, rest, _ := strings.Cut(attribute, ":")
	payload, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	switch key {
	case "control", "key-mgmt":
		return true
	case "rtpmap":
		return slices.Contains(s.payloads, payload)
	case "fmtp":
		return parameters && slices.Contains(s.payloads, payload)
	}
	return false
}
