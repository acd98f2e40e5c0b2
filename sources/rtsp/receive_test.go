package rtsp_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"sightline/pipeline"
	"sightline/sources"
	"sightline/sources/rtsp"
	"sightline/sources/sim"
)

func TestPicturesArriveWhole(t *testing.T) {
	for _, test := range []struct {
		name    string
		options sim.StreamOptions
		size    int
	}{
		{"h264 of one packet", sim.StreamOptions{Codec: pipeline.H264}, 600},
		{"h264 of many packets", sim.StreamOptions{Codec: pipeline.H264}, 90_000},
		{"h265 of many packets", sim.StreamOptions{Codec: pipeline.H265}, 40_000},
		{"h264 beside audio", sim.StreamOptions{Codec: pipeline.H264, Audio: true}, 9_000},
		{"h264 with parameter sets in the description only", sim.StreamOptions{Codec: pipeline.H264, OutOfBand: true}, 9_000},
		{"h265 with parameter sets in the description only", sim.StreamOptions{Codec: pipeline.H265, OutOfBand: true}, 9_000},
	} {
		for _, transport := range []string{rtsp.TransportTCP, rtsp.TransportUDP, rtsp.TransportAuto} {
			t.Run(test.name+" over "+transport, func(t *testing.T) {
				t.Parallel()
				c := startCamera(t, &sim.Server{}, test.options, test.size)
				env, _ := environment(&network{})
				units := receive(t, &rtsp.Source{Config: c.config(transport)}, env, atLeast(3*gop))
				checkPictures(t, c, units, test.options.Codec)
			})
		}
	}
}

func checkPictures(t *testing.T, c *camera, units []unit, codec pipeline.Codec) {
	t.Helper()
	for i, u := range units {
		if u.Codec != codec {
			t.Fatalf("picture %d: codec %q, want %q", i, u.Codec, codec)
		}
		if i > 0 {
			if u.number != units[i-1].number+1 {
				t.Fatalf("picture %d follows %d", u.number, units[i-1].number)
			}
			if got := u.PTS - units[i-1].PTS; (got - time.Second/30).Abs() > time.Millisecond {
				t.Errorf("picture %d: presentation time %v after the one before", u.number, got)
			}
		}
		key := u.number%gop == 0
		if u.Keyframe != key {
			t.Errorf("picture %d: keyframe is %t", u.number, u.Keyframe)
		}
		want := 1
		if key && codec == pipeline.H264 {
			want = 3
		} else if key {
			want = 4
		}
		if len(u.NALs) != want {
			t.Errorf("picture %d: %d NAL units, want %d", u.number, len(u.NALs), want)
		}
		if u.Lost != 0 {
			t.Errorf("picture %d: %d packets lost", u.number, u.Lost)
		}
		if taken, ok := c.taken.Load(u.number); !ok {
			t.Errorf("picture %d was never sent", u.number)
		} else if u.Captured.Before(taken.(time.Time).Add(-2*time.Millisecond)) || u.Received.Before(u.Captured.Add(-2*time.Millisecond)) {
			t.Errorf("picture %d: taken %v, captured %v, received %v", u.number, taken, u.Captured, u.Received)
		}
	}
	if first := units[gop]; codec == pipeline.H264 && first.Keyframe && !bytes.Equal(first.NALs[0], h264SPS) {
		t.Errorf("keyframe begins with %x, not with its SPS", first.NALs[0])
	}
}

func TestCaptureTimeIsTheCamerasBySenderReports(t *testing.T) {
	for _, transport := range []string{rtsp.TransportTCP, rtsp.TransportUDP} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			const off = -90 * time.Second
			c := startCamera(t, &sim.Server{ClockError: off}, sim.StreamOptions{}, 5000)
			env, _ := environment(&network{})
			units := receive(t, &rtsp.Source{Config: c.config(transport)}, env, bySenderReport)
			u := units[len(units)-1]
			taken, _ := c.taken.Load(u.number)
			if want := taken.(time.Time).Add(off); u.Captured.Sub(want).Abs() > time.Millisecond {
				t.Errorf("picture %d was taken at %v by the camera's clock, captured says %v", u.number, want, u.Captured)
			}
		})
	}
}

func TestCaptureTimeIsArrivalWithoutSenderReports(t *testing.T) {
	c := startCamera(t, &sim.Server{Reports: -1}, sim.StreamOptions{}, 5000)
	env, _ := environment(&network{})
	for _, u := range receive(t, &rtsp.Source{Config: c.config(rtsp.TransportTCP)}, env, atLeast(40)) {
		if u.Origin != pipeline.OriginArrival || u.Captured.After(u.Received) {
			t.Fatalf("picture %d: captured %v by %s, received %v", u.number, u.Captured, u.Origin, u.Received)
		}
	}
}

func TestCamerasClockThatCannotBeMeantIsNotUsed(t *testing.T) {
	c := startCamera(t, &sim.Server{ClockError: -3 * time.Hour}, sim.StreamOptions{}, 5000)
	env, logged := environment(&network{})
	for _, u := range receive(t, &rtsp.Source{Config: c.config(rtsp.TransportTCP)}, env, atLeast(60)) {
		if u.Origin != pipeline.OriginArrival {
			t.Fatalf("picture %d: captured %v by %s", u.number, u.Captured, u.Origin)
		}
	}
	if n := strings.Count(logged.String(), "camera's clock is not used"); n != 1 {
		t.Errorf("said %d times that the camera's clock is not used, want once:\n%s", n, logged)
	}
}

func TestAutoTakesTCPWhenUDPBringsNothing(t *testing.T) {
	for _, test := range []struct {
		name    string
		network pipeline.Network
		server  *sim.Server
		why     string
	}{
		{"a firewall swallows the packets", &firewall{}, &sim.Server{}, "no packet"},
		{"the stage has no grant for UDP", &noUDP{}, &sim.Server{}, "not granted"},
		{"the camera refuses UDP", &network{}, &sim.Server{NoUDP: true}, "461"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := startCamera(t, test.server, sim.StreamOptions{}, 5000)
			env, logged := environment(test.network)
			config := c.config(rtsp.TransportAuto)
			config.Stall = time.Second
			source := &rtsp.Source{Config: config}
			receive(t, source, env, atLeast(3))
			if text := logged.String(); !strings.Contains(text, "trying TCP") || !strings.Contains(text, test.why) {
				t.Errorf("log does not say why TCP is tried (%s):\n%s", test.why, text)
			}
			before := strings.Count(logged.String(), "trying TCP")
			receive(t, source, env, atLeast(3))
			if strings.Count(logged.String(), "trying TCP") != before {
				t.Error("the next connection tried UDP again")
			}
			config.Transport = rtsp.TransportUDP
			_, err := tryReceive(t, &rtsp.Source{Config: config}, env, atLeast(1))
			mustContain(t, err, "over udp", test.why)
		})
	}
}

func TestLostPacketsAreCounted(t *testing.T) {
	c := startCamera(t, &sim.Server{}, sim.StreamOptions{}, 9000)
	n := &lossy{every: 40}
	env, _ := environment(n)
	var lost uint64
	units := receive(t, &rtsp.Source{Config: c.config(rtsp.TransportUDP)}, env, atLeast(60))
	for i, u := range units {
		lost += u.Lost
		if i > 0 && u.number != units[i-1].number+1 && u.Lost == 0 {
			t.Errorf("picture %d follows %d, and nothing was lost", u.number, units[i-1].number)
		}
	}
	// A picture of which a packet is missing counts that one once more when it cannot be put together.
	if dropped := n.lost.Load(); lost+2 < dropped || lost == 0 {
		t.Errorf("%d packets were swallowed, %d counted as lost", dropped, lost)
	}
}

func TestStallIsNoticed(t *testing.T) {
	for _, transport := range []string{rtsp.TransportTCP, rtsp.TransportUDP} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			c := startCamera(t, &sim.Server{}, sim.StreamOptions{}, 500)
			env, _ := environment(&network{})
			config := c.config(transport)
			config.Stall = 400 * time.Millisecond
			source := &rtsp.Source{Config: config}
			_, err := tryReceive(t, source, env, func(u []unit) bool {
				c.paused.Store(len(u) >= 5)
				return false
			})
			mustContain(t, err, "no packet for 400ms", "over "+transport)
			if pipeline.IsPermanent(err) {
				t.Errorf("%v is permanent", err)
			}
			c.paused.Store(false)
			receive(t, source, env, atLeast(5))
		})
	}
}

func TestCameraKilledAndBack(t *testing.T) {
	for _, transport := range []string{rtsp.TransportTCP, rtsp.TransportUDP} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			c := startCamera(t, &sim.Server{}, sim.StreamOptions{}, 500)
			env, _ := environment(&network{})
			source := &rtsp.Source{Config: c.config(transport)}
			stopped := make(chan struct{})
			_, err := tryReceive(t, source, env, func(u []unit) bool {
				if len(u) == 5 {
					go func() { c.Stop(); close(stopped) }()
				}
				return false
			})
			mustContain(t, err, "closed the connection")
			<-stopped
			_, err = tryReceive(t, source, env, atLeast(1))
			mustContain(t, err, "nothing listens at that address")
			if pipeline.IsPermanent(err) {
				t.Errorf("%v is permanent", err)
			}
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			units := receive(t, source, env, bySenderReport)
			if units[0].PTS != 0 {
				t.Errorf("presentation time begins at %v", units[0].PTS)
			}
		})
	}
}

func TestAddressThatCannotBeUsed(t *testing.T) {
	for _, test := range []struct {
		name   string
		config sources.RTSP
		says   string
	}{
		{"not an address", sources.RTSP{URL: "192.0.2.1"}, "is not an address"},
		{"another scheme", sources.RTSP{URL: "http://192.0.2.1/"}, "unsupported scheme"},
		{"no host", sources.RTSP{URL: "rtsp:///stream"}, "no host"},
		{"user and password in it", sources.RTSP{URL: "rtsp://viewer:topsecret@192.0.2.1/"}, "username and password_file"},
		{"a password with # in it", sources.RTSP{URL: "rtsp://viewer:top#secret@192.0.2.1/"}, "username and password_file"},
		{"a password with / in it", sources.RTSP{URL: "rtsp://viewer:top/secret@192.0.2.1/"}, "username and password_file"},
		{"a password without a user", sources.RTSP{URL: "rtsp://192.0.2.1/", Password: pipeline.NewSecret("topsecret")}, "no username"},
		{"a password file that is not there", sources.RTSP{URL: "rtsp://192.0.2.1/", Username: "u", PasswordFile: "/nonexistent"}, "read password"},
		{"udp under tls", sources.RTSP{URL: "rtsps://192.0.2.1/", Transport: "udp"}, "unencrypted"},
		{"no authorities", sources.RTSP{URL: "rtsps://192.0.2.1/", CAFile: "/dev/null"}, "no certificate"},
		{"no fingerprint", sources.RTSP{URL: "rtsps://192.0.2.1/", Fingerprint: "12:34"}, "SHA-256"},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := &network{}
			env, logged := environment(n)
			_, err := tryReceive(t, &rtsp.Source{Config: test.config}, env, atLeast(1))
			mustContain(t, err, test.says)
			if !pipeline.IsPermanent(err) {
				t.Errorf("%v is not permanent", err)
			}
			if n.dialed.Load() != 0 {
				t.Error("it dialled")
			}
			if text := err.Error() + logged.String(); strings.Contains(text, "secret") || strings.Contains(text, `"top`) || strings.Contains(text, ":top") {
				t.Errorf("a part of the password is shown: %s", text)
			}
		})
	}
}

func TestDescribe(t *testing.T) {
	c := startCamera(t, &sim.Server{}, sim.StreamOptions{Codec: pipeline.H265, Audio: true}, 500)
	env, _ := environment(&network{})
	tracks, err := (&rtsp.Source{Config: c.config(rtsp.TransportTCP)}).Describe(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	want := []rtsp.Track{{Media: "audio", Format: "PCMU"}, {Media: "video", Format: "H265", Codec: pipeline.H265, Chosen: true}}
	if len(tracks) != 2 || tracks[0] != want[0] || tracks[1] != want[1] {
		t.Errorf("tracks %+v, want %+v", tracks, want)
	}
}
