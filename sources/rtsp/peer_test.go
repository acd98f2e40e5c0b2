package rtsp_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"sightline/pipeline"
	"sightline/sources"
	"sightline/sources/rtsp"
)

// peer is GStreamer's RTSP server, which nobody here wrote, in a process of its own.
type peer struct {
	python string
	args   []string
	port   string
	cmd    *exec.Cmd
	stdin  io.Closer
	stderr *logs
}

// startPeer starts the server, or skips the test with the reason why it cannot run. args are user,
// password and "basic" or "digest", or nothing.
func startPeer(t *testing.T, args ...string) *peer {
	t.Helper()
	p := &peer{python: pythonWithGStreamer(t), args: args, port: "0"}
	p.start(t)
	t.Cleanup(func() { p.kill() })
	return p
}

// pythonWithGStreamer looks for an interpreter that has the bindings: Debian's own, while another may
// come first in PATH.
func pythonWithGStreamer(t *testing.T) string {
	t.Helper()
	const probe = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
	var why []string
	for _, python := range []string{"/usr/bin/python3", "python3"} {
		out, err := exec.Command(python, "-c", probe).CombinedOutput()
		if err == nil {
			return python
		}
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		why = append(why, fmt.Sprintf("%s: %v: %s", python, err, lines[len(lines)-1]))
	}
	t.Skipf("GStreamer's RTSP server is not installed (Debian: gir1.2-gst-rtsp-server-1.0 python3-gi): %s", strings.Join(why, "; "))
	return ""
}

func (p *peer) start(t *testing.T) {
	t.Helper()
	p.stderr = &logs{}
	p.cmd = exec.Command(p.python, append([]string{"testdata/server.py", p.port}, p.args...)...)
	p.cmd.Stderr = p.stderr
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		p.kill()
		t.Fatalf("GStreamer's RTSP server does not start: %v\n%s", err, p.stderr)
	}
	p.port = strings.TrimSpace(line)
}

// kill ends the server as a power cut would.
func (p *peer) kill() {
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	}
}

func (p *peer) config(path, transport string) sources.RTSP {
	return sources.RTSP{URL: "rtsp://" + net.JoinHostPort("127.0.0.1", p.port) + path, Transport: transport, Stall: 5 * time.Second}
}

func TestServerOfOthers(t *testing.T) {
	p := startPeer(t)
	for _, test := range []struct {
		path  string
		codec pipeline.Codec
	}{
		{"/h264", pipeline.H264}, {"/bframes", pipeline.H264}, {"/refresh", pipeline.H264},
		{"/h265", pipeline.H265}, {"/mjpeg", pipeline.MJPEG},
	} {
		t.Run(test.path[1:], func(t *testing.T) {
			t.Parallel()
			for _, transport := range []string{rtsp.TransportTCP, rtsp.TransportUDP, rtsp.TransportAuto} {
				env, logged := environment(&network{})
				units := receive(t, &rtsp.Source{Config: p.config(test.path, transport)}, env, func(u []unit) bool {
					return len(u) >= 45 && bySenderReport(u)
				})
				if strings.Contains(logged.String(), "trying TCP") {
					t.Errorf("%s: UDP does not work:\n%s", transport, logged)
				}
				checkPeer(t, units, test.codec)
				decodes(t, units, test.codec)
			}
		})
	}
}

// checkPeer checks what must hold of pictures of a machine whose clock is this one's: x264's and
// x265's queues and the server's start make them some hundred milliseconds old.
func checkPeer(t *testing.T, units []unit, codec pipeline.Codec) {
	t.Helper()
	keyframes := 0
	for i, u := range units {
		if u.Codec != codec || u.Lost != 0 {
			t.Fatalf("picture %d: codec %q, %d lost", i, u.Codec, u.Lost)
		}
		if u.Keyframe {
			keyframes++
		}
		if age := u.Received.Sub(u.Captured); age < -time.Second || age > 10*time.Second {
			t.Errorf("picture %d: %v old by %s", i, age, u.Origin)
		}
	}
	if !units[0].Keyframe || keyframes < 2 {
		t.Errorf("%d keyframes in %d pictures, the first is one: %t", keyframes, len(units), units[0].Keyframe)
	}
	last := units[len(units)-1]
	if last.Origin != pipeline.OriginSenderReport {
		t.Errorf("the last of %d pictures has its time by %s", len(units), last.Origin)
	}
	if mean := last.PTS / time.Duration(len(units)-1); mean < time.Second/16 || mean > time.Second/14 {
		t.Errorf("a picture every %v, want 15 a second", mean)
	}
}

// decodes lets ffmpeg decode what was received, without complaint, and count.
func decodes(t *testing.T, units []unit, codec pipeline.Codec) {
	t.Helper()
	ffmpeg, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Logf("pictures are not decoded: %v", err)
		return
	}
	format := map[pipeline.Codec]string{pipeline.H264: "h264", pipeline.H265: "hevc", pipeline.MJPEG: "mjpeg"}[codec]
	cmd := exec.Command(ffmpeg, "-v", "error", "-xerror", "-f", format, "-i", "-", "-vsync", "passthrough", "-f", "framecrc", "-")
	cmd.Stdin = bytes.NewReader(elementary(units, codec))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || stderr.Len() != 0 {
		t.Errorf("ffmpeg: %v\n%s", err, stderr.String())
	}
	pictures := 0
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, "#") {
			pictures++
		}
	}
	if pictures != len(units) {
		t.Errorf("ffmpeg decodes %d pictures of %d", pictures, len(units))
	}
}

func elementary(units []unit, codec pipeline.Codec) []byte {
	var stream []byte
	for _, u := range units {
		for _, n := range u.NALs {
			if codec != pipeline.MJPEG {
				stream = append(stream, 0, 0, 0, 1)
			}
			stream = append(stream, n...)
		}
	}
	return stream
}

func TestServerOfOthersOffersAnotherCodec(t *testing.T) {
	p := startPeer(t)
	env, _ := environment(&network{})
	_, err := tryReceive(t, &rtsp.Source{Config: p.config("/vp8", rtsp.TransportAuto)}, env, atLeast(1))
	mustContain(t, err, "VP8", "another stream profile")
	if !pipeline.IsPermanent(err) {
		t.Errorf("%v is not permanent", err)
	}
	_, err = tryReceive(t, &rtsp.Source{Config: p.config("/none", rtsp.TransportAuto)}, env, atLeast(1))
	mustContain(t, err, "404", "check the path")
}

func TestServerOfOthersChecksPasswords(t *testing.T) {
	for _, kind := range []string{"basic", "digest"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			const password = `Geheim #@/:%41 &?`
			p := startPeer(t, "viewer", password, kind)
			env, logged := environment(&network{})
			config := p.config("/h264", rtsp.TransportAuto)
			config.Username, config.Password = "viewer", pipeline.NewSecret(password)
			receive(t, &rtsp.Source{Config: config}, env, atLeast(3))
			config.Password = pipeline.NewSecret("Geheimnis")
			_, err := tryReceive(t, &rtsp.Source{Config: config}, env, atLeast(1))
			mustContain(t, err, "401", "check username and password_file")
			hidden(t, err.Error()+logged.String())
		})
	}
}

func TestServerOfOthersKilledAndBack(t *testing.T) {
	for _, transport := range []string{rtsp.TransportTCP, rtsp.TransportUDP} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			p := startPeer(t)
			if port, err := strconv.Atoi(p.port); err != nil || port == 0 {
				t.Fatalf("port %q", p.port)
			}
			env, _ := environment(&network{})
			source := &rtsp.Source{Config: p.config("/h264", transport)}
			_, err := tryReceive(t, source, env, func(u []unit) bool {
				if len(u) == 5 {
					_ = p.cmd.Process.Signal(os.Kill)
				}
				return false
			})
			mustContain(t, err, "over "+transport)
			p.kill()
			_, err = tryReceive(t, source, env, atLeast(1))
			mustContain(t, err, "nothing listens at that address")
			p.start(t)
			decodes(t, receive(t, source, env, atLeast(20)), pipeline.H264)
		})
	}
}
