package onvif_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sightline/pipeline"
	"sightline/sources/onvif"
)

// search asks one device. Datagrams on loopback come at once; should the machine be too busy to answer
// in time the search is repeated.
func search(t *testing.T, s onvif.Search) []onvif.Device {
	t.Helper()
	for s.Wait = time.Second / 2; ; s.Wait *= 2 {
		devices, err := s.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(devices) > 0 || s.Wait > 16*time.Second {
			return devices
		}
	}
}

func one(t *testing.T, s onvif.Search) onvif.Device {
	t.Helper()
	devices := search(t, s)
	if len(devices) != 1 {
		t.Fatalf("%d devices, want 1: %+v", len(devices), devices)
	}
	text, err := json.Marshal(devices[0])
	if err != nil || bytes.Contains(text, []byte("s3cret")) {
		t.Errorf("%s, %v", text, err)
	}
	return devices[0]
}

func TestACameraTellsItsStreams(t *testing.T) {
	t.Parallel()
	d := (&device{t: t}).start()
	found := one(t, onvif.Search{Target: d.target()})
	if found.Host != "127.0.0.1" || found.Name != "Front Door" || found.Hardware != "IPC-1" || found.Location != "gate" ||
		found.Manufacturer != "Acme" || found.Firmware != "1.2.3" || found.Problem != "" || found.Login {
		t.Errorf("%+v", found)
	}
	if title := found.Title(); title != `Acme IPC-1 "Front Door"` {
		t.Errorf("title %s", title)
	}
	want := []onvif.Profile{
		{Token: "p&1", Name: "mainStream", Codec: "H264", Width: 1920, Height: 1080, FPS: 25, URI: "rtsp://127.0.0.1:8554/p1"},
		{Token: "p2", Name: "subStream", Codec: "H264", Width: 640, Height: 360, FPS: 10, URI: "rtsp://127.0.0.1:8554/p2"},
	}
	if len(found.Profiles) != len(want) {
		t.Fatalf("profiles %+v", found.Profiles)
	}
	for i := range want {
		if found.Profiles[i] != want[i] {
			t.Errorf("profile %+v, want %+v", found.Profiles[i], want[i])
		}
	}
}

func TestTheNewerMediaServiceIsPreferred(t *testing.T) {
	t.Parallel()
	d := (&device{t: t, media2: true}).start()
	found := one(t, onvif.Search{Target: d.target()})
	if len(found.Profiles) != 1 || found.Profiles[0].Codec != "H265" || found.Profiles[0].FPS != 12.5 ||
		found.Profiles[0].URI != "rtsp://127.0.0.1:8554/h265?token=<redacted>" {
		t.Errorf("%+v", found)
	}
}

func TestTheLoginIsOfTheCamerasOwnTime(t *testing.T) {
	t.Parallel()
	for name, ahead := range map[string]time.Duration{"right clock": 0, "clock of 1970": time.Until(time.Unix(3600, 0)), "clock ahead": 40 * time.Hour} {
		d := (&device{t: t, username: "viewer", password: "s3cret", ahead: ahead}).start()
		found := one(t, onvif.Search{Target: d.target(), Username: "viewer", Password: pipeline.NewSecret("s3cret")})
		if found.Problem != "" || len(found.Profiles) != 2 || found.ClockOffset == nil || (*found.ClockOffset-ahead.Seconds()) > 60 {
			t.Errorf("%s: %+v", name, found)
		}
		if d.refused != 1 {
			t.Errorf("%s: %d requests were refused, want the first one", name, d.refused)
		}
	}
}

func TestTheLoginMayBeByHTTPDigest(t *testing.T) {
	t.Parallel()
	for _, challenge := range []string{
		`Digest realm="the, realm", nonce="abc"`,
		`digest realm="the, realm",nonce="abc",qop="auth,auth-int",opaque="x",algorithm=MD5`,
		`Digest qop="auth", algorithm=SHA-256, nonce="abc", realm="the, realm"`,
	} {
		d := (&device{t: t, username: "viewer", password: "s3cret", challenge: challenge}).start()
		found := one(t, onvif.Search{Target: d.target(), Username: "viewer", Password: pipeline.NewSecret("s3cret")})
		if found.Problem != "" || len(found.Profiles) != 2 || found.Model != "IPC-1" {
			t.Errorf("%s: %+v", challenge, found)
		}
		found = one(t, onvif.Search{Target: d.target(), Username: "viewer", Password: pipeline.NewSecret("wrong")})
		if !found.Login || !strings.Contains(found.Problem, "refuses") {
			t.Errorf("%s: %+v", challenge, found)
		}
	}
}

func TestWithoutTheRightLoginTheCameraIsStillFound(t *testing.T) {
	t.Parallel()
	d := (&device{t: t, username: "viewer", password: "s3cret"}).start()
	for password, says := range map[string]string{"": "--username", "wrong": "refuses user and password"} {
		s := onvif.Search{Target: d.target()}
		if password != "" {
			s.Username, s.Password = "viewer", pipeline.NewSecret(password)
		}
		found := one(t, s)
		if !found.Login || !strings.Contains(found.Problem, says) || found.Name != "Front Door" {
			t.Errorf("password %q: %+v", password, found)
		}
	}
}

// elsewhere is a host that a camera names, and that must not hear of us.
func elsewhere(t *testing.T) (*httptest.Server, *atomic.Int64) {
	heard := &atomic.Int64{}
	listener, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Skipf("a second host on loopback: %v", err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { heard.Add(1) }))
	s.Listener.Close()
	s.Listener = listener
	s.Start()
	t.Cleanup(s.Close)
	return s, heard
}

func TestOtherHostsAreNotFollowed(t *testing.T) {
	t.Parallel()
	other, heard := elsewhere(t)
	_, port, _ := net.SplitHostPort(other.Listener.Addr().String())
	t.Run("service", func(t *testing.T) {
		d := (&device{t: t, services: other.URL + "/onvif/device_service"}).start()
		found := one(t, onvif.Search{Target: d.target()})
		if !found.Moved || found.Problem == "" || found.Service != "http://127.0.0.1:"+port+"/onvif/device_service" {
			t.Errorf("%+v", found)
		}
	})
	t.Run("service beside its own", func(t *testing.T) {
		d := &device{t: t}
		d.answer = func(probe string) string {
			return strings.Replace(d.match(probe), "<d:XAddrs>", "<d:XAddrs>"+other.URL+" ", 1)
		}
		d.start()
		if found := one(t, onvif.Search{Target: d.target()}); found.Moved || len(found.Profiles) != 2 {
			t.Errorf("%+v", found)
		}
	})
	t.Run("streams", func(t *testing.T) {
		d := (&device{t: t, streamHost: "192.0.2.7:554"}).start()
		found := one(t, onvif.Search{Target: d.target()})
		if len(found.Profiles) != 2 || !found.Profiles[0].Elsewhere || found.Profiles[0].URI != "rtsp://192.0.2.7:554/p1" {
			t.Errorf("%+v", found)
		}
	})
	t.Run("redirection", func(t *testing.T) {
		sender := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
		t.Cleanup(sender.Close)
		d := (&device{t: t, services: sender.URL}).start()
		if found := one(t, onvif.Search{Target: d.target()}); !strings.Contains(found.Problem, "HTTP 307") {
			t.Errorf("%+v", found)
		}
	})
	if n := heard.Load(); n != 0 {
		t.Errorf("the other host was asked %d times", n)
	}
}

func TestHostileAnswersAreBounded(t *testing.T) {
	t.Parallel()
	lol := `<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><l>&b;</l>`
	for name, c := range map[string]struct{ body, says string }{
		"entities":    {lol, "no SOAP"},
		"endless":     {strings.Repeat(" ", 5<<20), "larger than"},
		"deep":        {strings.Repeat("<a>", 100_000), "nested too deep"},
		"not XML":     {"\x00\xff hello", "no SOAP"},
		"empty":       {"", "no SOAP"},
		"wrong":       {"<a/>", "no media service"},
		"bad charset": {`<?xml version="1.0" encoding="klingon"?><a>` + "\xff" + `</a>`, "no media service"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(c.body)) }))
			t.Cleanup(web.Close)
			d := (&device{t: t, services: web.URL}).start()
			if found := one(t, onvif.Search{Target: d.target()}); !strings.Contains(found.Problem, c.says) {
				t.Errorf("%+v", found)
			}
		})
	}
	t.Run("datagrams", func(t *testing.T) {
		t.Parallel()
		d := &device{t: t}
		answers := []string{"", lol, "\xff", "<a/>", strings.Repeat("<a>", 10_000)}
		var n atomic.Int64
		d.answer = func(probe string) string {
			if i := int(n.Add(1)) - 1; i < len(answers) {
				return answers[i]
			}
			return d.match("NetworkVideoTransmitter")
		}
		d.start()
		one(t, onvif.Search{Target: d.target()})
	})
}

func TestASearchEndsWithItsContext(t *testing.T) {
	t.Parallel()
	d := (&device{t: t, answer: func(string) string { return "" }}).start()
	s := onvif.Search{Target: d.target(), Wait: time.Hour}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Run(ctx); !errors.Is(err, ctx.Err()) {
		t.Errorf("%v", err)
	}
}
