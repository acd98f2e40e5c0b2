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

// Name is the address for texts: as it is written in the configuration, with the names of variables
// instead of what they hold, since some cameras want a password as a part of the path.
func (r *RTSP) Name() string {
	if r.Shown != "" {
		return pipeline.RedactText(r.Shown)
	}
	return pipeline.RedactText(r.URL)
}

// Hide takes out of a text what variables in the address hold.
func (r *RTSP) Hide(text string) string {
	if r.Shown == "" {
		return text
	}
	text = strings.ReplaceAll(text, r.URL, r.Shown)
	if u, err := url.Parse(r.URL); err == nil && len(u.Path) > 1 {
		for _, p := range []string{u.RequestURI(), u.EscapedPath(), u.Path} {
			text = strings.ReplaceAll(text, p, "/"+hidden)
		}
	}
	for _, v := range r.variables() {
		if len(v) >= leastHidden {
			for _, form := range []string{v, url.PathEscape(v), url.QueryEscape(v)} {
				text = strings.ReplaceAll(text, form, hidden)
			}
		}
	}
	return text
}

var variable = regexp.MustCompile(`\$\$|\$\{[^}]*\}`)

// variables returns what the variables of the address hold, the longest first: what stands in its place
// in the address.
func (r *RTSP) variables() []string {
	pattern, at := "^", 0
	for _, m := range variable.FindAllStringIndex(r.Shown, -1) {
		pattern += regexp.QuoteMeta(r.Shown[at:m[0]])
		at = m[1]
		if r.Shown[m[0]:m[1]] == "$$" {
			pattern += `\$`
		} else {
			pattern += "(.*?)"
		}
	}
	re, err := regexp.Compile(pattern + regexp.QuoteMeta(r.Shown[at:]) + "$")
	if err != nil {
		return nil
	}
	found := re.FindStringSubmatch(r.URL)
	if len(found) == 0 {
		return nil
	}
	values := found[1:]
	slices.SortFunc(values, func(a, b string) int { return len(b) - len(a) })
	return values
}
