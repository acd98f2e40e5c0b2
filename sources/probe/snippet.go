package probe

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"strings"

	"sightline/pipeline"
	"sightline/sources"
	"sightline/sources/rtsp"
)

// SnippetName is the name of the source in a snippet.
const SnippetName = "camera"

// The variables that a snippet names for what must not stand in a file.
const (
	PasswordVariable = "CAMERA_PASSWORD"
	AddressVariable  = "CAMERA_URL"
)

// sampleFPS is what a snippet asks for: enough for most, little to decode.
const sampleFPS = 5

// Snippet is the section `sources:` of a pipeline file for a camera that was looked at with a
// configuration. It never holds the password: that stays in its file, or becomes a variable.
func Snippet(c sources.RTSP, r *Report) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("sources:\n  %s:\n    rtsp:", SnippetName)
	address := c.URL
	if c.Transport == rtsp.TransportTLS && strings.HasPrefix(address, "rtsp:") {
		address = "rtsps" + strings.TrimPrefix(address, "rtsp")
	}
	if pipeline.RedactText(address) == address {
		line("      url: %s", scalar(address))
	} else {
		line("      url: ${%s}  # there is a password in it: set it where the pipeline runs", AddressVariable)
	}
	if c.Username != "" {
		line("      username: %s", scalar(c.Username))
	}
	switch {
	case c.PasswordFile != "":
		line("      password_file: %s", scalar(c.PasswordFile))
	case !c.Password.Empty():
		line("      password: ${%s}  # or password_file: /run/secrets/%s", PasswordVariable, SnippetName)
	}
	if transport := snippetTransport(c, r); transport != "" {
		line("      transport: %s", transport)
	}
	if c.CAFile != "" {
		line("      ca_file: %s", scalar(c.CAFile))
	}
	if c.Fingerprint != "" {
		line("      fingerprint: %s", scalar(c.Fingerprint))
	}
	line("    sample: {fps: %s}", number(snippetRate(r.Video.FPS)))
	return b.String()
}

// snippetTransport is empty where the default is right.
func snippetTransport(c sources.RTSP, r *Report) string {
	switch {
	case c.Transport == rtsp.TransportTCP, c.Transport == rtsp.TransportUDP:
		return c.Transport
	case r.UDPRefused != "" && r.Transport == rtsp.TransportTCP:
		return rtsp.TransportTCP
	case r.Transport == rtsp.TransportUDP && r.Packets.Lost > 0:
		return rtsp.TransportTCP
	}
	return ""
}

func snippetRate(fps float64) float64 {
	if fps > 0 && fps < sampleFPS {
		return math.Max(math.Round(fps*10)/10, 0.1)
	}
	return sampleFPS
}

// plain are texts that YAML takes as they are.
var plain = regexp.MustCompile(`^[A-Za-z/][A-Za-z0-9/._-]*(://[A-Za-z0-9\[\]/._?=&%~+@;,-]+(:[0-9]+[A-Za-z0-9/._?=&%~+@;,-]*)?)?$`)

// words are plain texts that YAML takes for something else than a text.
var words = regexp.MustCompile(`(?i)^(true|false|yes|no|on|off|null|y|n)$`)

// scalar writes a text as a value of a pipeline file, where $ begins a variable.
func scalar(text string) string {
	if plain.MatchString(text) && !words.MatchString(text) {
		return text
	}
	quoted, err := json.Marshal(strings.ReplaceAll(strings.ToValidUTF8(text, "?"), "$", "$$"))
	if err != nil {
		return `""`
	}
	return string(quoted)
}
