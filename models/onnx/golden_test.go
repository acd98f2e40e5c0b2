package onnx

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sightline/pipeline/pipelinetest"
)

// Input and output tensors of others: what goes in raw must come out raw within a thousandth.
func TestGoldenPairs(t *testing.T) {
	data := filepath.Join(pipelinetest.TestData(t), "models")
	const imagenet = "color: bgr\nscale: 1\nactivation: none\n"
	const digits = "color: gray\nscale: 1\nactivation: none\n"
	tests := []struct{ model, input, output, card string }{
		{"squeezenet1.1_fp32.onnx", "golden/squeezenet_test_data_0_input.pb", "golden/squeezenet_test_data_0_output.pb", imagenet},
		{"mnist-8.onnx", "golden/mnist8_set0_input_0.pb", "golden/mnist8_set0_output_0.pb", digits},
		{"mnist-8.onnx", "golden/mnist8_set1_input_0.pb", "golden/mnist8_set1_output_0.pb", digits},
		{"mnist-8.onnx", "golden/mnist8_set2_input_0.pb", "golden/mnist8_set2_output_0.pb", digits},
		{"light/light_squeezenet.onnx", "", "light/light_squeezenet_output_0.pb", imagenet},
		{"light/light_shufflenet.onnx", "", "light/light_shufflenet_output_0.pb", imagenet},
		{"light/light_resnet50.onnx", "", "light/light_resnet50_output_0.pb", imagenet},
		{"light/light_inception_v1.onnx", "", "light/light_inception_v1_output_0.pb", imagenet},
	}
	for _, test := range tests {
		t.Run(strings.TrimSuffix(filepath.Base(test.output), ".pb"), func(t *testing.T) {
			want := readTensor(t, filepath.Join(data, test.output))
			text := test.card + labels(len(want))
			c, err := Open(started(t), Options{Path: filepath.Join(data, test.model), Card: card(t, text), Threads: 1})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			in := view[float32](c.session.input.bytes)
			if test.input != "" {
				copy(in, readTensor(t, filepath.Join(data, test.input)))
			} else {
				for i := range in {
					in[i] = float32(i) / float32(len(in))
				}
			}
			if err := c.session.infer(1); err != nil {
				t.Fatal(err)
			}
			c.read(0)
			for i, w := range want {
				if d := math.Abs(float64(c.scores[i] - w)); !(d <= 1e-3) {
					t.Fatalf("score %d is %v, want %v", i, c.scores[i], w)
				}
			}
		})
	}
}

// labels is the card's line with names for n classes.
func labels(n int) string {
	words := make([]string, n)
	for i := range words {
		words[i] = fmt.Sprintf("c%d", i)
	}
	return "labels: [" + strings.Join(words, ", ") + "]\n"
}

// readTensor reads the floats of a TensorProto: float_data (4) or raw_data (9).
func readTensor(t *testing.T, path string) []float32 {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for len(data) > 0 {
		key, n := binary.Uvarint(data)
		size, m := binary.Uvarint(data[n:])
		if n <= 0 || m <= 0 {
			break
		}
		data = data[n+m:]
		if key&7 == 0 {
			continue
		}
		if field := key >> 3; key&7 == 2 && (field == 4 || field == 9) && size >= 4 {
			return floats(data[:size])
		}
		if key&7 != 2 {
			break
		}
		data = data[size:]
	}
	t.Fatalf("%s is no tensor of floats", path)
	return nil
}

func floats(data []byte) []float32 {
	list := make([]float32, len(data)/4)
	for i := range list {
		list[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
	return list
}
