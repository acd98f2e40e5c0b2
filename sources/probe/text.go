package probe

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"sightline/pipeline"
)

// WriteText prints the report for people.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	row := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-15s%s\n", name, fmt.Sprintf(format, args...))
	}
	row("camera", "%s", r.Address)
	if r.Server != "" {
		row("server", "%s", r.Server)
	}
	row("login", "%s", r.Authentication)
	row("tracks", "%s", r.tracks())
	row("pictures", "%s", r.Video.text())
	if r.Video.Codec != string(pipeline.MJPEG) {
		row("keyframes", "%s", r.Video.keyframes())
	}
	row("bit rate", "%s", bitRate(r.Video.BitRate))
	row("clock", "%s", r.Clock.text())
	row("transport", "%s, %d packets, %d lost, %d out of order", r.Transport, r.Packets.Received, r.Packets.Lost, r.Packets.Reordered)
	if d := r.Decoder; d.Pictures > 0 {
		row("decoder", "%s", r.decoderText())
		row("first picture", "after %s", seconds(r.FirstPicture))
	}
	if len(r.Warnings) > 0 {
		b.WriteString("\nworth knowing:\n")
		for _, warning := range r.Warnings {
			b.WriteString(wrap(warning.Text, "- ", 100))
		}
	}
	b.WriteString("\nfor the pipeline file:\n\n" + r.Configuration)
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *Report) tracks() string {
	var all []string
	for _, t := range r.Tracks {
		text := clean(t.Media) + " " + clean(t.Format)
		if t.Taken {
			text += " (taken)"
		}
		all = append(all, text)
	}
	return strings.Join(all, ", ")
}

func (v *Video) text() string {
	parts := []string{strings.ToUpper(v.Codec[:1]) + v.Codec[1:]}
	switch pipeline.Codec(v.Codec) {
	case pipeline.H264:
		parts[0] = "H.264"
	case pipeline.H265:
		parts[0] = "H.265"
	case pipeline.MJPEG:
		parts[0] = "MJPEG"
	}
	if v.Profile != "" {
		parts[0] += " " + v.Profile + " " + v.Level
	}
	if v.Width > 0 {
		size := fmt.Sprintf("%d×%d", v.Width, v.Height)
		if v.Depth > 8 || v.Chroma != "" && v.Chroma != "4:2:0" {
			size += fmt.Sprintf(" (%d-bit %s)", v.Depth, v.Chroma)
		}
		if v.Interlaced {
			size += " interlaced"
		}
		parts = append(parts, size)
	}
	rate := number(v.FPS) + " fps"
	if v.DeclaredFPS > 0 {
		rate += ", " + number(v.DeclaredFPS) + " declared"
	}
	return strings.Join(append(parts, rate), ", ")
}

func (v *Video) keyframes() string {
	text := fmt.Sprintf("%d in %d pictures", v.Keyframes, v.Pictures)
	if g := v.GOP; g != nil && g.Fewest == g.Most {
		text = fmt.Sprintf("every %d pictures, %s", g.Most, seconds(g.Longest))
	} else if g != nil {
		text = fmt.Sprintf("every %d to %d pictures, at most %s", g.Fewest, g.Most, seconds(g.Longest))
	}
	if v.BFrames > 0 {
		return text + fmt.Sprintf("; B-frames, up to %d in a row", v.BFrames)
	}
	return text + "; no B-frames"
}

func (c *Clock) text() string {
	if c.Source != string(pipeline.OriginSenderReport) || c.Offset == nil {
		return "arrival here (" + counted(c.Reports+c.Timeless, "sender report") + ")"
	}
	return fmt.Sprintf("the camera's (%s), %s this machine's", counted(c.Reports, "sender report"), apart(time.Duration(*c.Offset*float64(time.Second))))
}

func (r *Report) decoderText() string {
	d := &r.Decoder
	text := fmt.Sprintf("%s, %s a picture", d.Name, seconds(d.Seconds))
	if r.Video.FPS > 0 && d.Software {
		text += fmt.Sprintf(" (%.0f%% of a core at %s fps)", d.Seconds*r.Video.FPS*100, number(r.Video.FPS))
	}
	return text
}

// number writes up to three digits.
func number(f float64) string { return strconv.FormatFloat(f, 'g', 3, 64) }

// seconds writes a length of time in the unit that reads best.
func seconds(s float64) string {
	switch {
	case s < 0.0995:
		return number(s*1000) + " ms"
	case s < 99.5:
		return number(s) + " s"
	}
	return time.Duration(math.Round(s) * float64(time.Second)).String()
}

func counted(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return strconv.Itoa(n) + " " + what
}

// apart says how far a clock is before or behind another.
func apart(offset time.Duration) string {
	const near = 10 * time.Millisecond
	switch {
	case offset.Abs() < near:
		return "within " + near.String() + " of"
	case offset < 0:
		return seconds(-offset.Seconds()) + " behind"
	}
	return seconds(offset.Seconds()) + " ahead of"
}

func bitRate(bits float64) string {
	if bits >= 1e6 {
		return number(bits/1e6) + " Mbit/s"
	}
	return fmt.Sprintf("%.0f kbit/s", bits/1e3)
}

func percent(n, of uint64) string {
	return number(100*float64(n)/float64(max(of, 1))) + "%"
}

// clean makes a camera's word printable and short.
func clean(text string) string {
	text = strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	if r := []rune(text); len(r) > 64 {
		return string(r[:63]) + "…"
	}
	return text
}

// wrap breaks a text into lines behind a mark.
func wrap(text, mark string, width int) string {
	var b strings.Builder
	line, indent := mark, strings.Repeat(" ", len(mark))
	for i, word := range strings.Fields(text) {
		switch {
		case i == 0:
			line += word
		case len(line)+1+len(word) > width:
			b.WriteString(line + "\n")
			line = indent + word
		default:
			line += " " + word
		}
	}
	return b.String() + line + "\n"
}
