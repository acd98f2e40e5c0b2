package rtsp

import (
	"errors"
	"strings"

	"github.com/bluenviron/gortsplib/v4/pkg/auth"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"
)

// errDowngrade is what ends a connection before a password is shown that was hidden so far.
var errDowngrade = errors.New("the camera asked for a proof of the password before (digest), and now wants the password itself (basic), readable on the way")

// onUnauthorized is called for an answer of 401, before the client sees it. The client answers the first
// one only, and with the first kind of authentication that it finds; so the challenge is kept here for
// all further requests, and nothing but a digest is left in it if there is one.
func (c *session) onUnauthorized(res *base.Response) {
	var digests, others base.HeaderValue
	basic := false
	for _, value := range res.Header["WWW-Authenticate"] {
		scheme, rest, _ := strings.Cut(strings.TrimSpace(value), " ")
		switch strings.ToLower(scheme) {
		case "digest":
			digests = append(digests, "Digest "+spaced(rest))
		case "basic":
			basic = true
			others = append(others, "Basic "+spaced(rest))
		default:
			others = append(others, value)
		}
	}
	switch {
	case len(digests) > 0:
		c.digest = true
		res.Header["WWW-Authenticate"] = digests
	case basic && c.digest && c.target.tls == nil && c.target.credentials:
		c.sever(errDowngrade)
		delete(res.Header, "WWW-Authenticate")
		return
	default:
		res.Header["WWW-Authenticate"] = others
	}
	if !c.target.credentials {
		return
	}
	password, _ := c.target.url.User.Password()
	sender := &auth.Sender{WWWAuth: res.Header["WWW-Authenticate"], User: c.target.url.User.Username(), Pass: password}
	if sender.Initialize() == nil {
		c.quirks.sender, c.quirks.challenge = sender, strings.Join(sender.WWWAuth, "")
	}
}

// spaced rewrites parameters so that there is no blank where the client expects none, and their names
// are in small letters.
func spaced(parameters string) string {
	var out []string
	for _, p := range splitQuoted(parameters) {
		key, value, found := strings.Cut(p, "=")
		key = strings.ToLower(strings.TrimSpace(key))
		if found {
			key += "=" + strings.TrimSpace(value)
		}
		if key != "" {
			out = append(out, key)
		}
	}
	return strings.Join(out, ", ")
}

// splitQuoted cuts at commas that are not between quotation marks.
func splitQuoted(text string) []string {
	quoted := false
	return strings.FieldsFunc(text, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return r == ',' && !quoted
	})
}

// authorize proves the password with the latest challenge.
func (q *quirks) authorize(req *base.Request) {
	if q.sender != nil {
		q.sender.AddAuthorization(req)
	}
}

// persist makes a request, and once more when the camera has changed its challenge meanwhile, as some
// do every minute or with every request (RFC 2617 §3.2.1, stale).
func persist[T any](c *session, request func() (T, error)) (T, error) {
	before := c.quirks.challenge
	out, err := request()
	var status liberrors.ErrClientBadStatusCode
	if !errors.As(err, &status) || status.Code != base.StatusUnauthorized || c.quirks.challenge == before {
		return out, err
	}
	again, later := request()
	if later != nil && !errors.As(later, &status) { // it hangs up on who asks too often
		return out, err
	}
	return again, later
}
