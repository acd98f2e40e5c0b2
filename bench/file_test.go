package bench

import (
	"path/filepath"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"sightline/configs"
)

func TestThePipelineFileIsAnOrdinaryOne(t *testing.T) {
	site := &Site{Broker: "mqtt://127.0.0.1:1883", Cameras: []Camera{{Name: "camera01", URL: "rtsp://127.0.0.1:8554/camera01"}, {Name: "camera02", URL: "rtsp://127.0.0.1:8554/camera02"}}}
	options := Options{Provider: "cpu", Transport: "tcp", Staleness: 250 * ms, Threads: 1}
	for name, model := range map[string]string{"a built-in model": "gate", "a file": "../models/gate/gate.onnx"} {
		t.Run(name, func(t *testing.T) {
			h := &Harness{Options: options}
			h.Options.Model = model
			if model != "gate" {
				h.Options.Card = "../models/gate/gate.yaml"
			}
			file, err := h.file(site, "127.0.0.1:9640")
			if err != nil {
				t.Fatal(err)
			}
			text, err := yaml.Marshal(file)
			if err != nil {
				t.Fatal(err)
			}
			p, err := configs.Parse("elsewhere/pipeline.yaml", text, configs.Options{BuiltIn: []string{"gate"}, Folder: t.TempDir()})
			if err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			scene, camera := p.Models["scene"], p.Sources["camera02"]
			if len(scene.Inputs) != 2 || scene.Threads != 1 || camera.RTSP.Transport != "tcp" || camera.Staleness != 250*time.Millisecond || len(p.Warnings) > 0 {
				t.Errorf("it says %+v, %+v; warnings %v", scene, camera, p.Warnings)
			}
			if filepath.Base(scene.Model) != filepath.Base(model) || (model != "gate") != filepath.IsAbs(scene.Model) {
				t.Errorf("model %q", scene.Model)
			}
		})
	}
}
