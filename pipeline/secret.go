package pipeline

import (
	"encoding/json"
	"errors"
	"log/slog"
	"regexp"
)

const redacted = "<redacted>"

// Secret is a value that no log, error, metric or status may show. Every way of printing it gives
// "<redacted>"; Reveal gives the value itself.
type Secret struct{ value string }

// NewSecret wraps a value.
func NewSecret(value string) Secret { return Secret{value} }

// Reveal returns the value itself, for the one place that sends it.
func (s Secret) Reveal() string { return s.value }

// Empty tells whether there is no value.
func (s Secret) Empty() bool { return s.value == "" }

func (s Secret) String() string {
	if s.value == "" {
		return ""
	}
	return redacted
}

// GoString keeps %#v from showing the value.
func (s Secret) GoString() string { return s.String() }

// LogValue keeps slog from showing the value.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalJSON keeps JSON from showing the value.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// UnmarshalJSON takes nothing but "": a secret never travels as JSON.
func (s *Secret) UnmarshalJSON(text []byte) error {
	if string(text) != `""` && string(text) != "null" {
		return errors.New("a secret is not read from JSON")
	}
	*s = Secret{}
	return nil
}

var userinfo = regexp.MustCompile(`(?i)([a-z][a-z0-9+.-]*://)[^\s"'<>]*@`)

// Some cameras want user and password in the path: rtsp://camera/user=admin_password=…_channel=1.
var parameter = regexp.MustCompile(`(?i)((?:password|passwd|pass|pwd|psw|secret|token)=)[^&\s"'<>]*`)

// RedactText removes user and password of every URL in a text (an address, an error of a library),
// and the values of parameters such as password=. It takes away too much rather than too little,
// since a password may hold any character.
func RedactText(text string) string {
	return parameter.ReplaceAllString(userinfo.ReplaceAllString(text, "${1}"), "${1}"+redacted)
}
