package sources_test

import (
	"strings"
	"testing"

	"sightline/sources"
)

func TestVariablesInAnAddressAreHidden(t *testing.T) {
	r := sources.RTSP{URL: "rtsp://cam:554/Ge$heim%2F1/ch/7?x=kennwort", Shown: "rtsp://cam:554/${PW}/ch/${CHANNEL}?x=${KEY}"}
	if r.Name() != r.Shown {
		t.Errorf("the name is %q", r.Name())
	}
	for _, text := range []string{
		"dial " + r.URL + ": refused", "404 of /Ge$heim%2F1/ch/7?x=kennwort", "the path /Ge$heim/1/ch/7", "Ge$heim%2F1", "x=kennwort&y", "Ge%24heim%252F1",
	} {
		if got := r.Hide(text); strings.Contains(got, "heim") || strings.Contains(got, "kennwort") {
			t.Errorf("%q becomes %q", text, got)
		}
	}
	if got := r.Hide("picture 7 of 77 from cam:554"); got != "picture 7 of 77 from cam:554" {
		t.Errorf("too much is hidden: %q", got)
	}
	for _, test := range []struct{ url, shown, name, text, hidden string }{
		{"rtsp://192.0.2.1:8554/s", "rtsp://192.0.2.1:${PORT}/s", "rtsp://192.0.2.1:8554/s", "dial 192.0.2.1:8554/s", "dial 192.0.2.1:8554/s"},
		{"rtsp://192.0.2.1/kennwort", "${URL}", "rtsp://192.0.2.1/<redacted>", "no kennwort at /kennwort", "no <redacted> at /<redacted>"},
		{"rtsp://192.0.2.1/kennwort", "rtsp://${REST}", "rtsp://192.0.2.1/<redacted>", "GET rtsp://192.0.2.1/kennwort", "GET rtsp://192.0.2.1/<redacted>"},
		{"rtsp://192.0.2.1", "${URL}", "rtsp://192.0.2.1", "rtsp://192.0.2.1/", "rtsp://192.0.2.1/"},
		{"kennwort", "${URL}", "", "kennwort is no address", "<redacted> is no address"},
	} {
		r := sources.RTSP{URL: test.url, Shown: test.shown}
		if r.Name() != test.name || r.Hide(test.text) != test.hidden {
			t.Errorf("%s: %q, %q", test.shown, r.Name(), r.Hide(test.text))
		}
	}
	plain := sources.RTSP{URL: "rtsp://cam/stream1"}
	if plain.Name() != plain.URL || plain.Hide("/stream1") != "/stream1" {
		t.Errorf("an address without variables: %q, %q", plain.Name(), plain.Hide("/stream1"))
	}
}
