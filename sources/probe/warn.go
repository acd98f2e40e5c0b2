package probe

import (
	"fmt"
	"math"
	"time"

	"sightline/pipeline"
)

// The codes of warnings.
const (
	WarnUndecoded  = "undecoded"          // no picture could be decoded
	WarnEnded      = "ended"              // the connection ended while it was watched
	WarnLoss       = "packet_loss"        // packets are missing
	WarnDamaged    = "damaged_pictures"   // some pictures came out damaged
	WarnNoReports  = "no_sender_reports"  // no capture times from the camera
	WarnClock      = "clock_off"          // the camera's clock is wrong
	WarnPace       = "timestamp_pace"     // its RTP timestamps do not go as time goes
	WarnGOP        = "long_gop"           // keyframes are rare, or none came
	WarnRate       = "frame_rate_differs" // pictures a second are not what is declared
	WarnInterlaced = "interlaced"
	WarnFormat     = "pixel_format"     // not 8-bit 4:2:0
	WarnH265       = "h265_in_software" // H.265 without hardware that decodes it
	WarnLarge      = "large_pictures"   // decoding costs more than it must
	WarnUDP        = "udp_refused"      // auto loses time with UDP each time
	WarnBasic      = "basic_in_clear"   // the password goes over the network as it is
	WarnInBand     = "in_band_only"     // parameter sets are not in the description
	WarnBFrames    = "b_frames"         // they delay each picture
)

const (
	longGOP       = 4 * time.Second // a lost packet hides everything until the next keyframe
	clockTolerant = time.Second
	clockUnused   = time.Hour // beyond it the source goes by arrival
	rateTolerant  = 0.1
	paceTolerant  = 0.2 // a busy machine is late itself
	largePixels   = 1920 * 1088
)

// warnings collects them in order.
type warnings []Warning

func (w *warnings) add(on bool, code, format string, args ...any) {
	if on {
		*w = append(*w, Warning{code, fmt.Sprintf(format, args...)})
	}
}

// warn says what will bite, worst first.
func warn(r *Report) []Warning {
	w := warnings{}
	v := &r.Video
	w.add(r.Undecoded != "", WarnUndecoded, "no picture could be decoded: %s", r.Undecoded)
	w.add(r.Ended != "", WarnEnded, "the connection ended after %s: %s", seconds(r.Measured), r.Ended)
	w.network(r)
	w.add(r.Decoder.Damaged > 0, WarnDamaged, "%d of %d pictures came out damaged; a pipeline drops such", r.Decoder.Damaged, r.Decoder.Damaged+r.Decoder.Pictures)
	w.times(r)
	w.keyframes(r)
	rates := v.DeclaredFPS > 0 && v.FPS > 0 && v.Pictures > 10
	w.add(rates && math.Abs(v.FPS/v.DeclaredFPS-1) > rateTolerant, WarnRate,
		"the camera declares %s fps and delivers %s: in poor light or behind a weak link cameras send fewer", number(v.DeclaredFPS), number(v.FPS))
	w.decoding(r)
	w.add(r.Authentication == "basic" && r.Transport != "tls", WarnBasic, "basic authentication shows the password to the whole network: switch the camera to digest or TLS")
	w.add(v.InBandOnly, WarnInBand, "parameter sets come with keyframes only, not in the description: nothing can be decoded before the first keyframe")
	return w
}

func (w *warnings) network(r *Report) {
	p := r.Packets
	advice := "look for a weak link or a camera that sends too fast"
	if r.Transport == "udp" {
		advice = "write transport: tcp, which repeats what is lost"
	}
	w.add(p.Lost > 0, WarnLoss, "%s of the packets were lost, and pictures with them: %s", percent(p.Lost, p.Lost+p.Received), advice)
	w.add(r.UDPRefused != "", WarnUDP, "no media over UDP, TCP was taken instead (%s): transport: tcp below saves the attempt", r.UDPRefused)
}

func (w *warnings) times(r *Report) {
	c := r.Clock
	w.add(c.Reports == 0 && c.Timeless > 0, WarnNoReports,
		"RTCP sender reports state no time: capture times are those of arrival; set the camera's clock (NTP)")
	w.add(c.Reports == 0 && c.Timeless == 0, WarnNoReports,
		"no RTCP sender report in %s: capture times are those of arrival, later than the truth by the way here", seconds(r.Measured))
	if c.Offset != nil {
		off := time.Duration(*c.Offset * float64(time.Second))
		use := "capture times are off by as much"
		if off.Abs() > clockUnused {
			use = "so capture times are those of arrival"
		}
		w.add(off.Abs() > clockTolerant, WarnClock, "the camera's clock is %s this machine's, %s: set its NTP server", apart(off), use)
	}
	w.add(r.Video.Pace > 0 && math.Abs(r.Video.Pace-1) > paceTolerant, WarnPace,
		"the camera's RTP timestamps go %.2f times as fast as time: do not trust its frame rate or capture times", r.Video.Pace)
}

func (w *warnings) keyframes(r *Report) {
	v := &r.Video
	if v.Codec == string(pipeline.MJPEG) {
		return
	}
	const why = "a start or a lost packet hides all pictures until the next: set 1 to 2 s (I-frame interval) in the camera"
	measured := time.Duration(r.Measured * float64(time.Second))
	w.add(v.Keyframes == 0, WarnGOP, "no keyframe in %s: %s, or look longer with --for", seconds(r.Measured), why)
	w.add(v.Keyframes == 1 && measured > longGOP, WarnGOP, "one keyframe in %s: %s, or look longer with --for", seconds(r.Measured), why)
	if v.GOP != nil {
		w.add(v.GOP.Longest > longGOP.Seconds(), WarnGOP, "keyframes are up to %s apart: %s", seconds(v.GOP.Longest), why)
	}
	frame := 0.0
	if v.FPS > 0 {
		frame = float64(v.BFrames) / v.FPS
	}
	w.add(v.BFrames > 0, WarnBFrames, "B-frames: each picture is known %s later than it could be: choose a profile without them for quick answers", seconds(frame))
}

func (w *warnings) decoding(r *Report) {
	v, d := &r.Video, &r.Decoder
	w.add(v.Interlaced, WarnInterlaced, "interlaced: each picture mixes two instants, moving edges are combed: choose a progressive mode in the camera")
	w.add(v.Codec != string(pipeline.MJPEG) && (v.Chroma != "" && v.Chroma != "4:2:0" || v.Depth > 8), WarnFormat,
		"%d-bit %s pictures: most hardware decodes 8-bit 4:2:0 only, the rest goes by software", v.Depth, v.Chroma)
	w.add(v.Codec == string(pipeline.H265) && d.Software, WarnH265, "H.265 is decoded in software here, at about twice the cost of H.264: prefer an H.264 profile of the camera")
	w.add(v.Width*v.Height > largePixels, WarnLarge, "%d×%d is more than a classifier looks at: a smaller profile (substream) of the camera costs less to decode", v.Width, v.Height)
}
