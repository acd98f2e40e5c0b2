package models

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"sightline/models/onnxtest"
	"sightline/pipeline/pipelinetest"
)

func TestRealModelsAreDissected(t *testing.T) {
	data := pipelinetest.TestData(t)
	tests := []struct {
		model, maker string
		convolutions int
		parameters   [2]int64 // at least, at most
		opset        uint64
	}{
		{"squeezenet1.1_fp32", "Softmax", 26, [2]int64{1_200_000, 1_300_000}, 0},
		{"mobilenet_v2_1.0_224_u8nhwc", "Softmax", 53, [2]int64{3_400_000, 3_700_000}, 13},
		{"mobilenet_v2_1.0_224_f32nchw_imagenetnorm_logits", "", 53, [2]int64{3_400_000, 3_700_000}, 13},
		{"mnist-8", "Add", 2, [2]int64{5_000, 7_000}, 8},
	}
	for _, tt := range tests {
		file, err := os.ReadFile(filepath.Join(data, "models", tt.model+".onnx"))
		if err != nil {
			t.Fatal(err)
		}
		a, err := Dissect(file)
		if err != nil {
			t.Fatalf("%s: %v", tt.model, err)
		}
		makers := slices.Collect(maps.Values(a.Maker))
		if len(makers) != 1 || tt.maker != "" && makers[0] != tt.maker || makers[0] == "Softmax" != (tt.maker == "Softmax") {
			t.Errorf("%s: made by %v, want %q", tt.model, a.Maker, tt.maker)
		}
		if a.Parameters < tt.parameters[0] || a.Parameters > tt.parameters[1] {
			t.Errorf("%s: %d parameters", tt.model, a.Parameters)
		}
		if a.Operators["Conv"] != tt.convolutions || a.IR == 0 || len(a.Opsets) == 0 || tt.opset != 0 && a.Opsets[0].Version != tt.opset {
			t.Errorf("%s: %v, IR %d, opsets %v", tt.model, a.Operators, a.IR, a.Opsets)
		}
	}
}

func FuzzDissect(f *testing.F) {
	f.Add(onnxtest.Relu().File())
	g := onnxtest.Averages("uint8", []int64{1, 4, 4, 3}, "float32", []int64{1, 3}, 2)
	g.Initializers = []onnxtest.Proto{onnxtest.Proto{}.Number(1, 3).Number(1, 5).Text(8, "w"), onnxtest.Proto{}.Bytes(1, []byte{3, 5, 0x80})}
	f.Add(g.File())
	f.Fuzz(func(t *testing.T, file []byte) {
		a, err := Dissect(file)
		if (a == nil) == (err == nil) {
			t.Errorf("%v and %v", a, err)
		}
		if err == nil && a.Parameters < 0 {
			t.Errorf("%d parameters", a.Parameters)
		}
	})
}
