package device

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/jpeg"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sightline/pipeline"
	"sightline/sources"
	"sightline/sources/decode"
	"sightline/sources/picture"
)

func webcam() *camera {
	return &camera{
		card: "HD Webcam", able: capCapture | capStreaming, formats: []fourCC{fmtYUYV, fmtMJPEG},
		flags: flagMonotonic, pictures: func(int) []byte { return photo() }, fail: map[uintptr]error{},
	}
}

func photo() []byte {
	var out bytes.Buffer
	if err := jpeg.Encode(&out, image.NewGray(image.Rect(0, 0, 64, 48)), nil); err != nil {
		panic(err)
	}
	return out.Bytes()
}

// receive takes most units of a camera.
func receive(t *testing.T, c *camera, config sources.Device, most int, take func(*pipeline.Unit)) (log string, err error) {
	t.Helper()
	var out bytes.Buffer
	env := pipeline.Env{Device: "device", Stage: "gate", Log: slog.New(slog.NewTextHandler(&out, nil))}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	config.Path = "/dev/video7"
	s := Source{Config: config, open: func(path string) (node, error) {
		if path != config.Path {
			t.Errorf("opened %q", path)
		}
		return handle{c}, nil
	}}
	n := 0
	err = s.Receive(ctx, env, func(u *pipeline.Unit) {
		if n++; n == most {
			cancel()
		}
		if take != nil {
			take(u)
		}
	})
	if c.closed != 1 {
		t.Errorf("closed %d times", c.closed)
	}
	if c.running {
		t.Error("it still gives pictures")
	}
	return out.String(), err
}

func TestJPEGsComeAsTheyAre(t *testing.T) {
	c := webcam()
	want, last := photo(), time.Time{}
	log, err := receive(t, c, sources.Device{FPS: 15}, 50, func(u *pipeline.Unit) {
		if u.Codec != pipeline.MJPEG || len(u.NALs) != 1 || !bytes.Equal(u.NALs[0], want) || !u.Keyframe {
			t.Errorf("%s, %d parts", u.Codec, len(u.NALs))
		}
		if u.Origin != pipeline.OriginArrival || u.Captured.After(u.Received) || u.Captured.Before(last) {
			t.Errorf("captured %v, received %v", u.Captured, u.Received)
		}
		last = u.Captured
	})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if !strings.Contains(log, "HD Webcam") || !strings.Contains(log, "640×480 MJPG") || strings.Contains(log, "WARN") {
		t.Errorf("the log says: %s", log)
	}
	if c.rate.denominator != 15000 || c.rate.numerator != 1000 {
		t.Errorf("asked for %d/%d s", c.rate.numerator, c.rate.denominator)
	}
	if len(c.queued) < wantBuffers-1 {
		t.Errorf("%d buffers are with the driver", len(c.queued))
	}
}

func TestUncompressedPicturesAreDecoded(t *testing.T) {
	c := webcam()
	c.formats, c.width, c.height = []fourCC{fmtYUYV}, 64, 48
	const stride = 2*64 + 16
	data := make([]byte, 48*stride)
	for i := range data {
		data[i] = 128
		if i%2 == 0 {
			data[i] = 90
		}
	}
	c.pictures = func(int) []byte { return data }
	d, err := decode.Open(decode.Options{Codec: pipeline.YUYV})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	seen := 0
	log, err := receive(t, c, sources.Device{Width: 70, Height: 50}, 3, func(u *pipeline.Unit) {
		err := d.Decode(u, 1, func(p *picture.Picture) {
			seen++
			if p.Width != 64 || p.Height != 48 || p.Components[0].Data[stride*47+2*63] != 90 || p.Components[2].Data[stride*47+4*31] != 128 {
				t.Errorf("%d×%d", p.Width, p.Height)
			}
		})
		if err != nil {
			t.Error(err)
		}
	})
	if !errors.Is(err, context.Canceled) || seen != 3 || d.Missing() != 0 {
		t.Errorf("%d pictures, %v", seen, err)
	}
	if !strings.Contains(log, "does not give what was asked for") || !strings.Contains(log, "70×50") {
		t.Errorf("the log says: %s", log)
	}
}

func TestDamagedPicturesAreCounted(t *testing.T) {
	for _, tt := range []struct {
		name string
		data []byte
	}{
		{"half a JPEG", photo()[20:]},
		{"nothing", []byte{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := webcam()
			c.pictures = func(n int) []byte {
				if n < 2 {
					return tt.data
				}
				return photo()
			}
			lost := uint64(0)
			if _, err := receive(t, c, sources.Device{}, 1, func(u *pipeline.Unit) { lost = u.Lost }); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			if lost != 2 {
				t.Errorf("%d lost, want 2", lost)
			}
		})
	}
}

func TestWhatIsWrongIsToldWithAWayOut(t *testing.T) {
	for _, tt := range []struct {
		name      string
		change    func(*camera)
		config    sources.Device
		says      string
		permanent bool
	}{
		{"it is used by another program", func(c *camera) { c.fail[setFmt] = unix.EBUSY }, sources.Device{}, "another program uses it", false},
		{"it is used when it is to start", func(c *camera) { c.fail[streamOn] = unix.EBUSY }, sources.Device{}, "another program uses it", false},
		{"it is unplugged", func(c *camera) { c.fail[dqBuf] = unix.ENODEV }, sources.Device{}, "it is unplugged", false},
		{"it sends nothing", func(c *camera) { c.pictures = func(int) []byte { return nil } }, sources.Device{}, "it sends no pictures for 5s", false},
		{"it is no camera", func(c *camera) { c.fail[queryCap] = unix.ENOTTY }, sources.Device{}, "it is not a camera", true},
		{"it is a camera's other device", func(c *camera) { c.able = capStreaming }, sources.Device{}, "gives no pictures here", true},
		{"it is on a board's connector", func(c *camera) { c.able = capCapturePlane | capStreaming }, sources.Device{}, "several planes", true},
		{"it can be read only", func(c *camera) { c.able = capCapture }, sources.Device{}, "by reading only", true},
		{"it has other formats", func(c *camera) { c.formats = []fourCC{0x32314742, 0x7} }, sources.Device{}, `offers BG12, 0x7; Sightline reads MJPG`, true},
		{"it lacks the format asked for", func(*camera) {}, sources.Device{Format: "h264"}, "offers YUYV, MJPG; Sightline reads h264", true},
		{"its pictures have no size", func(c *camera) { c.width, c.height = 1<<20, 1 }, sources.Device{}, "pictures of 1048576×1", true},
		{"its driver has no memory", func(c *camera) { c.fail[reqBufs] = unix.ENOMEM }, sources.Device{}, "ask for buffers: cannot allocate memory", false},
		{"its driver has one buffer", func(c *camera) { c.buffers = 1 }, sources.Device{}, "the driver gives 1 buffers", false},
		{"its driver has a thousand buffers", func(c *camera) { c.buffers = 1000 }, sources.Device{}, "the driver gives 1000 buffers", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := webcam()
			tt.change(c)
			_, err := receive(t, c, tt.config, 3, nil)
			if err == nil || !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), "/dev/video7") {
				t.Fatalf("%v", err)
			}
			if pipeline.IsPermanent(err) != tt.permanent {
				t.Errorf("permanent %v: %v", !tt.permanent, err)
			}
		})
	}
}

func TestACameraThatIsNotThereOrNotToBeUsed(t *testing.T) {
	plain := filepath.Join(t.TempDir(), "camera.mp4")
	if err := os.WriteFile(plain, []byte("video"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, path, says string
		permanent        bool
		open             opener
	}{
		{"a device that is not there", "/dev/video4711", "there is no such device (there is ", false, nil},
		{"a file", plain, "it is not a device; a video file is played by the source file", true, nil},
		{"a device that is no camera", "/dev/null", "it is not a camera", true, nil},
		{"one that others own", "/dev/video0", "add it to the group video", true, func(string) (node, error) {
			return nil, &fs.PathError{Op: "open", Path: "/dev/video0", Err: unix.EACCES}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := Source{Config: sources.Device{Path: tt.path}, open: tt.open}
			err := s.Receive(t.Context(), pipeline.Env{Log: slog.New(slog.DiscardHandler)}, nil)
			if err == nil || !strings.Contains(err.Error(), tt.says) || pipeline.IsPermanent(err) != tt.permanent {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestCamerasOfThisMachine receives from a camera where there is one.
func TestCamerasOfThisMachine(t *testing.T) {
	for _, found := range List() {
		if found.Err != nil {
			t.Logf("%s: %v", found.Path, found.Err)
			continue
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s, n := Source{Config: sources.Device{Path: found.Path}}, 0
		err := s.Receive(ctx, pipeline.Env{Log: slog.New(slog.NewTextHandler(t.Output(), nil))}, func(u *pipeline.Unit) {
			t.Logf("%s %s: %s, %d bytes, captured %v before it was received", found.Path, found.Card, u.Codec, len(u.NALs[0]), u.Received.Sub(u.Captured))
			if n++; n == 5 {
				cancel()
			}
		})
		if n < 5 {
			t.Errorf("%s: %d pictures, %v", found.Path, n, err)
		}
		return
	}
	t.Skip(present())
}
