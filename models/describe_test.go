package models

import (
	"reflect"
	"strings"
	"testing"

	"sightline/models/onnxtest"
)

func TestDescribe(t *testing.T) {
	g := onnxtest.Averages(Float32, []int64{-1, 3, 224, 224}, Float16, []int64{-1, 3, 1, 1}, 2, 3)
	weight := onnxtest.Tensor("weight", Float32, 3)
	g.Inputs = append(g.Inputs, weight) // as files up to IR version 3 have it
	g.Initializers = []onnxtest.Proto{onnxtest.Proto{}.Text(8, "weight")}
	g.Properties = map[string]string{"model_info labels": "a b c", "x": ""}
	d, err := Describe(g.File())
	if err != nil {
		t.Fatal(err)
	}
	want := &Description{
		Signature: Signature{
			Inputs:  []Tensor{{"image", Float32, []int64{-1, 3, 224, 224}}},
			Outputs: []Tensor{{"scores", Float16, []int64{-1, 3, 1, 1}}},
		},
		Producer: "onnxtest", Graph: "test", Properties: g.Properties,
	}
	if !reflect.DeepEqual(d, want) {
		t.Errorf("got %+v, want %+v", d, want)
	}
}

func TestDescribeWhatIsNoTensor(t *testing.T) {
	sequence := onnxtest.Proto{}.Text(1, "probabilities").Bytes(2, onnxtest.Proto{}.Bytes(4, nil))
	g := onnxtest.Graph{Inputs: []onnxtest.Proto{onnxtest.Tensor("x", "int64")}, Outputs: []onnxtest.Proto{sequence}}
	d, err := Describe(g.File())
	if err != nil {
		t.Fatal(err)
	}
	if got := d.Inputs[0].String() + ", " + d.Outputs[0].String(); got != "x int64[?,?], probabilities sequence" {
		t.Error(got)
	}
}

func TestFilesThatAreNoModels(t *testing.T) {
	outside := onnxtest.Relu()
	outside.Initializers = []onnxtest.Proto{onnxtest.Proto{}.Text(8, "weight").Number(14, 1)}
	whole := onnxtest.Relu().File()
	for name, test := range map[string]struct {
		file []byte
		want string
	}{
		"nothing":            {nil, "no graph"},
		"text":               {[]byte("hello world, this is no protobuf"), "protobuf"},
		"half a model":       {whole[:len(whole)/2], "protobuf"},
		"no graph":           {onnxtest.Proto{}.Number(1, 8), "no graph"},
		"weights elsewhere":  {outside.File(), "one file"},
		"too many dimension": {onnxtest.Graph{Inputs: []onnxtest.Proto{onnxtest.Tensor("x", Float32, make([]int64, 65)...)}}.File(), "dimensions"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Describe(test.file); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error is %v, want one with %q", err, test.want)
			}
		})
	}
}

func FuzzDescribe(f *testing.F) {
	f.Add(onnxtest.Relu().File())
	f.Add(onnxtest.Averages(Uint8, []int64{1, 2, 2, 3}, Uint8, []int64{1, 1, 3}, 1).File())
	f.Add([]byte("\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	f.Fuzz(func(t *testing.T, file []byte) {
		d, err := Describe(file)
		if err != nil {
			return
		}
		if text, err := Skeleton("model", d.Signature); err == nil && !strings.Contains(text, "labels_file") {
			t.Errorf("skeleton\n%s", text)
		}
		card := &Card{Background: -1, Labels: []string{"a", "b"}, Color: RGB, Scale: 1, Activation: None}
		if fit, err := card.Fit(d.Signature); err == nil && (fit.Width < 1 || fit.Height < 1 || len(fit.Labels) != fit.Classes || fit.Layout == "") {
			t.Errorf("fit is %+v", fit)
		}
	})
}
