//go:build cgo

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sightline/pipeline"
	"sightline/sources/encode"
	look "sightline/sources/probe"
	"sightline/sources/sim"
	"sightline/sources/sim/camera"
)

// simulated starts a camera that wants user and password, and returns its address.
func simulated(t *testing.T) string {
	t.Helper()
	c := &camera.Camera{Server: &sim.Server{Username: "viewer", Password: "p#s/s@1"}, Path: "gate", Encode: encode.Options{Codec: pipeline.H264, FPS: 10, GOP: 5}}
	if err := errors.Join(c.Open(), c.Server.Start()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	filmed := make(chan error, 1)
	go func() { filmed <- c.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-filmed; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		c.Server.Stop()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c.Server.URL("gate")
}

func TestProbeSaysWhatToWrite(t *testing.T) {
	address := simulated(t)
	file := filepath.Join(t.TempDir(), "gate.secret")
	if err := os.WriteFile(file, []byte("p#s/s@1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	inURL := strings.Replace(address, "://", "://viewer:p#s/s@1@", 1)
	for _, c := range []struct {
		name, environment string
		args              []string
	}{
		{"password in the URL", "p#s/s@1", []string{"probe", inURL, "--for", "2s"}},
		{"password in a file", "", []string{"probe", address, "--username", "viewer", "--password-file", file, "--for", "1s", "--transport", "tcp"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, stdout, stderr := command(c.args...)
			if status != exitWell {
				t.Fatalf("status %d: %s%s", status, stdout, stderr)
			}
			if strings.Contains(stdout+stderr, "p#s/s") {
				t.Errorf("shows the password:\n%s%s", stdout, stderr)
			}
			for _, want := range []string{"640×360", "digest", "video H264 (taken)", "username: viewer"} {
				if !strings.Contains(stdout, want) {
					t.Errorf("no %q in\n%s", want, stdout)
				}
			}
			_, snippet, _ := strings.Cut(stdout, "sources:\n")
			t.Setenv(look.PasswordVariable, c.environment)
			pipeline := "version: 1\nsources:\n" + snippet + "models:\n  scene: {inputs: [camera], model: gate}\nsinks:\n  out: {inputs: [scene], jsonl: {path: \"-\"}}\n"
			if status, stdout, stderr := command("validate", write(t, pipeline)); status != exitWell {
				t.Errorf("validate: status %d: %s%s\n%s", status, stdout, stderr, pipeline)
			}
		})
	}
	t.Run("as JSON", func(t *testing.T) {
		var r look.Report
		status, stdout, stderr := command("probe", inURL, "--for", "1s", "--json")
		if err := json.Unmarshal([]byte(stdout), &r); status != exitWell || err != nil || r.Video.Width != 640 || strings.Contains(stdout+stderr, "p#s/s") {
			t.Errorf("status %d, %v: %s%s", status, err, stdout, stderr)
		}
	})
	t.Run("wrong password", func(t *testing.T) {
		status, stdout, stderr := command("probe", strings.Replace(inURL, "#", "%", 1))
		if status != exitFailed || !strings.Contains(stderr, "password_file") || strings.Contains(stdout+stderr, "s/s@1") {
			t.Errorf("status %d: %s%s", status, stdout, stderr)
		}
	})
	t.Run("no such path", func(t *testing.T) {
		status, _, stderr := command("probe", inURL+"way")
		if status != exitFailed || !strings.Contains(stderr, "check the path") {
			t.Errorf("status %d: %s", status, stderr)
		}
	})
}

func TestProbeCommandLines(t *testing.T) {
	for _, c := range []struct {
		name   string
		args   []string
		status int
		says   string
	}{
		{"help", []string{"probe", "--help"}, exitWell, "--discover"},
		{"no address", []string{"probe"}, exitBadConfig, "name the URL"},
		{"both", []string{"probe", "--discover", "rtsp://x"}, exitBadConfig, "leave out the URL"},
		{"no scheme", []string{"probe", "192.0.2.1/stream"}, exitBadConfig, "write it like rtsp://"},
		{"web address", []string{"probe", "http://u:s3cret@192.0.2.1/stream"}, exitBadConfig, "begins with http://"},
		{"a file", []string{"probe", "probe_test.go"}, exitBadConfig, "file: {path: probe_test.go}"},
		{"transport", []string{"probe", "rtsp://192.0.2.1/", "--transport", "sctp"}, exitBadConfig, "auto, tcp, udp, tls"},
		{"TLS over UDP", []string{"probe", "rtsps://192.0.2.1/", "--transport", "udp"}, exitBadConfig, "rtsps"},
		{"no user", []string{"probe", "rtsp://192.0.2.1/", "--password-file", "x"}, exitBadConfig, "--username"},
		{"no file", []string{"probe", "rtsp://192.0.2.1/", "--username", "x", "--password-file", "nowhere"}, exitBadConfig, "nowhere"},
		{"refused", []string{"probe", "rtsp://127.0.0.1:1/", "--transport", "tcp"}, exitFailed, "nothing listens"},
		{"no target", []string{"probe", "--discover", "--target", "127.0.0.1:x"}, exitFailed, "sightline probe URL works"},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, stdout, stderr := command(c.args...)
			if status != c.status || !strings.Contains(stdout+stderr, c.says) || strings.Contains(stdout+stderr, "s3cret") {
				t.Errorf("status %d, want %d: %s%s; want %q", status, c.status, stdout, stderr, c.says)
			}
		})
	}
}

// announced starts a camera that answers a search and names two streams: one that would be a command in
// a shell, and one of another host.
func announced(t *testing.T) (target string) {
	t.Helper()
	soap := func(w io.Writer, body string) {
		fmt.Fprint(w, `<E xmlns="http://www.w3.org/2003/05/soap-envelope"><Body>`+body+`</Body></E>`)
	}
	var web *httptest.Server
	web = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		question, _ := io.ReadAll(r.Body)
		asks := func(what string) bool { return strings.Contains(string(question), "<"+what) }
		switch {
		case asks("GetCapabilities"):
			soap(w, `<GetCapabilitiesResponse><Capabilities><Media><XAddr>`+web.URL+`</XAddr></Media></Capabilities></GetCapabilitiesResponse>`)
		case asks("GetProfiles"):
			const video = `<VideoEncoderConfiguration><Encoding>H264</Encoding><Resolution><Width>1280</Width><Height>720</Height></Resolution></VideoEncoderConfiguration>`
			soap(w, `<GetProfilesResponse><Profiles token="b">`+video+`</Profiles><Profiles token="a"><Name>main</Name>`+video+`</Profiles></GetProfilesResponse>`)
		case asks("GetStreamUri") && strings.Contains(string(question), ">a<"):
			soap(w, `<GetStreamUriResponse><MediaUri><Uri>rtsp://127.0.0.1/a?x='$(reboot)'</Uri></MediaUri></GetStreamUriResponse>`)
		case asks("GetStreamUri"):
			soap(w, `<GetStreamUriResponse><MediaUri><Uri>rtsp://192.0.2.7/trap</Uri></MediaUri></GetStreamUriResponse>`)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(web.Close)
	socket, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	go func() {
		for buffer := make([]byte, 4096); ; {
			_, from, err := socket.ReadFrom(buffer)
			if err != nil {
				return
			}
			answer := `<E><Body><ProbeMatches><ProbeMatch><Scopes>onvif://www.onvif.org/name/Acme</Scopes><XAddrs>` + web.URL + `</XAddrs></ProbeMatch></ProbeMatches></Body></E>`
			_, _ = socket.WriteTo([]byte(answer), from)
		}
	}()
	return socket.LocalAddr().String()
}

func TestProbeDiscoversCameras(t *testing.T) {
	target := announced(t)
	status, stdout, stderr := command("probe", "--discover", "--target", target, "--for", "2s", "--username", "viewer")
	want := []string{
		"127.0.0.1  Acme", "main  H264  1280×720", "rtsp://192.0.2.7/trap  (names another host",
		`sightline probe 'rtsp://127.0.0.1/a?x='\''$(reboot)'\''' --username viewer`,
	}
	for _, w := range want {
		if status != exitWell || !strings.Contains(stdout, w) {
			t.Errorf("status %d, %s: no %q in\n%s", status, stderr, w, stdout)
		}
	}
	status, stdout, stderr = command("probe", "--discover", "--target", target, "--for", "1s", "--json")
	var list []struct{ Host string }
	if err := json.Unmarshal([]byte(stdout), &list); status != exitWell || err != nil || len(list) != 1 || list[0].Host != "127.0.0.1" {
		t.Errorf("status %d, %v: %s%s", status, err, stdout, stderr)
	}
}
