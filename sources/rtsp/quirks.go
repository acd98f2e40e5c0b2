package rtsp

import (
	"bytes"
	"strings"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
)

// quirks is what the session remembers of requests to mend the answers to them.
type quirks struct {
	method base.Method
	offer  offer // what the camera described
}

// onRequest is called before a request is sent.
func (c *session) onRequest(req *base.Request) {
	c.quirks.method = req.Method
	c.observed.request(req)
	if link := c.udp(); link != nil {
		link.onRequest(req)
	}
}

// onResponse is called before the client looks at an answer.
func (c *session) onResponse(res *base.Response) {
	c.answered()
	c.observed.response(res)
	if c.quirks.method == base.Describe && res.StatusCode == base.StatusOK {
		mendDescription(res)
		c.quirks.offer = readOffer(res.Body)
		res.Body = c.quirks.offer.reduced()
	}
	if c.quirks.method == base.Setup {
		mendTransport(res)
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

// mendTransport drops where a camera says its packets come from. It may be an address within its own
// network, or a name that would be looked up; they are taken from the camera that was granted only.
func mendTransport(res *base.Response) {
	for i, value := range res.Header["Transport"] {
		parts := strings.Split(value, ";")
		kept := parts[:0]
		for _, p := range parts {
			if key, _, _ := strings.Cut(strings.TrimSpace(p), "="); !strings.EqualFold(key, "source") {
				kept = append(kept, p)
			}
		}
		res.Header["Transport"][i] = strings.Join(kept, ";")
	}
}
