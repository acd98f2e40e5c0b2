package models

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sightline/configs/strict"
	"sightline/models/onnxtest"
	"sightline/pipeline"
)

func shape(d ...int64) []int64 { return d }

func parse(t *testing.T, text string) *Card {
	t.Helper()
	card, err := ParseCard("m.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return card
}

const two = "labels: [a, b]\ncolor: rgb\nactivation: none\n"

func TestModelsThatFit(t *testing.T) {
	tests := []struct {
		name    string
		card    string
		in, out Tensor
		want    Fit // what matters of it
	}{
		{"nchw, all fixed", two + "scale: 1\n", Tensor{"x", Float32, shape(1, 3, 20, 10)}, Tensor{"y", Float32, shape(1, 2)},
			Fit{Layout: NCHW, Width: 10, Height: 20, Channels: 3, Batch: 1, Classes: 2}},
		{"nhwc is seen", two, Tensor{"x", Uint8, shape(1, 20, 10, 3)}, Tensor{"y", Uint8, shape(1, 2)},
			Fit{Layout: NHWC, Width: 10, Height: 20, Channels: 3, Batch: 1, Classes: 2}},
		{"all open, the card closes it", two + "layout: nhwc\nwidth: 8\nheight: 6\nscale: 1\n", Tensor{"x", Float32, shape(-1, -1, -1, -1)}, Tensor{"y", Float32, shape(-1, -1)},
			Fit{Layout: NHWC, Width: 8, Height: 6, Channels: 3, Batch: 0, Classes: 2}},
		{"gray", "labels: [a, b]\ncolor: gray\nactivation: none\nscale: 1\n", Tensor{"x", Float32, shape(1, 1, 28, 28)}, Tensor{"y", Float32, shape(1, 2)},
			Fit{Layout: NCHW, Width: 28, Height: 28, Channels: 1, Batch: 1, Classes: 2}},
		{"scores in 4 dimensions", two + "scale: 1\n", Tensor{"x", Float32, shape(-1, 3, 4, 4)}, Tensor{"y", Float32, shape(-1, 2, 1, 1)},
			Fit{Layout: NCHW, Width: 4, Height: 4, Channels: 3, Batch: 0, Classes: 2}},
		{"scores at the end of 4 dimensions", two + "scale: 1\n", Tensor{"x", Float32, shape(1, 3, 4, 4)}, Tensor{"y", Float32, shape(1, 1, 1, 2)},
			Fit{Layout: NCHW, Width: 4, Height: 4, Channels: 3, Batch: 1, Classes: 2}},
		{"scores in 3 dimensions", two + "scale: 1\n", Tensor{"x", Float32, shape(1, 3, 4, 4)}, Tensor{"y", Float32, shape(1, 2, 1)},
			Fit{Layout: NCHW, Width: 4, Height: 4, Channels: 3, Batch: 1, Classes: 2}},
		{"one score", "labels: [smoke]\ncolor: rgb\nactivation: sigmoid\nscale: 1\n", Tensor{"x", Float32, shape(1, 3, 4, 4)}, Tensor{"y", Float32, shape(1, 1)},
			Fit{Layout: NCHW, Width: 4, Height: 4, Channels: 3, Batch: 1, Classes: 1}},
		{"the output fixes the batch", two + "scale: 1\n", Tensor{"x", Float32, shape(-1, 3, 4, 4)}, Tensor{"y", Float32, shape(2, 2)},
			Fit{Layout: NCHW, Width: 4, Height: 4, Channels: 3, Batch: 2, Classes: 2}},
		{"a background that the labels leave out", two + "background: true\nscale: 1\n", Tensor{"x", Float32, shape(1, 3, 4, 4)}, Tensor{"y", Float32, shape(1, 3)},
			Fit{Layout: NCHW, Width: 4, Height: 4, Channels: 3, Batch: 1, Classes: 3, Labels: []string{"background", "a", "b"}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			fit, err := parse(t, test.card).Fit(Signature{[]Tensor{test.in}, []Tensor{test.out}})
			if err != nil {
				t.Fatal(err)
			}
			got := *fit
			if test.want.Labels != nil && !slices.Equal(test.want.Labels, fit.Labels) {
				t.Errorf("labels %q", fit.Labels)
			}
			got.Input, got.Output, got.Labels, got.Card = Tensor{}, Tensor{}, nil, nil
			test.want.Labels = nil
			if got.Layout != test.want.Layout || got.Width != test.want.Width || got.Height != test.want.Height ||
				got.Channels != test.want.Channels || got.Batch != test.want.Batch || got.Classes != test.want.Classes {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

func TestCardsThatDoNotFit(t *testing.T) {
	image, scores := Tensor{"x", Float32, shape(1, 3, 20, 10)}, Tensor{"y", Float32, shape(1, 2)}
	open := Tensor{"x", Float32, shape(-1, -1, -1, -1)}
	tests := []struct {
		name    string
		card    string
		in, out Tensor
		want    []string
	}{
		{"no scale for floats", two, image, scores, []string{"m.yaml:1:1: scale: is missing, and the model's input is x float32[1,3,20,10] (255 when"}},
		{"another type", two + "dtype: uint8\n", image, scores, []string{"m.yaml:4:8: dtype: is uint8, but the model's input is x float32[1,3,20,10] (dtype: float32)"}},
		{"numbers for bytes", two + "scale: 255\n", Tensor{"x", Uint8, shape(1, 3, 4, 4)}, scores, []string{"m.yaml:4:8: scale: does not go with the model's input x uint8[1,3,4,4]"}},
		{"the other layout", two + "scale: 1\nlayout: nhwc\n", image, scores, []string{"m.yaml:5:9: layout: is nhwc, but the model's input is x float32[1,3,20,10] (layout: nchw)"}},
		{"a size and a label too many", two + "scale: 1\nwidth: 224\nheight: 224\n", image, Tensor{"y", Float32, shape(1, 4)}, []string{
			"m.yaml:5:8: width: is 224, but the model's input is x float32[1,3,20,10] (width: 10)",
			"m.yaml:6:9: height: is 224", "m.yaml:1:1: labels: the model has 4 classes, labels 2"}},
		{"all open and nothing said", two + "scale: 1\n", open, scores, []string{"m.yaml:1:1: layout: is missing"}},
		{"the size open", two + "scale: 1\nlayout: nchw\n", open, scores, []string{"m.yaml:1:1: width: is missing", "m.yaml:1:1: height: is missing"}},
		{"probably a background", two + "scale: 1\n", image, Tensor{"y", Float32, shape(1, 3)}, []string{"the model has 3 classes, labels 2: it probably has a background class (background: true"}},
		{"a background too many", two + "scale: 1\n", image, Tensor{"y", Float32, shape(1, 1)}, []string{"the model has 1 classes, labels 2: the list probably names a background"}},
		{"a background beyond", two + "scale: 1\nbackground: 2\n", image, scores, []string{"m.yaml:5:13: background: is class 2, but the model has 2 (0 to 1)"}},
		{"gray for three channels", "labels: [a, b]\ncolor: gray\nactivation: none\nscale: 1\n", image, scores, []string{"m.yaml:2:8: color: is gray, which has 1 channels, but the model's input is x float32[1,3,20,10] (color: rgb or bgr)"}},
		{"colour for one channel", two + "scale: 1\n", Tensor{"x", Float32, shape(1, 1, 20, 10)}, scores, []string{"(color: gray)"}},
		{"batches that differ", two + "scale: 1\n", Tensor{"x", Float32, shape(4, 3, 20, 10)}, scores, []string{"has scores of 1 frames"}},
		{"a huge batch", two + "scale: 1\n", Tensor{"x", Float32, shape(100000, 3, 20, 10)}, Tensor{"y", Float32, shape(-1, 2)}, []string{"takes 100000 frames in one run"}},
		{"a huge picture", two + "scale: 1\n", Tensor{"x", Float32, shape(1, 3, 100000, 10)}, scores, []string{"of the model is 100000"}},
		{"scale of scores that are not quantised", two + "scale: 1\noutput_scale: 0.5\n", image, scores, []string{"output_scale: is only for quantised scores"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := parse(t, test.card).Fit(Signature{[]Tensor{test.in}, []Tensor{test.out}})
			var wrong strict.Problems
			if !errors.As(err, &wrong) || len(wrong) != len(test.want) {
				t.Fatalf("error is %v, want %d problems", err, len(test.want))
			}
			for i, want := range test.want {
				if got := wrong[i].String(); !strings.Contains(got, want) {
					t.Errorf("problem %d is\n%s\nwant\n%s", i, got, want)
				}
			}
		})
	}
}

func TestModelsThatAreNoClassifiers(t *testing.T) {
	image, scores := Tensor{"x", Float32, shape(1, 3, 20, 10)}, Tensor{"y", Float32, shape(1, 2)}
	tests := []struct {
		name      string
		signature Signature
		want      string
	}{
		{"no input", Signature{nil, []Tensor{scores}}, "it has 0 inputs: none"},
		{"two inputs", Signature{[]Tensor{image, image}, []Tensor{scores}}, "it has 2 inputs"},
		{"a table of numbers", Signature{[]Tensor{{"x", Float32, shape(1, 4)}}, []Tensor{scores}}, "has 2 dimensions, not 4"},
		{"tokens", Signature{[]Tensor{{"x", "int64", shape(1, 3, 4, 4)}}, []Tensor{scores}}, "elements of type int64"},
		{"many channels", Signature{[]Tensor{{"x", Float32, shape(1, 12, 9, 9)}}, []Tensor{scores}}, "neither 1 nor 3 channels"},
		{"a sequence", Signature{[]Tensor{{"x", "sequence", nil}}, []Tensor{scores}}, "is no tensor"},
		{"no output", Signature{[]Tensor{image}, nil}, "none of its outputs gives scores"},
		{"a map out", Signature{[]Tensor{image}, []Tensor{{"y", "map", nil}}}, "its output y map is no tensor"},
		{"a segmenter", Signature{[]Tensor{image}, []Tensor{{"y", Float32, shape(1, 21, 20, 10)}}}, "segmenter"},
		{"a list of scores without a batch", Signature{[]Tensor{image}, []Tensor{{"y", Float32, shape(1000)}}}, "1 dimensions, not 2 to 4"},
		{"class numbers", Signature{[]Tensor{image}, []Tensor{{"y", "int64", shape(1, 2)}}}, "elements of type int64"},
		{"two outputs", Signature{[]Tensor{image}, []Tensor{scores, {"z", Float32, shape(1, 2)}}}, "the card's output names none of them"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := parse(t, two+"scale: 1\n").Fit(test.signature)
			var not *NotClassifierError
			if !errors.As(err, &not) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error is %v, want one with %q", err, test.want)
			}
			if _, err := Skeleton("m", test.signature); err == nil {
				t.Error("there is a skeleton for it")
			}
		})
	}
}

func TestTheCardNamesTheOutput(t *testing.T) {
	s := Signature{[]Tensor{{"x", Float32, shape(1, 3, 4, 4)}}, []Tensor{{"features", Float32, shape(1, 2)}, {"scores", Float32, shape(1, 2)}}}
	fit, err := parse(t, two+"scale: 1\ninput: x\noutput: scores\n").Fit(s)
	if err != nil || fit.Output.Name != "scores" {
		t.Fatalf("output %+v, %v", fit, err)
	}
	for _, line := range []string{"input: other\n", "output: other\n"} {
		if _, err := parse(t, two+"scale: 1\n"+line).Fit(s); err == nil || !strings.Contains(err.Error(), `named "other"`) {
			t.Errorf("%q: %v", line, err)
		}
	}
}

// Where a model's card is: beside it, in it, or nowhere, when the error shows what to write.
func TestWhereTheCardIs(t *testing.T) {
	g := onnxtest.Averages(Float32, shape(1, 3, 4, 4), Float32, shape(1, 3))
	folder := t.TempDir()
	path := filepath.Join(folder, "net.onnx")
	write := func(name string, content []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("net.onnx", g.File())
	_, _, err := Check(path, "")
	var none *NoCardError
	if !errors.As(err, &none) {
		t.Fatalf("without a card: %v", err)
	}
	write("labels.txt", []byte("a\nb\nc\n"))
	write("net.yaml", []byte(none.Skeleton))
	if fit, _, err := Check(path, ""); err != nil || fit.Classes != 3 {
		t.Fatalf("the skeleton does not fit: %v\n%s", err, none.Skeleton)
	}
	write("other.yaml", []byte("labels: [x, y, z]\ncolor: bgr\nactivation: none\nscale: 1\n"))
	if fit, _, err := Check(path, filepath.Join(folder, "other.yaml")); err != nil || fit.Labels[0] != "x" || fit.Wish().Color != pipeline.BGR {
		t.Errorf("the card that is named: %+v, %v", fit, err)
	}
	if err := os.Remove(filepath.Join(folder, "net.yaml")); err != nil {
		t.Fatal(err)
	}
	g.Properties = map[string]string{"model_info labels": "p q r", "model_info model_type": "Classification"}
	write("net.onnx", g.File())
	if fit, _, err := Check(path, ""); err != nil || fit.Labels[2] != "r" {
		t.Errorf("metadata: %+v, %v", fit, err)
	}
}

func TestMetadata(t *testing.T) {
	properties := map[string]string{
		"model_info labels": "cat dog", "model_info mean_values": "123.675 116.28 103.53", "model_info scale_values": "[58.395, 57.12, 57.375]",
		"model_info reverse_input_channels": "True", "model_info resize_type": "crop", "model_info pad_value": "114",
		"model_info multilabel": "True", "model_info confidence_threshold": "0.5", "model_info model_name": "pets",
	}
	card, found, err := CardFromMetadata("m.onnx", properties)
	if err != nil || !found {
		t.Fatal(found, err)
	}
	if card.Name != "pets" || card.Color != RGB || card.Scale != 1 || card.Mean[0] != float64(float32(123.675)) || len(card.Std) != 3 ||
		card.Resize != pipeline.ResizeCrop || card.PadValue != 114 || card.Activation != Sigmoid || !card.Multilabel || card.Threshold != 0.5 || card.Background != -1 {
		t.Errorf("card is %+v", card)
	}
	if _, found, err := CardFromMetadata("m.onnx", map[string]string{"author": "x"}); found || err != nil {
		t.Errorf("metadata of something else: %v, %v", found, err)
	}
	bad := map[string]string{
		"model_info labels": "cat dog", "model_info mean_values": "1 2", "model_info scale_values": "0 x 1", "model_info reverse_input_channels": "perhaps",
		"model_info resize_type": "other", "model_info confidence_threshold": "7", "model_info model_type": "ssd",
	}
	_, _, err = CardFromMetadata("m.onnx", bad)
	var wrong strict.Problems
	if !errors.As(err, &wrong) || len(wrong) != 6 {
		t.Errorf("error is %v", err)
	}
}
