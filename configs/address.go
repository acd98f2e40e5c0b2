package configs

import (
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// urlPassword finds passwords in paths and queries, where some cameras want them.
var urlPassword = regexp.MustCompile(`(?i)(?:password|passwd|pwd|pass)=(?:[^$&]|\$[^{])`)

// address checks the URL at a key. It returns nil after a problem, which never shows the URL: where a
// password is not expected, it is not recognised either.
func (c *checker) address(path, text string, schemes []string, meant map[string]string) *url.URL {
	if !c.doc.Given(path) || text == "" {
		return nil
	}
	if hasUser(text) {
		instead := "write them as username, and password_file or password: ${VARIABLE}"
		if slices.Contains(schemes, "https") {
			instead = "a web server is given a token: token_file, or token: ${VARIABLE}"
		}
		c.problem(path, "has a user or a password in it", instead)
		return nil
	}
	if urlPassword.MatchString(c.doc.Written(path)) {
		c.problem(path, "has a password in it, which does not belong in this file", "write ${VARIABLE} for it")
		return nil
	}
	u, err := url.Parse(text)
	if err != nil {
		c.problem(path, "is not an address", "write it like "+schemes[0]+"://host:port")
		return nil
	}
	return c.addressParts(path, text, u, schemes, meant)
}

func (c *checker) addressParts(path, text string, u *url.URL, schemes []string, meant map[string]string) *url.URL {
	port, err := strconv.Atoi(u.Port())
	switch {
	case !slices.Contains(schemes, u.Scheme):
		suggestion := "write " + strings.Join(schemes, ":// or ") + "://"
		if other := meant[u.Scheme]; other != "" {
			suggestion = "write " + other + "://"
		}
		c.problem(path, "does not begin with "+strings.Join(schemes, ":// or ")+"://", suggestion)
	case u.Hostname() == "":
		c.problem(path, "has no host", "write it like "+u.Scheme+"://host:port")
	case strings.HasSuffix(u.Host, ":") || u.Port() != "" && (err != nil || port < 1 || port > 65535):
		c.problem(path, "has a port that is not 1 to 65535", "")
	case strings.Contains(text, "#"):
		c.problem(path, "has a #, after which nothing is sent", "write %23 for a # in the path")
	default:
		return u
	}
	return nil
}

// hasUser tells whether a URL has user or password in front of its host, also where the password
// has characters that end the host in a proper URL (/, ?, #).
func hasUser(text string) bool {
	_, rest, found := strings.Cut(text, "://")
	if !found {
		rest = text
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	authority, tail := rest[:end], rest[end:]
	if strings.Contains(authority, "@") {
		return true
	}
	_, after, colon := strings.Cut(authority, ":")
	_, err := strconv.ParseUint(after, 10, 16)
	return strings.Contains(tail, "@") && colon && err != nil && !strings.HasPrefix(authority, "[")
}

// loopback tells whether a host is this machine itself, without asking anyone.
func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// listen checks the address of the HTTP server.
func (c *checker) listen() {
	const path = "http.listen"
	text := c.p.HTTP.Listen
	if !c.doc.Given(path) || text == Off {
		return
	}
	host, port, err := net.SplitHostPort(text)
	number, portErr := strconv.ParseUint(port, 10, 16)
	_, ipErr := netip.ParseAddr(host)
	switch {
	case err != nil || portErr != nil || strconv.FormatUint(number, 10) != port:
		c.problem(path, "is not address:port", "write it like 127.0.0.1:9640, or off")
	case loopback(host) || c.p.HTTP.AllowRemote && (host == "" || ipErr == nil):
	case host != "" && ipErr != nil:
		c.problem(path, "is not an IP address with a port", "write it like 127.0.0.1:9640, or off")
	default:
		c.problem(path, "can be reached from other machines", "write 127.0.0.1:"+port+", or add allow_remote: true")
	}
}
