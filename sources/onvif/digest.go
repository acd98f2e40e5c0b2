package onvif

import (
	"crypto/md5" //nolint:gosec // HTTP digest authentication is made of it
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"

	"sightline/pipeline"
)

// challenge is what a device wants a password proved with (HTTP digest, RFC 7616). The zero value is none.
type challenge struct {
	realm, nonce, opaque, algorithm string
	hash                            func(string) string
	auth                            bool // qop=auth is offered
	count                           int  // of proofs by this nonce
}

// readChallenge returns the last digest challenge of an answer whose algorithm is known; the zero value
// when there is none. Basic is not taken: it would show the password.
func readChallenge(header http.Header) (c challenge) {
	for _, value := range header.Values("WWW-Authenticate") {
		scheme, rest, _ := strings.Cut(strings.TrimSpace(value), " ")
		if !strings.EqualFold(scheme, "digest") || len(rest) > 4096 {
			continue
		}
		p := parameters(rest)
		next := challenge{realm: p["realm"], nonce: p["nonce"], opaque: p["opaque"], algorithm: p["algorithm"]}
		for q := range strings.SplitSeq(p["qop"], ",") {
			next.auth = next.auth || strings.EqualFold(strings.TrimSpace(q), "auth")
		}
		switch strings.ToUpper(next.algorithm) {
		case "", "MD5":
			next.hash = func(s string) string { h := md5.Sum([]byte(s)); return hex.EncodeToString(h[:]) } //nolint:gosec // as the RFC says
		case "SHA-256":
			next.hash = func(s string) string { h := sha256.Sum256([]byte(s)); return hex.EncodeToString(h[:]) }
		default:
			continue
		}
		if next.nonce != "" {
			c = next
		}
	}
	return c
}

// parameters reads a list such as realm="a, b", qop=auth.
func parameters(text string) map[string]string {
	out := map[string]string{}
	for text != "" {
		key, rest, found := strings.Cut(text, "=")
		if !found {
			break
		}
		key = strings.ToLower(strings.Trim(key, " ,\t"))
		rest = strings.TrimLeft(rest, " \t")
		var value string
		if quoted, ok := strings.CutPrefix(rest, `"`); ok {
			value, rest, _ = strings.Cut(quoted, `"`)
		} else {
			value, rest, _ = strings.Cut(rest, ",")
			value = strings.TrimSpace(value)
		}
		out[key], text = value, rest
	}
	return out
}

// prove returns the Authorization header of a POST request.
func (c *challenge) prove(user string, password pipeline.Secret, uri string) string {
	c.count++
	first, second := c.hash(user+":"+c.realm+":"+password.Reveal()), c.hash("POST:"+uri)
	var b strings.Builder
	fmt.Fprintf(&b, `Digest username="%s", realm="%s", nonce="%s", uri="%s"`, quotable(user), c.realm, c.nonce, uri)
	if c.algorithm != "" {
		fmt.Fprintf(&b, ", algorithm=%s", c.algorithm)
	}
	if c.opaque != "" {
		fmt.Fprintf(&b, `, opaque="%s"`, c.opaque)
	}
	if !c.auth {
		fmt.Fprintf(&b, `, response="%s"`, c.hash(first+":"+c.nonce+":"+second))
		return b.String()
	}
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails
	own, count := hex.EncodeToString(random[:]), fmt.Sprintf("%08x", c.count)
	fmt.Fprintf(&b, `, qop=auth, nc=%s, cnonce="%s", response="%s"`, count, own,
		c.hash(strings.Join([]string{first, c.nonce, count, own, "auth", second}, ":")))
	return b.String()
}

// quotable is a user as it stands between quotation marks.
func quotable(user string) string { return strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(user) }
