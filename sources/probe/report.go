package probe

// Report is what a camera was found to be like. Its JSON is what `sightline probe --json` prints: times
// are in seconds, rates in bits or pictures a second; what is not known is left out or zero. It holds
// no password.
type Report struct {
	Address        string    `json:"address"`
	Server         string    `json:"server,omitempty"`      // what the camera calls itself
	Authentication string    `json:"authentication"`        // none, basic, digest MD5, digest SHA-256
	Transport      string    `json:"transport"`             // tcp, udp, tls: what carried the pictures
	UDPRefused     string    `json:"udp_refused,omitempty"` // why transport auto did not stay with UDP
	Tracks         []Track   `json:"tracks"`                // all that the camera offers at this address
	Video          Video     `json:"video"`                 // the track that is taken
	Clock          Clock     `json:"clock"`                 // where capture times come from
	Packets        Packets   `json:"packets"`               // of RTP
	Decoder        Decoder   `json:"decoder"`               // what decoded a few pictures
	FirstPicture   float64   `json:"first_picture_seconds"` // from the first request to a decoded picture
	Measured       float64   `json:"measured_seconds"`      // from the first picture to the last
	Ended          string    `json:"ended,omitempty"`       // why the connection ended early
	Undecoded      string    `json:"undecoded,omitempty"`   // why no picture could be decoded
	Warnings       []Warning `json:"warnings"`              // what will bite, worst first
	Configuration  string    `json:"configuration"`         // YAML for the pipeline file
}

// Track is one offered track.
type Track struct {
	Media  string `json:"media"`  // video, audio, application
	Format string `json:"format"` // the camera's name for the codec
	Taken  bool   `json:"taken"`
}

// Video is what the pictures are like. Size, chroma and depth are those of decoded pictures where there
// are some, else those that the stream states.
type Video struct {
	Codec       string  `json:"codec"` // h264, h265, mjpeg
	Profile     string  `json:"profile,omitempty"`
	Level       string  `json:"level,omitempty"`
	Width       int     `json:"width"`
	Height      int     `json:"height"`
	Chroma      string  `json:"chroma,omitempty"` // 4:2:0
	Depth       int     `json:"depth,omitempty"`  // bits a sample
	Interlaced  bool    `json:"interlaced"`
	DeclaredFPS float64 `json:"declared_fps"` // of the description, else of the stream; 0: not stated
	FPS         float64 `json:"fps"`          // by the camera's own times
	// Pace is how fast the camera's times go on: 1 as fast as this machine's; 0: measured too briefly.
	Pace       float64 `json:"pace"`
	BitRate    float64 `json:"bit_rate"`
	Pictures   int     `json:"pictures"`
	Keyframes  int     `json:"keyframes"`
	GOP        *GOP    `json:"gop,omitempty"` // absent unless two keyframes came
	BFrames    int     `json:"b_frames"`      // the most in a row; 0: none
	InBandOnly bool    `json:"in_band_only"`  // parameter sets are not in the description
}

// GOP is the distance from keyframe to keyframe.
type GOP struct {
	Pictures float64 `json:"pictures"` // mean
	Fewest   int     `json:"fewest"`
	Most     int     `json:"most"`
	Shortest float64 `json:"shortest_seconds"`
	Longest  float64 `json:"longest_seconds"`
}

// Clock says where capture times come from.
type Clock struct {
	Source   string   `json:"source"`                   // of the last picture: a pipeline.Origin
	Reports  int      `json:"reports"`                  // RTCP sender reports that state a time
	Timeless int      `json:"timeless_reports"`         // and that state none
	Offset   *float64 `json:"offset_seconds,omitempty"` // what the camera's clock is ahead of this machine's
}

// Packets counts RTP packets.
type Packets struct {
	Received  uint64 `json:"received"`
	Lost      uint64 `json:"lost"`
	Reordered uint64 `json:"reordered"`
}

// Decoder is what decoded a few pictures.
type Decoder struct {
	Name     string  `json:"name,omitempty"`
	Software bool    `json:"software"`
	Pictures int     `json:"pictures"` // that came out whole
	Damaged  int     `json:"damaged"`
	Seconds  float64 `json:"seconds_per_picture"`
}

// Warning is something that will bite.
type Warning struct {
	Code string `json:"code"` // does not change from version to version
	Text string `json:"text"`
}
