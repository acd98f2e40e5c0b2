package onnx

import (
	"errors"
	"log/slog"
	"strings"
	"testing"

	ort "github.com/yalue/onnxruntime_go"

	"sightline/models"
	"sightline/models/onnxtest"
	"sightline/pipeline"
)

func TestProvidersSayWhyNot(t *testing.T) {
	for _, a := range Providers(started(t), 0) {
		if a.Provider == CPU && a.Err != nil {
			t.Errorf("the CPU does not come up: %v", a.Err)
		}
		if a.Err == nil {
			t.Logf("%s comes up", a.Provider)
			continue
		}
		t.Logf("%v", a.Err)
		var why *ProviderError
		if !errors.As(a.Err, &why) || !strings.Contains(a.Err.Error(), "it needs") {
			t.Errorf("%s: the error does not say what it needs: %v", a.Provider, a.Err)
		}
	}
}

func TestANamedProviderIsNeverReplaced(t *testing.T) {
	r := started(t)
	file := onnxtest.Averages(models.Float32, []int64{1, 3, 4, 6}, models.Float32, []int64{1, 3}).File()
	for _, a := range Providers(r, 0) {
		var log strings.Builder
		o := Options{Path: "averages", Bytes: file, Card: card(t, colours+"scale: 1\n"), Threads: 1, Provider: a.Provider, Log: slog.New(slog.NewTextHandler(&log, nil))}
		c, err := Open(r, o)
		if a.Err == nil {
			if err != nil || c.Info().Provider != string(a.Provider) {
				t.Fatalf("%s comes up, but not with a model: %v", a.Provider, err)
			}
			c.Close()
			continue
		}
		var why *ProviderError
		if !errors.As(err, &why) || why.Provider != a.Provider || !pipeline.IsPermanent(err) {
			t.Errorf("%s does not come up, but Open says %v", a.Provider, err)
		}
	}
	if _, err := Open(r, Options{Path: "averages", Bytes: file, Card: card(t, colours+"scale: 1\n"), Provider: "tpu"}); err == nil || !strings.Contains(err.Error(), "one of auto, cpu, cuda, tensorrt") {
		t.Errorf("an unknown provider: %v", err)
	}
}

func TestAutoSaysWhatItTookAndWhyNotTheOthers(t *testing.T) {
	r := started(t)
	var log strings.Builder
	file := onnxtest.Averages(models.Float32, []int64{1, 3, 4, 6}, models.Float32, []int64{1, 3}).File()
	c, err := Open(r, Options{Path: "averages", Bytes: file, Card: card(t, colours+"scale: 1\n"), Threads: 1, Provider: Auto, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if !strings.Contains(log.String(), "provider="+c.Info().Provider) {
		t.Errorf("it took %s, and logged\n%s", c.Info().Provider, log.String())
	}
	if c.Info().Provider == "cpu" && strings.Count(log.String(), "provider passed over") != 2 {
		t.Errorf("it did not say why not the others:\n%s", log.String())
	}
}

// The check that a GPU really runs the model, tried with the one provider that is everywhere.
func TestWhereTheNodesRan(t *testing.T) {
	file := models.NewFile("averages", onnxtest.Averages(models.Float32, []int64{-1, 3, 4, 6}, models.Float32, []int64{-1, 3}).File())
	fit, err := file.Fit(card(t, colours+"scale: 1\n"), "")
	if err != nil {
		t.Fatal(err)
	}
	m := &model{Options: Options{Threads: 1, Log: slog.New(slog.DiscardHandler)}, runtime: started(t), file: file, fit: fit}
	nothing := func(*ort.SessionOptions) error { return nil }
	placed, err := m.placement(CPU, nothing)
	if err != nil || len(placed) != 1 || placed["CPUExecutionProvider"] == 0 {
		t.Fatalf("nodes: %v, %v", placed, err)
	}
	if err := m.verify(CPU, nothing); err != nil {
		t.Error(err)
	}
	if err := m.verify(CUDA, nothing); err == nil || !strings.Contains(err.Error(), "runs no part of this model") || !strings.Contains(err.Error(), "on CPUExecutionProvider") {
		t.Errorf("a session without CUDA passes for one with it: %v", err)
	}
}

func TestTensorRTIsToldTheShapes(t *testing.T) {
	file := models.NewFile("averages", onnxtest.Averages(models.Float32, []int64{-1, 3, 4, 6}, models.Float32, []int64{-1, 3}).File())
	fit, err := file.Fit(card(t, colours+"scale: 1\n"), "")
	if err != nil {
		t.Fatal(err)
	}
	got := tensorRTOptions("/engines", true, fit, 4)
	for key, want := range map[string]string{
		"trt_fp16_enable": "1", "trt_engine_cache_enable": "1", "trt_engine_cache_path": "/engines", "trt_timing_cache_enable": "1",
		"trt_profile_min_shapes": "image:1x3x4x6", "trt_profile_opt_shapes": "image:4x3x4x6", "trt_profile_max_shapes": "image:4x3x4x6",
	} {
		if got[key] != want {
			t.Errorf("%s is %q, want %q", key, got[key], want)
		}
	}
}
