package http

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	nethttp "net/http"
	"strconv"
	"strings"
	"time"

	"sightline/pipeline"
)

const (
	// maxAnswer is how much of an answer is read at most, so that its connection can be used again.
	maxAnswer = 4 << 10
	// maxReason is how much of it is told.
	maxReason = 200
)

// judge reads an answer and says what it means: nil is that the server has everything; pause is how long
// it wants to be left alone.
func judge(a *nethttp.Response, now time.Time) (pause time.Duration, err error) {
	text, _ := io.ReadAll(io.LimitReader(a.Body, maxAnswer)) // what can be had of it
	a.Body.Close()
	switch code := a.StatusCode; {
	case code >= 200 && code < 300:
		return 0, nil
	case code >= 300 && code < 400:
		return 0, fmt.Errorf("the server redirects (%d) to %s: redirects are not followed, write the address itself in url", code, target(a))
	case refuses(code):
		return 0, pipeline.Permanentf("the server refuses the messages: %s", answered(a, text))
	}
	return retryAfter(a.Header.Get("Retry-After"), now), fmt.Errorf("the server does not take messages now: %s", answered(a, text))
}

// refuses tells whether a status says that these messages will never be taken. One that is about the
// address, the credentials or the server's state does not: nothing is let go for what can be mended.
func refuses(code int) bool {
	switch code {
	case nethttp.StatusUnauthorized, nethttp.StatusPaymentRequired, nethttp.StatusForbidden, nethttp.StatusNotFound,
		nethttp.StatusMethodNotAllowed, nethttp.StatusProxyAuthRequired, nethttp.StatusRequestTimeout, nethttp.StatusGone,
		nethttp.StatusMisdirectedRequest, nethttp.StatusLocked, nethttp.StatusFailedDependency, nethttp.StatusTooEarly,
		nethttp.StatusUpgradeRequired, nethttp.StatusPreconditionRequired, nethttp.StatusTooManyRequests,
		nethttp.StatusUnavailableForLegalReasons:
		return false
	}
	return code >= 400 && code < 500
}

// answered writes what a server has answered, for people.
func answered(a *nethttp.Response, text []byte) string {
	name := nethttp.StatusText(a.StatusCode)
	if name == "" {
		name = "status"
	}
	out := fmt.Sprintf("%d %s", a.StatusCode, name)
	if reason := printable(text); reason != "" {
		out += ": " + reason
	}
	return out
}

// printable is the beginning of a text, on one line, without secrets.
func printable(text []byte) string {
	words := strings.Join(strings.Fields(strings.ToValidUTF8(string(text), "")), " ")
	words = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return -1
		}
		return r
	}, words)
	if len(words) > maxReason {
		words = strings.ToValidUTF8(words[:maxReason], "") + "…"
	}
	return pipeline.RedactText(words)
}

// target is where a redirect leads: its host alone, since the rest may be a secret.
func target(a *nethttp.Response) string {
	to, err := a.Location()
	if err != nil || len(to.Host) > 255 {
		return "somewhere else"
	}
	return fmt.Sprintf("%.10q", to.Scheme+"://") + " " + strconv.Quote(to.Host)
}

// retryAfter reads the header of that name (RFC 9110 §10.2.3): seconds, or a date. 0 when it says neither.
func retryAfter(text string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := nethttp.ParseTime(text); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

// explain says why there is no answer. outer is the
// caller's context, inner the one with the time limit.
func explain(outer, inner context.Context, err error) error {
	var unknown x509.UnknownAuthorityError
	switch {
	case outer.Err() != nil:
		return outer.Err()
	case inner.Err() != nil:
		return errors.New("no answer in time")
	case errors.As(err, &unknown):
		return errors.New("the server's certificate is signed by an authority that ca_file does not name")
	case errors.Is(err, pipeline.ErrNotGranted):
		return err
	}
	return errors.New(pipeline.RedactText(err.Error()))
}
