package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sightline/configs"
	"sightline/pipeline"
	"sightline/pipeline/pipelinetest"
)

const slideshowFile = `version: 1
sources:
  gate:
    rtsp: {url: "rtsp://127.0.0.1:%s/clip", transport: tcp}
    sample: {fps: 5}
models:
  scene: {inputs: [gate], model: mobilenetv2.onnx}
sinks:
  out: {inputs: [scene], jsonl: {path: results.jsonl}}
http: {listen: "off"}
`

// slide is a part of the clip in which one photo is shown.
type slide struct {
	Start float64 `json:"start_s"`
	Class int     `json:"imagenet_index"` // of 1000 classes; with the background class one more
	Label string  `json:"label"`
}

// The clip's frames, 15 a second, show each photo for 3 seconds.
const (
	clipRate  = 15
	clipSlide = 45
)

func TestPhotosComeThroughAServerNobodyHereWroteAndARealModelWithTheirNames(t *testing.T) {
	requireRuntime(t)
	data := pipelinetest.TestData(t)
	port := serveClip(t, filepath.Join(data, "videos/derived/labelled_slideshow_640x480_15fps_h264main.mp4"))
	folder := t.TempDir()
	for to, from := range map[string]string{
		"mobilenetv2.onnx": filepath.Join(data, "models/mobilenet_v2_1.0_224_f32nchw_imagenetnorm_logits.onnx"),
		"labels.txt":       filepath.Join(data, "labels/imagenet_labels_1001_background.txt"),
		"mobilenetv2.yaml": "testdata/mobilenetv2.yaml",
	} {
		content, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, to), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d := &document{
		File: "slideshow.yaml", Folder: folder, Text: fmt.Sprintf(slideshowFile, port),
		Variables: map[string]string{"SIGHTLINE_RUNTIME_DEFAULT": configs.Inline},
	}
	var log lines
	table, closeParts := newParts("", os.Stdout)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- runPipeline(ctx, d, table, newLogger(&log, slog.LevelDebug, "text")) }()
	results := filepath.Join(folder, "results.jsonl")
	until(t, "results of four photos come", func() bool { return linesOf(t, results) >= 4*3*5 })
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := closeParts(); err != nil {
		t.Error(err)
	}
	judge(t, results, slides(t, data))
}

func slides(t *testing.T, data string) []slide {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(data, "videos/derived/labelled_slideshow_truth.json"))
	if err != nil {
		t.Fatal(err)
	}
	var truth struct{ Segments []slide }
	if err := json.Unmarshal(text, &truth); err != nil || len(truth.Segments) == 0 {
		t.Fatalf("truth of the clip: %v", err)
	}
	return truth.Segments
}

// judge holds every result against the photo that its frame shows.
func judge(t *testing.T, results string, slides []slide) {
	t.Helper()
	text, err := os.ReadFile(results)
	if err != nil {
		t.Fatal(err)
	}
	right, all := 0, 0
	for line := range bytes.Lines(text) {
		var r pipeline.Result
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatal(err)
		}
		frame := int(r.Sequence-1) % (clipSlide * len(slides))
		if within := frame % clipSlide; within < 3 || within > clipSlide-3 {
			continue // at a border the photo may be the one before or after
		}
		all++
		want := slides[frame/clipSlide]
		if r.Top != nil && r.Top.ClassID == want.Class+1 {
			right++
		} else {
			t.Logf("frame %d shows %s, said %v", frame, want.Label, r.Top)
		}
	}
	if all < 40 || right*100 < all*95 {
		t.Errorf("%d of %d results are right", right, all)
	}
}

// serveClip serves a file until the test ends.
func serveClip(t *testing.T, file string) (port string) {
	t.Helper()
	const python = "/usr/bin/python3"
	const probe = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
	if out, err := exec.Command(python, "-c", probe).CombinedOutput(); err != nil {
		t.Skipf("GStreamer's RTSP server is not installed (Debian: gir1.2-gst-rtsp-server-1.0 python3-gi): %v: %s", err, out)
	}
	command := exec.Command(python, "testdata/serve.py", file)
	stdin, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var errs lines
	command.Stderr = &errs
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		time.AfterFunc(5*time.Second, func() { _ = command.Process.Kill() })
		_ = command.Wait() // ended or killed
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("GStreamer's RTSP server does not start: %v\n%s", err, &errs)
	}
	return strings.TrimSpace(line)
}
