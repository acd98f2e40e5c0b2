package rtsp

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/bluenviron/gortsplib/v4/pkg/auth"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
)

// quirks is what the session remembers of requests to mend the answers to them.
type quirks struct {
	method base.Method
	offer  offer        // what the camera described
	sender *auth.Sender // proves the password by the latest challenge; nil before the first

	challenge string
}

// onRequest is called before a request is sent.
func (c *session) onRequest(req *base.Request) {
	c.quirks.method = req.Method
	c.quirks.authorize(req)
	c.observed.request(req)
	if link := c.udp(); link != nil {
		link.onRequest(req)
	}
	if req.Method == base.Play {
		c.wantFrames()
	}
}

// wantFrames lets interleaved frames through from now on.
func (c *session) wantFrames() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if mended, ok := c.conn.(*mendedConn); ok {
		mended.frames.Store(true)
	}
}

// onResponse is called before the client looks at an answer.
func (c *session) onResponse(res *base.Response) {
	c.answered()
	c.observed.response(res)
	mendSession(res)
	switch {
	case res.StatusCode == base.StatusUnauthorized:
		c.onUnauthorized(res)
	case c.quirks.method == base.Options && res.StatusCode != base.StatusOK:
		// Nobody needs to know what else the camera can do.
		res.StatusCode = base.StatusOK
		delete(res.Header, "Public")
	}
	if c.quirks.method == base.Describe && res.StatusCode == base.StatusOK {
		mendDescription(res)
		c.quirks.offer = readOffer(res.Body)
		res.Body = c.quirks.offer.reduced()
	}
	if c.quirks.method == base.Setup {
		mendTransport(res, c.overUDP)
		if link := c.udp(); link != nil {
			link.onSetup(res)
		}
	}
}

func (c *session) udp() *udpLink {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.link
}

// mendDescription mends what some cameras get wrong beside the description itself: its type is missing,
// or the base address is none, when that of the request serves (RFC 2326 appendix C.1.1).
func mendDescription(res *base.Response) {
	if len(res.Header["Content-Type"]) == 0 && bytes.HasPrefix(bytes.TrimSpace(res.Body), []byte("v=")) {
		res.Header["Content-Type"] = base.HeaderValue{"application/sdp"}
	}
	if at := res.Header["Content-Base"]; len(at) != 1 || !strings.HasPrefix(at[0], "/") && !isAddress(at[0]) {
		delete(res.Header, "Content-Base")
	}
}

func isAddress(text string) bool {
	u, err := base.ParseURL(text)
	return err == nil && u.Host != ""
}

// maxTimeout is how long a session is at most believed to last without a sign of life, in seconds.
const maxTimeout = 60

// mendSession leaves of the Session header what the client needs. A timeout is halved, so that of two
// signs of life one may go astray, or be refused for a challenge that has changed.
func mendSession(res *base.Response) {
	all := res.Header["Session"]
	if len(all) == 0 {
		return
	}
	id, rest, _ := strings.Cut(all[0], ";")
	if id = strings.TrimSpace(id); id == "" {
		delete(res.Header, "Session")
		return
	}
	for p := range strings.SplitSeq(rest, ";") {
		key, value, _ := strings.Cut(p, "=")
		n, err := strconv.ParseUint(strings.Trim(value, ` "`), 10, 63)
		if err == nil && n > 0 && strings.EqualFold(strings.TrimSpace(key), "timeout") {
			id += ";timeout=" + strconv.FormatUint(max(1, min(n, maxTimeout)/2), 10)
			break
		}
	}
	res.Header["Session"] = base.HeaderValue{id}
}

// mendTransport leaves of the Transport header what the client needs. It drops where a camera says its
// packets come from, above all: that may be an address within its own network, or a name that would be
// looked up; they are taken from the camera that was granted only. Channels that a camera forgets to
// name are those that were asked for.
func mendTransport(res *base.Response, overUDP bool) {
	all := res.Header["Transport"]
	if res.StatusCode != base.StatusOK || len(all) == 0 {
		return
	}
	var kept []string
	channels := false
	for i, p := range strings.Split(all[0], ";") {
		p = strings.TrimSpace(p)
		key, value, _ := strings.Cut(p, "=")
		switch key = strings.ToLower(strings.TrimSpace(key)); {
		case i == 0:
			p = strings.ToUpper(p)
		case key == "unicast", key == "multicast":
			p = key
		case key == "interleaved", key == "server_port", key == "port":
			channels = channels || key == "interleaved"
			p = key + "=" + strings.ReplaceAll(strings.TrimSpace(value), " ", "")
		default:
			continue
		}
		kept = append(kept, p)
	}
	if !channels && !overUDP && strings.HasSuffix(kept[0], "/TCP") {
		kept = append(kept, "interleaved=0-1")
	}
	res.Header["Transport"] = base.HeaderValue{strings.Join(kept, ";")}
}
