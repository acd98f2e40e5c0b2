package inspect

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sightline/models"
	"sightline/models/onnxtest"
	"sightline/pipeline/pipelinetest"
)

const squeezenet = `labels_file: imagenet_synset_1000.txt
color: bgr
scale: 1
mean: [104, 117, 123]
activation: none
`

func inspected(t *testing.T, path string) string {
	t.Helper()
	file, err := models.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	i, err := File(file, "")
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := i.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

func TestRealModelsAreInspected(t *testing.T) {
	data := pipelinetest.TestData(t)
	tests := map[string][]string{
		"squeezenet1.1_fp32": {
			"data_0 float32[1,3,224,224]", "softmaxout_1 float32[1,1000,1,1]", "0fccde009e25d24dd3f0a8a6ccca04346d240a2bf04d8f36581071236f6d878c",
			"surely        activation: none", "surely        layout: nchw", "has no card", "Conv 26", "1000 classes",
		},
		"mobilenet_v2_1.0_224_u8nhwc": {
			"image uint8[1,224,224,3]", "surely        layout: nhwc", "surely        dtype: uint8", "perhaps       background: true", "opsets ai.onnx 13",
		},
		"mobilenet_v2_1.0_224_f32nchw_imagenetnorm_logits": {"perhaps       activation: softmax", "perhaps       scale, mean, std"},
		"fastestdet_coco_352":                              {"not an image classifier"},
	}
	for model, wants := range tests {
		text := inspected(t, filepath.Join(data, "models", model+".onnx"))
		for _, want := range wants {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %q in\n%s", model, want, text)
			}
		}
	}
}

func TestWhatTheCardSaysIsShown(t *testing.T) {
	data := pipelinetest.TestData(t)
	model, err := os.ReadFile(filepath.Join(data, "models", "squeezenet1.1_fp32.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	path := filepath.Join(folder, "net.onnx")
	labels, err := os.ReadFile(filepath.Join(data, "labels", "imagenet_synset_1000.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{path: model, filepath.Join(folder, "net.yaml"): []byte(squeezenet), filepath.Join(folder, "imagenet_synset_1000.txt"): labels} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text := inspected(t, path)
	for _, want := range []string{"net.yaml", "224×224 bgr, standard, float32 nchw", "from -123 to 151", `1000, from "tench, Tinca tinca"`, "activation none"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if err := os.WriteFile(filepath.Join(folder, "net.yaml"), []byte(strings.Replace(squeezenet, "bgr", "gray", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if text := inspected(t, path); !strings.Contains(text, "problem") || !strings.Contains(text, "mean") {
		t.Errorf("a wrong card:\n%s", text)
	}
}

func TestAHostileFileDoesNotReachTheTerminal(t *testing.T) {
	g := onnxtest.Averages("uint8", []int64{1, 8, 8, 3}, "float32", []int64{1, 3})
	g.Properties = map[string]string{"evil\x1b[2J": strings.Repeat("long\n", 1000) + "\x07"}
	i, err := File(models.NewFile("net.onnx", g.File()), "")
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := i.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(text.String(), "\x1b\x07") || text.Len() > 4000 {
		t.Errorf("%q", text.String())
	}
}
