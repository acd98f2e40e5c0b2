package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sightline/models/catalogue"
	"sightline/pipeline/pipelinetest"
)

func TestModelsAreListed(t *testing.T) {
	store := t.TempDir()
	t.Setenv(modelsVariable, store)
	for _, name := range []string{"mine.onnx", "squeezenet1.1.onnx"} {
		if err := os.WriteFile(filepath.Join(store, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	status, stdout, stderr := command("models", "list")
	if status != exitWell {
		t.Fatalf("status %d: %s", status, stderr)
	}
	for _, want := range []string{"mobilenetv2-12-int8", "14.0 MB", "BSD-3-Clause", "mine", "your own", "another file of this name", store} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in\n%s", want, stdout)
		}
	}
	_, stdout, _ = command("models", "list", "--json")
	var list []modelLine
	if err := json.Unmarshal([]byte(stdout), &list); err != nil || len(list) != len(catalogue.All())+1 {
		t.Errorf("%d models, %v", len(list), err)
	}
}

func TestModelsCommandLines(t *testing.T) {
	t.Setenv(modelsVariable, t.TempDir())
	mirror := t.TempDir()
	pointer := "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
	if err := os.WriteFile(filepath.Join(mirror, "mobilenetv2-12.onnx"), []byte(pointer), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		args   []string
		status int
		says   string
	}{
		{"help", []string{"models"}, exitWell, "pull"},
		{"unknown command", []string{"models", "fetch"}, exitBadConfig, "fetch"},
		{"unknown model", []string{"models", "pull", "mobilenetv2-13"}, exitBadConfig, "did you mean mobilenetv2-12?"},
		{"no model", []string{"models", "pull"}, exitBadConfig, "models pull NAME"},
		{"empty mirror", []string{"models", "pull", "--from", t.TempDir(), "squeezenet1.1"}, exitFailed, "has none of squeezenet1.1.onnx, squeezenet1.1-7.onnx"},
		{"mirror of pointers", []string{"models", "pull", "--from", mirror, "mobilenetv2-12"}, exitFailed, "git lfs pull"},
		{"not pulled yet", []string{"models", "inspect", "mobilenetv2-12"}, exitFailed, "sightline models pull mobilenetv2-12"},
		{"no such file", []string{"models", "inspect", "nowhere/x.onnx"}, exitFailed, "nowhere/x.onnx"},
		{"not a model", []string{"models", "inspect", filepath.Join(mirror, "mobilenetv2-12.onnx")}, exitFailed, "not an ONNX file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, stdout, stderr := command(c.args...)
			if status != c.status || !strings.Contains(stdout+stderr, c.says) {
				t.Errorf("status %d, want %d; stdout %q, stderr %q, want %q in them", status, c.status, stdout, stderr, c.says)
			}
		})
	}
}

func TestTheBarIsOneLineOnATerminalAndFewElsewhere(t *testing.T) {
	for terminal, want := range map[bool]int{true: 2, false: 12} {
		var out strings.Builder
		b := pullBar{out: &out, name: "net", terminal: terminal, shown: -1}
		for done := range int64(1001) {
			b.step(done*1000, 1e6, "")
			if done == 500 {
				b.step(done*1000, 1e6, "trying again")
			}
		}
		b.end()
		if n := strings.Count(out.String(), "\n"); n != want+btoi(terminal) || !strings.Contains(out.String(), "100%") || !strings.Contains(out.String(), "net  trying again\n") {
			t.Errorf("%d lines on a terminal (%v):\n%q", n, terminal, out.String())
		}
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// ownModel lays a model of the test data with a card beside it.
func ownModel(t *testing.T, card string) (model, images string) {
	t.Helper()
	requireRuntime(t)
	data := pipelinetest.TestData(t)
	folder := t.TempDir()
	for name, from := range map[string]string{"net.onnx": "models/squeezenet1.1_fp32.onnx", "labels.txt": "labels/imagenet_synset_1000.txt"} {
		content, err := os.ReadFile(filepath.Join(data, from))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(folder, "net.yaml"), []byte("labels_file: labels.txt\n"+card), 0o600); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(folder, "net.onnx"), filepath.Join(data, "images")
}

func TestAModelIsCheckedByItsPictures(t *testing.T) {
	t.Setenv("SIGHTLINE_CACHE", t.TempDir())
	model, images := ownModel(t, "color: bgr\nscale: 1\nmean: [104, 117, 123]\nactivation: none\n")
	banana, bear := filepath.Join(images, "jetson_banana_0.jpg"), filepath.Join(images, "jetson_brown_bear.jpg")
	for _, c := range []struct {
		name   string
		args   []string
		status int
		says   string
	}{
		{"without an answer", []string{banana}, exitWell, "954  banana"},
		{"with one answer each", []string{banana, bear, "--expect", "banana", "--expect", "brown bear"}, exitWell, "2 of 2 pictures are as expected"},
		{"with a wrong answer", []string{banana, "--expect", "lemon"}, exitFailed, "is only in place"},
		{"with an answer that it does not know", []string{banana, "--expect", "bananna"}, exitFailed, `did you mean "banana"?`},
		{"with too many answers", []string{banana, "--expect", "a", "--expect", "b"}, exitBadConfig, "give --expect once"},
		{"without a picture", nil, exitBadConfig, "net.golden.yaml"},
		{"with what is no picture", []string{model}, exitFailed, "neither a JPEG nor a PNG"},
		{"as JSON", []string{banana, "--expect", "banana", "--json"}, exitWell, `"right": 1`},
		{"on what is not there", []string{banana, "--provider", "magic"}, exitFailed, "magic"},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, stdout, stderr := command(append([]string{"models", "check", model}, c.args...)...)
			if status != c.status || !strings.Contains(stdout+stderr, c.says) {
				t.Errorf("status %d, want %d; stdout %q, stderr %q, want %q in them", status, c.status, stdout, stderr, c.says)
			}
		})
	}
}

func TestAGoldenFileStandsForPicturesAndAnswers(t *testing.T) {
	t.Setenv("SIGHTLINE_CACHE", t.TempDir())
	model, images := ownModel(t, "color: rgb\nscale: 1\nmean: [123, 117, 104]\nactivation: none\n")
	folder := filepath.Dir(model)
	for _, name := range []string{"jetson_banana_0.jpg", "coral_hot_dog.jpg"} {
		content, err := os.ReadFile(filepath.Join(images, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text := "pictures:\n  banana: {file: jetson_banana_0.jpg, labels: [banana]}\n  snack: {file: coral_hot_dog.jpg, labels: [hot dog]}\n"
	if err := os.WriteFile(filepath.Join(folder, "net.golden.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	status, stdout, stderr := command("models", "check", model)
	if status != exitFailed || !strings.Contains(stdout, "Likely mistake: channels swapped") || !strings.Contains(stdout, "    color: bgr\n") {
		t.Errorf("status %d: %s%s", status, stdout, stderr)
	}
	status, stdout, stderr = command("models", "check", model, filepath.Join(images, "coral_hot_dog.jpg"))
	if status != exitFailed || !strings.Contains(stdout, "expected hot dog") {
		t.Errorf("one of them: status %d: %s%s", status, stdout, stderr)
	}
}

func TestAModelOfTheStoreIsFoundByItsName(t *testing.T) {
	model, _ := ownModel(t, "color: bgr\nscale: 1\nmean: [104, 117, 123]\nactivation: none\n")
	t.Setenv(modelsVariable, filepath.Dir(model))
	status, stdout, stderr := command("models", "inspect", "net")
	if status != exitWell || !strings.Contains(stdout, "224×224 bgr") {
		t.Errorf("status %d: %s%s", status, stdout, stderr)
	}
	status, _, stderr = command("models", "inspect", "nett")
	if status != exitFailed || !strings.Contains(stderr, `no model "nett"`) {
		t.Errorf("status %d: %s", status, stderr)
	}
}
