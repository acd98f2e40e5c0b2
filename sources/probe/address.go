package probe

import (
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"

	"sightline/pipeline"
)

// Split takes user and password out of an address, where people and the manuals of cameras write them:
// rtsp://user:password@host/path. The password may hold any character, also such as must be escaped.
func Split(text string) (address, user string, password pipeline.Secret) {
	scheme, rest, ok := strings.Cut(text, "://")
	at := strings.LastIndexByte(rest, '@')
	if !ok || at < 0 {
		return text, "", password
	}
	before, host := rest[:at], rest[at+1:]
	if end := strings.IndexAny(before, "/?"); end >= 0 && isHost(before[:end]) {
		return text, "", password // the @ is part of the path
	}
	name, secret, _ := strings.Cut(before, ":")
	return scheme + "://" + host, unescaped(name), pipeline.NewSecret(unescaped(secret))
}

// isHost tells whether a text can be the host and port of an address rather than user and password.
func isHost(text string) bool {
	u, err := url.Parse("rtsp://" + text)
	return err == nil && u.User == nil && u.Hostname() != ""
}

func unescaped(text string) string {
	if plain, err := url.PathUnescape(text); err == nil {
		return plain
	}
	return text
}

// isThere tells whether a text is the path of a file.
func isThere(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// CheckAddress returns what is wrong with an address without user and password, with what to write
// instead.
func CheckAddress(address string) error {
	u, err := url.Parse(address)
	shown := pipeline.RedactText(address)
	const form = "write it like rtsp://192.0.2.10:554/stream1"
	switch {
	case err == nil && slices.Contains([]string{"rtsp", "rtsps"}, u.Scheme) && u.Hostname() != "":
		return nil
	case isThere(address):
		return fmt.Errorf("%q is a file of this machine, and probe looks at cameras of the network; in a pipeline file it is file: {path: %s}, a camera's device file device: {path: …}", shown, shown)
	case !strings.Contains(address, "://"):
		return fmt.Errorf("%q is no address of a stream: %s", shown, form)
	case err == nil && u.Hostname() != "":
		return fmt.Errorf("%q begins with %s://, a camera's stream with rtsp:// or rtsps://", shown, u.Scheme)
	}
	return fmt.Errorf("%q is no address of a stream: %s", shown, form)
}
