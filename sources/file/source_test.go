package file

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sightline/pipeline"
	"sightline/sources"
	"sightline/sources/encode"
	"sightline/sources/nal"
)

// stream writes a raw H.264 file of some pictures and returns its path.
func stream(t testing.TB, pictures int) string {
	t.Helper()
	e, err := encode.Open(encode.Options{Width: 64, Height: 48, Codec: pipeline.H264})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	var out bytes.Buffer
	take := func(nals [][]byte, _ bool, _ int64) error {
		for _, n := range nals {
			out.WriteString("\x00\x00\x00\x01")
			out.Write(n)
		}
		return nil
	}
	i420 := make([]byte, e.Options().PictureSize())
	for i := range pictures {
		for j := range i420 {
			i420[j] = byte(j/7 + 5*i)
		}
		if err := e.Encode(i420, int64(i*encode.Clock/25), take); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Drain(take); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "clip.h264")
	if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// play returns the presentation times of what a source gives until it ends, or most units came.
func play(t testing.TB, c sources.File, most int) (times []time.Duration, keys int, err error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := Source{Config: c}
	err = s.Receive(ctx, quiet(t), func(u *pipeline.Unit) {
		if u.Keyframe {
			keys++
			if !nal.Keyframe(u) {
				t.Error("a keyframe without one")
			}
		}
		if u.Origin != pipeline.OriginArrival || u.Received.IsZero() || u.Captured.IsZero() {
			t.Errorf("times %v %v %v", u.Origin, u.Received, u.Captured)
		}
		if times = append(times, u.PTS); len(times) == most {
			cancel()
		}
	})
	return times, keys, err
}

func TestAFileIsPlayedOnce(t *testing.T) {
	times, keys, err := play(t, sources.File{Path: stream(t, 12), Pace: sources.PaceFast}, 0)
	if err != nil || len(times) != 12 || keys < 1 {
		t.Fatalf("%d units, %d keyframes, %v", len(times), keys, err)
	}
	for i, pts := range times[1:] {
		if step := pts - times[i]; step != 40*time.Millisecond {
			t.Errorf("picture %d comes %v after the one before", i+1, step)
		}
	}
}

func TestALoopGoesOnWithoutEndAndItsTimesToo(t *testing.T) {
	times, keys, err := play(t, sources.File{Path: stream(t, 5), Pace: sources.PaceFast, Loop: true}, 23)
	if !errors.Is(err, context.Canceled) || len(times) != 23 || keys < 5 {
		t.Fatalf("%d units, %d keyframes, %v", len(times), keys, err)
	}
	for i, pts := range times[1:] {
		if pts <= times[i] {
			t.Errorf("picture %d: %v after %v", i+1, pts, times[i])
		}
	}
}

func TestALoopOfOnePictureGoesOnToo(t *testing.T) {
	times, _, _ := play(t, sources.File{Path: stream(t, 1), Pace: sources.PaceFast, Loop: true}, 4)
	if len(times) != 4 || times[3] != 120*time.Millisecond {
		t.Errorf("%v", times)
	}
}

func TestRealtimeTakesAsLongAsTheFile(t *testing.T) {
	began := time.Now()
	times, _, err := play(t, sources.File{Path: stream(t, 8), Pace: sources.PaceRealtime}, 0)
	if err != nil || len(times) != 8 {
		t.Fatalf("%d units, %v", len(times), err)
	}
	if took := time.Since(began); took < 7*40*time.Millisecond {
		t.Errorf("it took %v", took)
	}
}

func TestWhatIsNoVideoFileIsRefusedByName(t *testing.T) {
	folder := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pipe := filepath.Join(folder, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	secret := write("secret.mp4", "nobody should read this")
	for _, tt := range []struct {
		name, path, says string
		permanent        bool
	}{
		{"a file that is not there", filepath.Join(folder, "none.mp4"), "no such file", false},
		{"a folder", folder, "it is a folder", true},
		{"a pipe", pipe, "it is not a regular file", true},
		{"a device", "/dev/null", "it is not a regular file", true},
		{"an empty file", write("empty.mp4", ""), "it is empty", false},
		{"text", write("notes.mp4", strings.Repeat("what I saw today\n", 100)), "", false},
		{"a list of other files", write("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://"+secret+"\n"), `"hls"`, true},
		{"another list of files", write("list.mp4", "ffconcat version 1.0\nfile "+secret+"\n"), `"concat"`, true},
		{"a sound", write("sound.wav", "RIFF\x24\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x44\xac\x00\x00\x88\x58\x01\x00\x02\x00\x10\x00data\x00\x00\x00\x00"), `"wav"`, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := play(t, sources.File{Path: tt.path, Pace: sources.PaceFast}, 0)
			if err == nil || !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), tt.path) {
				t.Fatalf("%v", err)
			}
			if pipeline.IsPermanent(err) != tt.permanent {
				t.Errorf("permanent %v: %v", !tt.permanent, err)
			}
		})
	}
}

func TestContainersThatFFmpegMakesAreRead(t *testing.T) {
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip(err)
	}
	raw := stream(t, 10)
	for _, container := range []string{"clip.mkv", "clip.mov", "clip.ts", "clip.avi", "clip.mp4", "fragmented.mp4", "clip.hevc", "clip.mjpeg"} {
		t.Run(container, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), container)
			arguments := []string{"-loglevel", "error", "-i", raw}
			switch container {
			case "fragmented.mp4":
				arguments = append(arguments, "-c", "copy", "-movflags", "frag_keyframe+empty_moov")
			case "clip.hevc":
				arguments = append(arguments, "-c:v", "libx265", "-x265-params", "log-level=none")
			case "clip.mjpeg":
				arguments = append(arguments, "-c:v", "mjpeg")
			default:
				arguments = append(arguments, "-c", "copy")
			}
			if out, err := exec.CommandContext(t.Context(), "ffmpeg", append(arguments, path)...).CombinedOutput(); err != nil {
				t.Skipf("ffmpeg does not make it: %v\n%s", err, out)
			}
			times, keys, err := play(t, sources.File{Path: path, Pace: sources.PaceFast}, 0)
			if err != nil || len(times) != 10 || keys == 0 {
				t.Errorf("%d units, %d keyframes, %v", len(times), keys, err)
			}
		})
	}
}

func TestADamagedFileIsToldOnce(t *testing.T) {
	root, _, _ := clips(t)
	var log bytes.Buffer
	env := quiet(t)
	env.Log = slog.New(slog.NewTextHandler(&log, nil))
	s := Source{Config: sources.File{Path: filepath.Join(root, "derived/car_truncated.mp4"), Pace: sources.PaceFast}}
	n := 0
	if err := s.Receive(t.Context(), env, func(*pipeline.Unit) { n++ }); err != nil || n == 0 {
		t.Fatalf("%d units, %v", n, err)
	}
	t.Logf("%s", log.String())
	if strings.Count(log.String(), "level=WARN") != 1 {
		t.Errorf("the log says: %s", log.String())
	}
}

func TestItStopsWhileItWaits(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := Source{Config: sources.File{Path: stream(t, 500), Pace: sources.PaceRealtime}}
	began := time.Now()
	err := s.Receive(ctx, quiet(t), func(*pipeline.Unit) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestTimesThatJumpArePlayedOn(t *testing.T) {
	const frame = 40 * time.Millisecond
	var c clock
	c.begin(frame)
	for i, tt := range []struct {
		name string
		dts  time.Duration
		pts  time.Duration
		want time.Duration
	}{
		{"the first begins the clock, wherever it is", time.Hour, time.Hour, 0},
		{"the next is due when it says", time.Hour + 2*frame, time.Hour + 2*frame, 2 * frame},
		{"one that goes back follows the one before", 0, 0, 3 * frame},
		{"one that goes far ahead does too", 40 * time.Hour, 40 * time.Hour, 4 * frame},
		{"without a time too", noTime, noTime, 5 * frame},
		{"and what comes after it", time.Hour, time.Hour, 6 * frame},
		{"the picture is shown later than it is decoded", time.Hour + frame, time.Hour + 4*frame, 7 * frame},
	} {
		pts, due := c.place(&packet{dts: tt.dts, pts: tt.pts})
		if due != tt.want {
			t.Errorf("%d, %s: due at %v, want %v", i, tt.name, due, tt.want)
		}
		if tt.dts != noTime && pts-due != tt.pts-tt.dts {
			t.Errorf("%d, %s: shown %v later", i, tt.name, pts-due)
		}
	}
}
