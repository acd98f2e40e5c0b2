package configs_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sightline/configs"
)

func TestAModelIsFoundByItsNameInTheStore(t *testing.T) {
	folder, store := t.TempDir(), t.TempDir()
	for _, at := range []string{filepath.Join(store, "scene-1.1"), filepath.Join(folder, "beside.v2")} {
		for from, to := range map[string]string{"scene.onnx": at, "scene.yaml": strings.TrimSuffix(at, filepath.Ext(at)) + ".yaml"} {
			data, err := os.ReadFile(filepath.Join("testdata/good/files", from))
			if err != nil {
				t.Fatal(err)
			}
			if to == at && strings.HasPrefix(at, store) {
				to += ".onnx"
			} else if strings.HasPrefix(at, store) {
				to = at + ".yaml"
			}
			if err := os.WriteFile(to, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	find := func(name string) (string, error) {
		at := filepath.Join(store, name+".onnx")
		if _, err := os.Stat(at); err != nil {
			return at, errors.New("the model store has no model " + name)
		}
		return at, nil
	}
	for name, test := range map[string]struct {
		model     string
		elsewhere bool
		want      string // the path, or, with a !, a part of the problem
	}{
		"by its name, with a dot":   {"scene-1.1", false, filepath.Join(store, "scene-1.1.onnx")},
		"a file beside, with a dot": {"beside.v2", false, filepath.Join(folder, "beside.v2")},
		"built in":                  {"gate", false, "gate"},
		"not there":                 {"mobilenetv2-12", false, "!models.scene.model: is neither built in nor a path, and the model store has no model mobilenetv2-12"},
		"nearly built in":           {"gat", false, "!did you mean gate?"},
		"not there, with a dot":     {"squeezenet1.1", false, "!the model store has no model squeezenet1.1"},
		"a path is a path":          {"./scene-1.1.onnx", false, "!there is no such file"},
		"a file is a file":          {"scene-1.1.onnx", false, "!there is no such file"},
		"on another machine":        {"mobilenetv2-12", true, filepath.Join(store, "mobilenetv2-12.onnx")},
	} {
		t.Run(name, func(t *testing.T) {
			text := "version: 1\nsources: {front: {rtsp: {url: \"rtsp://192.0.2.1/a\"}}}\nmodels: {scene: {inputs: [front], model: " + test.model + "}}\n" +
				"sinks: {lines: {inputs: [scene], jsonl: {path: \"-\"}}}\n"
			p, err := configs.Parse("front.yaml", []byte(text), configs.Options{
				BuiltIn: []string{"gate"}, Store: find, Folder: folder, Host: "h", Elsewhere: test.elsewhere,
			})
			if want, refused := strings.CutPrefix(test.want, "!"); refused {
				if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "front.yaml:3:") {
					t.Errorf("error is %v, want one with %q", err, want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := p.Models["scene"].Model; got != test.want {
				t.Errorf("the model is %q, want %q", got, test.want)
			}
			if test.model != "gate" && !slices.Contains(p.Files, test.want) {
				t.Errorf("it is none of the files %q", p.Files)
			}
		})
	}
}
