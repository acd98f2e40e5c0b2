package onnx

import (
	"path/filepath"
	"strings"
	"testing"

	"sightline/models"
	"sightline/pipeline"
	"sightline/pipeline/pipelinetest"
)

// What cannot be run as an image classifier is refused with the reason, and for good.
func TestModelsThatAreRefused(t *testing.T) {
	data := filepath.Join(pipelinetest.TestData(t), "models")
	const any = "color: rgb\nscale: 255\nactivation: none\nlabels: [a, b]\n"
	tests := []struct{ model, want string }{
		{"negative/corrupt-model.onnx", "not an ONNX file"},
		{"negative/foo_truncated.onnx", "not an image classifier"},
		{"negative/bad_names.onnx", "not an image classifier"},
		{"negative/castmap-int64.onnx", "not an image classifier"},
		{"negative/zipmap-string.onnx", "not an image classifier"},
		{"negative/Add_ImageNet1920WithImageMetadataBgr8_SRGB_0_255.onnx", "it has 2 inputs"},
		{"negative/free_dimensional_image_input.onnx", "it has 2 inputs"},
		{"fastestdet_coco_352.onnx", "detector"},
		{"ultraface_rfb320.onnx", "none of its outputs gives scores of classes"},
	}
	for _, test := range tests {
		t.Run(filepath.Base(test.model), func(t *testing.T) {
			_, err := Open(started(t), Options{Path: filepath.Join(data, test.model), Card: card(t, any)})
			if err == nil {
				t.Fatal("it was opened")
			}
			t.Log(err)
			if !strings.Contains(err.Error(), test.want) || !pipeline.IsPermanent(err) {
				t.Errorf("want a permanent error with %q", test.want)
			}
		})
	}
}

// What our own look at the file does not catch, ONNX Runtime refuses.
func TestFilesThatDoNotLoad(t *testing.T) {
	data := filepath.Join(pipelinetest.TestData(t), "models", "negative")
	for name, want := range map[string]string{
		"corrupt-model.onnx": "rotobuf", "foo_truncated.onnx": "invalid model",
		"bad_names.onnx": "opset", "castmap-int64.onnx": "IR version",
	} {
		t.Run(name, func(t *testing.T) {
			file, err := models.ReadFile(filepath.Join(data, name))
			if err != nil {
				t.Fatal(err)
			}
			m := &model{runtime: started(t), file: file, fit: &models.Fit{}}
			if _, err := m.loadCPU(); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error is %v, want one with %q", err, want)
			}
		})
	}
}
