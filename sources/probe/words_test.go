package probe_test

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"sightline/configs"
	"sightline/pipeline"
	"sightline/sources"
	"sightline/sources/probe"
)

// rest makes a pipeline file of a snippet.
const rest = "models:\n  scene: {inputs: [camera], model: gate}\nsinks:\n  out: {inputs: [scene], jsonl: {path: \"-\"}}\n"

// parse reads a snippet as a pipeline file is read.
func parse(snippet string, variables map[string]string) (*sources.RTSP, error) {
	p, err := configs.Parse("front.yaml", []byte("version: 1\nname: front\ndevice: gate\n"+snippet+rest), configs.Options{
		BuiltIn: []string{"gate"}, Elsewhere: true,
		Env: func(name string) (string, bool) { v, ok := variables[name]; return v, ok },
	})
	if err != nil {
		return nil, err
	}
	return p.Sources["camera"].RTSP, nil
}

func TestTheSnippetIsAPipelineFile(t *testing.T) {
	for _, c := range []struct {
		name   string
		config sources.RTSP
		report probe.Report
		says   string
	}{
		{"bare", sources.RTSP{URL: "rtsp://192.0.2.10/stream1"}, probe.Report{}, "url: rtsp://192.0.2.10/stream1\n"},
		{"port and query", sources.RTSP{URL: "rtsp://192.0.2.10:554/cam/realmonitor?channel=1&subtype=0", Transport: "auto"}, probe.Report{}, "url: rtsp://192.0.2.10:554/cam"},
		{"hash and dollar", sources.RTSP{URL: "rtsp://192.0.2.10/a$b"}, probe.Report{}, `url: "rtsp://192.0.2.10/a$$b"`},
		{"IPv6", sources.RTSP{URL: "rtsp://[2001:db8::1]:554/s"}, probe.Report{}, ""},
		{"user", sources.RTSP{URL: "rtsp://h/s", Username: "yes", PasswordFile: "/run/secrets/gate: #1"}, probe.Report{}, `username: "yes"`},
		{"password", sources.RTSP{URL: "rtsp://h/s", Username: "a b", Password: pipeline.NewSecret("s3cret")}, probe.Report{}, "password: ${CAMERA_PASSWORD}"},
		{"password in the path", sources.RTSP{URL: "rtsp://192.0.2.10/user=admin_password=s3cret_channel=1"}, probe.Report{}, "url: ${CAMERA_URL}"},
		{"TCP after UDP failed", sources.RTSP{URL: "rtsp://h/s", Transport: "auto"}, probe.Report{Transport: "tcp", UDPRefused: "no"}, "transport: tcp"},
		{"UDP that loses", sources.RTSP{URL: "rtsp://h/s", Transport: "auto"}, probe.Report{Transport: "udp", Packets: probe.Packets{Lost: 1}}, "transport: tcp"},
		{"TLS", sources.RTSP{URL: "rtsp://h:322/s", Transport: "tls", CAFile: "/etc/ca.pem", Fingerprint: strings.Repeat("ab:", 31) + "ab"}, probe.Report{}, "url: rtsps://h:322/s"},
		{"slow camera", sources.RTSP{URL: "rtsp://h/s"}, probe.Report{Video: probe.Video{FPS: 0.52}}, "sample: {fps: 0.5}"},
	} {
		t.Run(c.name, func(t *testing.T) {
			snippet := probe.Snippet(c.config, &c.report)
			if !strings.Contains(snippet, c.says) || strings.Contains(snippet, "s3cret") {
				t.Errorf("want %q in\n%s", c.says, snippet)
			}
			variables := map[string]string{"CAMERA_PASSWORD": "s3cret", "CAMERA_URL": c.config.URL}
			got, err := parse(snippet, variables)
			if err != nil {
				t.Fatalf("%v\n%s", err, snippet)
			}
			if got.Username != c.config.Username || got.PasswordFile != c.config.PasswordFile || got.Password.Reveal() != c.config.Password.Reveal() ||
				strings.TrimPrefix(got.URL, "rtsps") != strings.TrimPrefix(strings.TrimPrefix(c.config.URL, "rtsps"), "rtsp") && got.URL != c.config.URL && c.name != "TLS" {
				t.Errorf("%+v becomes %+v", c.config, got)
			}
		})
	}
}

// FuzzSnippet proves that nothing in a name breaks out of its value.
func FuzzSnippet(f *testing.F) {
	for _, seed := range []string{"viewer", "a: b", "- x", "#", `"`, "'", "${HOME}", "$", "null", "~", "1", "a\tb", "ü", "\u2028", "{}", "&a", "*a", "!x", "%", "@", "`", " a "} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if !utf8.ValidString(name) || name == "" || strings.ContainsFunc(name, unicode.IsControl) {
			return
		}
		snippet := probe.Snippet(sources.RTSP{URL: "rtsp://h/s", Username: name, PasswordFile: "/x"}, &probe.Report{})
		got, err := parse(snippet, nil)
		if err != nil {
			t.Fatalf("%q: %v\n%s", name, err, snippet)
		}
		if got.Username != name {
			t.Errorf("%q becomes %q", name, got.Username)
		}
	})
}

var addresses = []struct{ text, address, user, password string }{
	{"rtsp://192.0.2.1/s", "rtsp://192.0.2.1/s", "", ""},
	{"rtsp://u:p@192.0.2.1/s", "rtsp://192.0.2.1/s", "u", "p"},
	{"rtsp://u@192.0.2.1/s", "rtsp://192.0.2.1/s", "u", ""},
	{"rtsp://u:p%23s@h:554/s", "rtsp://h:554/s", "u", "p#s"},
	{"rtsp://u:p#s@h/s", "rtsp://h/s", "u", "p#s"},
	{"rtsp://u:p@ss/w?rd@h/s?a=b", "rtsp://h/s?a=b", "u", "p@ss/w?rd"},
	{"rtsp://u:100%@h/s", "rtsp://h/s", "u", "100%"},
	{"rtsp://h/a@b", "rtsp://h/a@b", "", ""},
	{"rtsp://h:554/a@b", "rtsp://h:554/a@b", "", ""},
	{"rtsp://h?to=a@b", "rtsp://h?to=a@b", "", ""},
	{"u:p@h", "u:p@h", "", ""},
	{"", "", "", ""},
}

func TestUserAndPasswordAreTakenOutOfAnAddress(t *testing.T) {
	for _, c := range addresses {
		address, user, password := probe.Split(c.text)
		if address != c.address || user != c.user || password.Reveal() != c.password {
			t.Errorf("%q: %q, %q, %q", c.text, address, user, password.Reveal())
		}
	}
	for _, bad := range []string{"", "h", "u:s3cret@h", "http://h/s", "rtsp://", "rtsp:/x", "://", "rtsp://%zz/", "rtsp://u:s3cret@"} {
		if err := probe.CheckAddress(bad); err == nil || strings.Contains(err.Error(), "s3cret@") && strings.Contains(bad, "://") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzSplit(f *testing.F) {
	for _, c := range addresses {
		f.Add(c.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		address, user, password := probe.Split(text)
		if address == text && (user != "" || !password.Empty()) {
			t.Errorf("%q is as it was, but has %q", text, user)
		}
		if probe.CheckAddress(address) != nil {
			return
		}
		if again, _, _ := probe.Split(address); again != address && again != text && !strings.Contains(address, "@") {
			t.Errorf("%q becomes %q, then %q", text, address, again)
		}
	})
}
