package closure

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAClosureOfDataAloneNeedsNoProgram(t *testing.T) {
	model := filepath.Join(t.TempDir(), "model.onnx")
	if err := os.WriteFile(model, []byte("weights"), 0o600); err != nil {
		t.Fatal(err)
	}
	spec := Spec{Data: []Input{{From: model, To: "/model/model.onnx"}}}
	first, err := Compute(spec)
	if err != nil {
		t.Fatal(err)
	}
	digest, err := first.Manifest.Digest()
	if err != nil || len(first.Manifest.Files) != 1 || first.Manifest.Files[0].SHA256 != Sum([]byte("weights")) {
		t.Errorf("the manifest is %+v, %v", first.Manifest, err)
	}
	if err := os.WriteFile(model, []byte("Weights"), 0o600); err != nil {
		t.Fatal(err)
	}
	second, err := Compute(spec)
	if err != nil {
		t.Fatal(err)
	}
	if other, err := second.Manifest.Digest(); err != nil || other == digest {
		t.Errorf("another model has the digest %s, %v", other, err)
	}
	mixed := *first.Manifest
	mixed.Files = append([]File{{Path: "/lib/libc.so", Kind: Library, SHA256: Sum(nil)}}, mixed.Files...)
	for name, m := range map[string]Manifest{
		"nothing":       {Version: Version, Platform: "linux/amd64"},
		"libraries":     mixed,
		"a lone loader": {Version: Version, Platform: "linux/amd64", Interpreter: "/model/model.onnx", Files: first.Manifest.Files},
	} {
		if err := m.Check(); err == nil || !strings.Contains(err.Error(), "no program") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
