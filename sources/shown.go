package sources

import (
	"net/url"
	"regexp"
	"slices"
	"strings"

	"sightline/pipeline"
)

// leastHidden is how long the value of a variable must be to be hidden wherever it stands: the number of
// a channel is no secret, and would be found in the middle of other things.
const leastHidden = 4

const hidden = "<redacted>"

// Name is the address for texts: its path as it is written in the configuration, with the names of
// variables instead of what they hold, since some cameras want a password as a part of the path. Host and
// port are no secrets.
func (r *RTSP) Name() string {
	if r.Shown == "" {
		return pipeline.RedactText(r.URL)
	}
	host, _ := cutPath(r.URL)
	return pipeline.RedactText(host + r.path())
}

// path is the path as it may be shown; a path that is inside a variable as a whole is hidden.
func (r *RTSP) path() string {
	_, path := cutPath(r.URL)
	_, shown := cutPath(r.Shown)
	if shown == "" && path != "" {
		return "/" + hidden
	}
	return shown
}

// cutPath returns a URL up to its path, and the rest.
func cutPath(address string) (host, path string) {
	at := strings.Index(address, "://")
	if at < 0 {
		return "", ""
	}
	end := strings.IndexAny(address[at+3:], "/?")
	if end < 0 {
		return address, ""
	}
	return address[:at+3+end], address[at+3+end:]
}

// Hide takes out of a text what variables in the path of the address hold.
func (r *RTSP) Hide(text string) string {
	if r.Shown == "" {
		return text
	}
	if host, _ := cutPath(r.URL); host == "" { // it is no address, so nothing is known of it
		return strings.ReplaceAll(text, r.URL, hidden)
	}
	text = strings.ReplaceAll(text, r.URL, r.Name())
	values := r.variables()
	if len(values) == 0 {
		return text
	}
	if u, err := url.Parse(r.URL); err == nil && len(u.Path) > 1 {
		for _, p := range []string{u.RequestURI(), u.EscapedPath(), u.Path} {
			text = strings.ReplaceAll(text, p, "/"+hidden)
		}
	}
	for _, v := range values {
		if len(v) < leastHidden {
			continue
		}
		for _, form := range []string{v, url.PathEscape(v), url.QueryEscape(v)} {
			text = strings.ReplaceAll(text, form, hidden)
		}
	}
	return text
}

var variable = regexp.MustCompile(`\$\$|\$\{[^}]*\}`)

// variables returns what the variables in the path hold, the longest first: what stands in their place in
// the address.
func (r *RTSP) variables() []string {
	_, path := cutPath(r.URL)
	_, shown := cutPath(r.Shown)
	if shown == "" && path != "" {
		return []string{strings.TrimPrefix(path, "/")}
	}
	pattern, at := "^", 0
	for _, m := range variable.FindAllStringIndex(shown, -1) {
		pattern += regexp.QuoteMeta(shown[at:m[0]])
		at = m[1]
		if shown[m[0]:m[1]] == "$$" {
			pattern += `\$`
		} else {
			pattern += "(.*?)"
		}
	}
	re, err := regexp.Compile(pattern + regexp.QuoteMeta(shown[at:]) + "$")
	if err != nil {
		return nil
	}
	found := re.FindStringSubmatch(path)
	if len(found) == 0 {
		return nil
	}
	values := found[1:]
	slices.SortFunc(values, func(a, b string) int { return len(b) - len(a) })
	return values
}
