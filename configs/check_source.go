package configs

import (
	"regexp"
	"strings"

	"sightline/sources"
)

// source checks one capture stage and returns it settled.
func (c *checker) source(path string, s sources.Config) sources.Config {
	if s.RTSP != nil {
		c.rtsp(path+".rtsp", s.RTSP)
	}
	if s.File != nil {
		c.existing(path+".file.path", &s.File.Path)
	}
	every, fps := path+".sample.every", path+".sample.fps"
	switch {
	case c.doc.Given(every) && c.doc.Given(fps):
		c.problem(fps, "is there beside every", "keep one of them")
	case c.doc.Given(fps) && s.Sample.FPS == 0:
		c.problem(fps, "must be above 0", "write pictures a second, such as 5 or 0.5")
	case s.Sample.Every == "" && s.Sample.FPS == 0:
		s.Sample.Every = sources.EveryFrame
	}
	return s
}

var hexDigest = regexp.MustCompile(`^[0-9a-fA-F]{64}$`)

func (c *checker) rtsp(path string, r *sources.RTSP) {
	c.password(path, r.Username, &r.Password, &r.PasswordFile)
	c.existing(path+".ca_file", &r.CAFile)
	if c.doc.Given(path+".fingerprint") && !hexDigest.MatchString(strings.ReplaceAll(r.Fingerprint, ":", "")) {
		c.problem(path+".fingerprint", "is not a SHA-256 digest", "write its 64 hexadecimal digits, with or without colons")
	}
	u := c.address(path+".url", r.URL, []string{"rtsp", "rtsps"}, map[string]string{"rtspt": "rtsp", "http": "rtsp", "https": "rtsps"})
	if u == nil {
		return
	}
	tls := u.Scheme == "rtsps"
	switch {
	case tls && !c.doc.Stands(path+".transport"), tls && r.Transport == "auto":
		r.Transport = "tls"
	case tls && r.Transport != "tls":
		c.problem(path+".transport", r.Transport+" does not fit an rtsps:// address", "write tls, or remove it")
	case !tls && r.Transport == "tls":
		c.problem(path+".transport", "tls does not fit an rtsp:// address", "write rtsps:// in url")
	}
	for _, key := range []string{"ca_file", "fingerprint"} {
		if !tls && c.doc.Given(path+"."+key) {
			c.problem(path+"."+key, "has no use without TLS", "write rtsps:// in url")
		}
	}
}
