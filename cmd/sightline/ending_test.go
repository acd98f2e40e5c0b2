package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sightline/cmd/sightline/closures"
	"sightline/configs"
	"sightline/pipeline"
	"sightline/sources"
	"sightline/sources/encode"
	"sightline/web"
)

func TestAllIsPlayedWhenEverySourceHasEnded(t *testing.T) {
	ended := pipeline.Status{State: pipeline.StateStopped, Reason: sources.Ended}
	once, again := sources.Config{File: &sources.File{}}, sources.Config{File: &sources.File{Loop: true}}
	for _, tt := range []struct {
		name     string
		sources  map[string]sources.Config
		statuses map[string]pipeline.Status
		want     bool
	}{
		{"nothing runs", nil, nil, false},
		{"both have ended", map[string]sources.Config{"a": once, "b": once}, map[string]pipeline.Status{"a": ended, "b": ended}, true},
		{"one still plays", map[string]sources.Config{"a": once, "b": once}, map[string]pipeline.Status{"a": ended, "b": {State: pipeline.StateOnline}}, false},
		{"one has said nothing yet", map[string]sources.Config{"a": once, "b": once}, map[string]pipeline.Status{"a": ended}, false},
		{"one was stopped by hand", map[string]sources.Config{"a": once}, map[string]pipeline.Status{"a": {State: pipeline.StateStopped}}, false},
		{"one plays for ever", map[string]sources.Config{"a": again}, map[string]pipeline.Status{"a": ended}, false},
		{"one is a camera", map[string]sources.Config{"a": {RTSP: &sources.RTSP{}}}, map[string]pipeline.Status{"a": ended}, false},
	} {
		p := &configs.Pipeline{Sources: tt.sources}
		if found := allPlayed(p, func(stage string) pipeline.Status { return tt.statuses[stage] }); found != tt.want {
			t.Errorf("%s: %v", tt.name, found)
		}
	}
	if allPlayed(nil, nil) {
		t.Error("no pipeline has been played")
	}
}

func TestToBeAskedToEndBeforeThePlanIsTakenUpIsNoFailure(t *testing.T) {
	clip := filepath.Join(t.TempDir(), "clip.h264")
	if err := os.WriteFile(clip, rawClip(t, 1), 0o600); err != nil {
		t.Fatal(err)
	}
	d := &document{File: "clip.yaml", Folder: ".", Variables: map[string]string{}, Text: `version: 1
sources: {clip: {file: {path: ` + clip + `}}}
models: {scene: {inputs: [clip], model: gate}}
sinks: {lines: {inputs: [scene], jsonl: {path: "-"}}}
runtime: {default: inline}
http: {listen: off}
`}
	w := work{document: d, builder: closures.Builder{BuiltIn: builtInModels()}, stdout: io.Discard}
	var err error
	if w.pipeline, err = d.parse(); err != nil {
		t.Fatal(err)
	}
	w.began = func(s *station, _ *web.Server) error { return s.super.Down(t.Context()) }
	if err := w.in(stateFolder(t), slog.New(slog.DiscardHandler), func(s *station) error { return w.serve(t.Context(), s) }); err != nil {
		t.Error(err)
	}
}

func TestRunEndsWithItsFilesAndDeliversEveryResult(t *testing.T) {
	requireRuntime(t)
	const pictures = 25
	folder := t.TempDir()
	clip, results := filepath.Join(folder, "clip.h264"), filepath.Join(folder, "results.jsonl")
	if err := os.WriteFile(clip, rawClip(t, pictures), 0o600); err != nil {
		t.Fatal(err)
	}
	d := &document{File: "clip.yaml", Folder: ".", Variables: map[string]string{}, Text: `version: 1
sources: {clip: {file: {path: ` + clip + `, pace: fast}}}
models: {scene: {inputs: [clip], model: gate, provider: cpu}}
sinks: {lines: {inputs: [scene], jsonl: {path: ` + results + `}}}
runtime: {default: inline}
http: {listen: off}
`}
	table, closeParts := newParts("", os.Stdout)
	log := &lines{}
	done := make(chan error, 1)
	go func() { done <- runPipeline(t.Context(), d, table, slog.New(slog.NewTextHandler(log, nil))) }()
	var err error
	select {
	case err = <-done:
	case <-time.After(patience):
		t.Fatalf("it does not end:\n%s", log)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	if err := closeParts(); err != nil {
		t.Error(err)
	}
	text, err := os.ReadFile(results)
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	want := uint64(1)
	for scanner := bufio.NewScanner(bytes.NewReader(text)); scanner.Scan(); want++ {
		var r struct{ Sequence uint64 }
		if err := json.Unmarshal(scanner.Bytes(), &r); err != nil || r.Sequence != want {
			t.Fatalf("result %d is of picture %d, %v", want, r.Sequence, err)
		}
	}
	if want != pictures+1 {
		t.Errorf("%d results of %d pictures\n%s", want-1, pictures, log)
	}
}

// rawClip is an H.264 stream of some pictures.
func rawClip(t *testing.T, pictures int) []byte {
	t.Helper()
	e, err := encode.Open(encode.Options{Width: 128, Height: 96, Codec: pipeline.H264})
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
		if err := e.Encode(i420, int64(i*encode.Clock/25), take); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Drain(take); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
