package configs

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
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
	if s.Device != nil {
		c.localCamera(path+".device", s.Device)
	}
	if s.Motion != nil {
		c.masks(path+".motion.masks", s.Motion.Masks)
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

// localCamera checks a camera of this machine. It need not be there: it can be plugged in later.
func (c *checker) localCamera(path string, d *sources.Device) {
	width, height := c.doc.Given(path+".width"), c.doc.Given(path+".height")
	switch {
	case width && !c.doc.Stands(path+".height"):
		c.problem(path+".width", "is there without height", "write both, or none to take the camera's own")
	case height && !c.doc.Stands(path+".width"):
		c.problem(path+".height", "is there without width", "write both, or none to take the camera's own")
	}
	if c.doc.Given(path+".path") && !strings.HasPrefix(d.Path, "/dev/") {
		c.problem(path+".path", "is not a device", "write a device file, such as /dev/video0; a video file is played by file: {path: …}")
	}
}

// masks checks the rectangles and polygons where motion does not count.
func (c *checker) masks(path string, masks map[string][]float64) {
	for _, name := range slices.Sorted(maps.Keys(masks)) {
		m, at := masks[name], path+"."+name
		switch {
		case !c.doc.Given(at):
		case slices.ContainsFunc(m, func(v float64) bool { return !(v >= 0 && v <= 1) }):
			c.problem(at, "is not within the picture", "write fractions of its width and height, 0 to 1")
		case len(m) != 4 && (len(m) < 6 || len(m)%2 != 0):
			c.problem(at, fmt.Sprintf("has %d numbers", len(m)), "write [left, top, right, bottom], or x and y of three corners or more")
		case len(m) == 4 && (m[0] >= m[2] || m[1] >= m[3]):
			c.problem(at, "is empty", "write [left, top, right, bottom]: right of left, and bottom below top")
		}
	}
}

var hexDigest = regexp.MustCompile(`^[0-9a-fA-F]{64}$`)

func (c *checker) rtsp(path string, r *sources.RTSP) {
	c.password(path, r.Username, &r.Password, &r.PasswordFile)
	c.existing(path+".ca_file", &r.CAFile)
	if c.doc.Given(path+".fingerprint") && !hexDigest.MatchString(strings.ReplaceAll(r.Fingerprint, ":", "")) {
		c.problem(path+".fingerprint", "is not a SHA-256 digest", "write its 64 hexadecimal digits, with or without colons")
	}
	if written := c.doc.Written(path + ".url"); strings.Contains(written, "${") {
		r.Shown = written
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
