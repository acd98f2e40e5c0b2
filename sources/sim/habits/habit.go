// Package habits is a corpus of the bad habits of real cameras, each a small file in corpus/, and a
// camera that plays them: a real RTSP server on loopback that answers and sends what the file says.
// Tests of the rtsp source hold every file's expectation; a soak may pick from them at random.
//
// docs/cameras.md says how to add one.
package habits

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"sightline/pipeline"
)

//go:embed corpus/*.yaml
var corpus embed.FS

// Habit is what a camera does wrong, and what is expected of one who watches it.
type Habit struct {
	Name  string `yaml:"-"` // the name of its file
	About string `yaml:"about"`
	// SDP replaces the ordinary description; ${sps}, ${pps} and ${sets} stand for the parameter sets
	// of the clip in base 64, ${annexb} for all of them with start codes.
	SDP string `yaml:"sdp"`
	// Answers are given, by method, instead of the ordinary ones; the last one again and again. An
	// empty one is the ordinary one, NoAnswer none at all. CSeq
	// and Content-Length are put right unless Raw is set. ${url} stands for the camera's address,
	// ${address} for its host and port, ${cseq} for the number of the request.
	Answers map[string][]string `yaml:"answers"`
	Raw     bool                `yaml:"raw"`     // answers go out as they are
	HangUp  string              `yaml:"hang_up"` // the connection ends after the first answer to this method
	Auth    Auth                `yaml:"auth"`
	Needs   Needs               `yaml:"needs"`
	Media   Media               `yaml:"media"`
	Expect  Expect              `yaml:"expect"`
}

// Auth is how a camera asks for user and password: nothing is asked for without a scheme.
type Auth struct {
	Scheme string `yaml:"scheme"` // digest or basic; or a whole WWW-Authenticate with ${nonce}
	// Every is after how many requests a digest's nonce is another one; Stale tells so in the answer.
	Every int  `yaml:"every"`
	Stale bool `yaml:"stale"`
	// Then is the scheme of every connection but the first.
	Then string `yaml:"then"`
}

// The user that a camera with Auth wants.
const (
	Username = "viewer"
	Password = "Geheim#@/"
)

// Needs is what a strict camera ends the connection without.
type Needs struct {
	CSeqFirst bool          `yaml:"cseq_first"` // the first header of every request
	Alive     time.Duration `yaml:"alive"`      // how often it wants to hear of its viewer
	By        string        `yaml:"by"`         // by this method only
}

// Media is what is sent after PLAY.
type Media struct {
	Clip      string        `yaml:"clip"`      // one of Clips; default base
	Transport string        `yaml:"transport"` // how a viewer is to ask for it: tcp (default), udp, auto
	Pictures  int           `yaml:"pictures"`  // how many on each connection; default 40
	Payload   int           `yaml:"payload"`   // bytes of a packet; default 1200
	Pace      time.Duration `yaml:"pace"`      // the time of a picture; default: as fast as the viewer takes them
	Silent    bool          `yaml:"silent"`    // nothing is sent
	Sets      string        `yaml:"sets"`      // where parameter sets are: both (default), in_band, described, start_codes
	Packing   string        `yaml:"packing"`   // see pack.go
	Padding   int           `yaml:"padding"`   // bytes at the end of each packet
	Markers   string        `yaml:"markers"`   // right (default), none, every_packet
	Reports   string        `yaml:"reports"`   // RTCP: right, none (default), zero, wrong
	Start     uint32        `yaml:"start"`     // the first RTP timestamp
	Step      uint32        `yaml:"step"`      // ticks of a picture; default 3600
	Sequence  uint16        `yaml:"sequence"`  // the first sequence number
	At        []Turn        `yaml:"at"`
	Network   Network       `yaml:"network"`
	Then      string        `yaml:"then"` // after the last picture: stay (default) or close
}

// Turn is what happens before picture number Picture of a connection, counted from 0.
type Turn struct {
	Picture int    `yaml:"picture"`
	Clip    string `yaml:"clip"`    // go on with another clip
	Jump    int64  `yaml:"jump"`    // RTP time goes on this many ticks later, or earlier
	Freeze  bool   `yaml:"freeze"`  // RTP time stands still from here
	Source  uint32 `yaml:"source"`  // another SSRC
	Restart bool   `yaml:"restart"` // sequence numbers begin anew
	Garbage string `yaml:"garbage"` // bytes between the frames
	Request string `yaml:"request"` // a request of the camera's own
	Channel int    `yaml:"channel"` // an empty frame on a channel that nobody asked for
	Before  bool   `yaml:"before"`  // Garbage or Channel come before the answer to PLAY already
	Repeat  bool   `yaml:"repeat"`  // with every picture from here
}

// Network is what becomes of packets over UDP: every so many-th is lost, doubled, or comes after the
// one that follows it. 0 is never.
type Network struct {
	Lose   int `yaml:"lose"`
	Double int `yaml:"double"`
	Turn   int `yaml:"turn"`
}

// Expect is what a viewer makes of it.
type Expect struct {
	Pictures  int      `yaml:"pictures"`  // at least, that can be shown, before any error
	Refused   string   `yaml:"refused"`   // then the connection ends with these words; empty: it goes on
	Permanent bool     `yaml:"permanent"` // and trying again would not help
	Again     bool     `yaml:"again"`     // pictures come of the next connection too, without a new try
	Next      string   `yaml:"next"`      // what the connection after it ends with
	Lossy     bool     `yaml:"lossy"`     // units are missing or not whole, which is counted
	Sizes     []string `yaml:"sizes"`     // of the pictures, as they follow: "64x48"
}

// All reads the corpus, ordered by name.
func All() ([]Habit, error) {
	entries, err := corpus.ReadDir("corpus")
	if err != nil {
		return nil, err
	}
	var all []Habit
	for _, e := range entries {
		text, err := corpus.ReadFile(path.Join("corpus", e.Name()))
		if err != nil {
			return nil, err
		}
		h, err := Parse(text)
		if err != nil {
			return nil, fmt.Errorf("read habit %s: %w", e.Name(), err)
		}
		h.Name = strings.TrimSuffix(e.Name(), ".yaml")
		all = append(all, h)
	}
	return all, nil
}

// Named returns one habit of the corpus.
func Named(name string) (Habit, error) {
	all, err := All()
	if err != nil {
		return Habit{}, err
	}
	i := slices.IndexFunc(all, func(h Habit) bool { return h.Name == name })
	if i < 0 {
		return Habit{}, fmt.Errorf("there is no habit %q", name)
	}
	return all[i], nil
}

// Parse reads a habit. Unknown keys are errors.
func Parse(text []byte) (Habit, error) {
	var h Habit
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&h); err != nil && !errors.Is(err, io.EOF) {
		return Habit{}, err
	}
	if strings.TrimSpace(h.About) == "" {
		return Habit{}, errors.New("about is missing: which cameras do it?")
	}
	if err := h.Media.check(); err != nil {
		return Habit{}, err
	}
	return h, nil
}

func (m *Media) check() error {
	for _, choice := range []struct {
		key, value string
		of         []string
	}{
		{"clip", m.Clip, append(Clips(), "")},
		{"transport", m.Transport, []string{"", "tcp", "udp", "auto"}},
		{"sets", m.Sets, []string{"", "both", "in_band", "described", "start_codes"}},
		{"packing", m.Packing, packings()},
		{"markers", m.Markers, []string{"", "right", "none", "every_packet"}},
		{"reports", m.Reports, []string{"", "none", "right", "zero", "wrong"}},
		{"then", m.Then, []string{"", "stay", "close"}},
	} {
		if !slices.Contains(choice.of, choice.value) {
			return fmt.Errorf("media.%s: %q is not one of %s", choice.key, choice.value, strings.Join(choice.of, ", "))
		}
	}
	return nil
}

// Codec is what the habit's clip is encoded as.
func (h *Habit) Codec() pipeline.Codec { return clips()[h.Media.clip()].codec }
