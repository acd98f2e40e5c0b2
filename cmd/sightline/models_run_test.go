package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sightline/models/catalogue"
	"sightline/pipeline"
	"sightline/pipeline/pipelinetest"
)

// None of the catalogue's files is here, so SqueezeNet 1.1 of the test data stands in for 1.0, which wants the same card.
func TestAModelThatWasPulledRunsByItsName(t *testing.T) {
	requireRuntime(t)
	const pictures = 3
	data := pipelinetest.TestData(t)
	folder := t.TempDir()
	store, mirror, results := filepath.Join(folder, "store"), filepath.Join(folder, "squeezenet1.0-12.onnx"), filepath.Join(folder, "results.jsonl")
	t.Setenv(modelsVariable, store)
	t.Setenv("SIGHTLINE_CACHE", t.TempDir())
	model, err := os.ReadFile(filepath.Join(data, "models/squeezenet1.1_fp32.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(model)
	entry, _ := catalogue.Find("squeezenet1.0")
	entry.Size, entry.SHA256 = int64(len(model)), hex.EncodeToString(sum[:])
	clip := filepath.Join(folder, "clip.h264")
	for name, content := range map[string][]byte{mirror: model, clip: rawClip(t, pictures)} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file := write(t, `version: 1
sources: {clip: {file: {path: `+clip+`, pace: fast}}}
models: {scene: {inputs: [clip], model: squeezenet1.0, provider: cpu}}
sinks: {lines: {inputs: [scene], jsonl: {path: `+results+`}}}
runtime: {default: inline}
http: {listen: off}
`)
	if status, _, stderr := command("validate", file); status != exitBadConfig || !strings.Contains(stderr, "sightline models pull squeezenet1.0") {
		t.Fatalf("before it is pulled: status %d: %s", status, stderr)
	}
	pull := newModelsPull()
	pull.SetContext(t.Context())
	pull.SetOut(t.Output())
	if err := pullModel(pull, catalogue.Puller{Store: catalogue.Store{Folder: store}, From: folder}, entry); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(mirror); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, filepath.Join(programs(t), "sightline"), "run", file, "--state", stateFolder(t)).CombinedOutput()
	if err != nil {
		t.Fatalf("run: %v\n%s", err, out)
	}
	text, err := os.ReadFile(results)
	if err != nil {
		t.Fatal(err)
	}
	lines := 0
	for scanner := bufio.NewScanner(bytes.NewReader(text)); scanner.Scan(); lines++ {
		var r pipeline.Result
		if err := json.Unmarshal(scanner.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		if r.Model.Name != "squeezenet1.0" || r.Model.Digest != "sha256:"+entry.SHA256 || len(r.Predictions) == 0 {
			t.Errorf("result %d: model %+v, %d predictions", lines, r.Model, len(r.Predictions))
		}
	}
	if lines != pictures {
		t.Errorf("%d results of %d pictures", lines, pictures)
	}
}
