package catalogue

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sightline/models"
	"sightline/pipeline/pipelinetest"
)

// signatures are the inputs and outputs that the model zoo's own manifest gives for each file, by its name.
var signatures = map[string]models.Signature{
	"efficientnet-lite4":      ports("images:0", []int64{1, 224, 224, 3}, "Softmax:0", []int64{1, 1000}),
	"efficientnet-lite4-int8": ports("images:0", []int64{1, 224, 224, 3}, "Softmax:0", []int64{1, 1000}),
	"mobilenetv2-12":          ports("input", []int64{-1, 3, 224, 224}, "output", []int64{-1, 1000}),
	"mobilenetv2-12-int8":     ports("input", []int64{-1, 3, 224, 224}, "output", []int64{-1, 1000}),
	"resnet50-v1":             ports("data", []int64{-1, 3, 224, 224}, "resnetv17_dense0_fwd", []int64{-1, 1000}),
	"resnet50-v1-int8":        ports("data", []int64{-1, 3, 224, 224}, "resnetv17_dense0_fwd", []int64{-1, 1000}),
	"resnet50-v2":             ports("data", []int64{-1, 3, 224, 224}, "resnetv24_dense0_fwd", []int64{-1, 1000}),
	"shufflenet-v2":           ports("input", []int64{1, 3, 224, 224}, "output", []int64{1, 1000}),
	"shufflenet-v2-int8":      ports("input", []int64{1, 3, 224, 224}, "output", []int64{1, 1000}),
	"squeezenet1.0":           ports("data_0", []int64{1, 3, 224, 224}, "softmaxout_1", []int64{1, 1000, 1, 1}),
	"squeezenet1.0-int8":      ports("data_0", []int64{1, 3, 224, 224}, "softmaxout_1", []int64{1, 1000, 1, 1}),
	"squeezenet1.1":           ports("data", []int64{1, 3, 224, 224}, "squeezenet0_flatten0_reshape0", []int64{1, 1000}),
}

func ports(in string, inShape []int64, out string, outShape []int64) models.Signature {
	return models.Signature{
		Inputs:  []models.Tensor{{Name: in, Type: models.Float32, Shape: inShape}},
		Outputs: []models.Tensor{{Name: out, Type: models.Float32, Shape: outShape}},
	}
}

func TestEveryCardFitsTheModelThatItIsFor(t *testing.T) {
	digests := map[string]string{}
	for _, e := range All() {
		folder := t.TempDir()
		card := filepath.Join(folder, e.Name+".yaml")
		for name, content := range map[string][]byte{card: e.Card(), filepath.Join(folder, e.LabelsFile()): e.Labels()} {
			if err := os.WriteFile(name, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		c, err := models.ReadCard(card)
		if err != nil {
			t.Errorf("%s: %v", e.Name, err)
			continue
		}
		fit, err := c.Fit(signatures[e.Name])
		if err != nil {
			t.Errorf("%s: %v", e.Name, err)
			continue
		}
		if fit.Width != 224 || fit.Height != 224 || len(fit.Labels) != 1000 || c.Name != e.Name || c.SHA256 != e.SHA256 || c.Source != e.Address() {
			t.Errorf("%s: card %+v", e.Name, c)
		}
		if other, twice := digests[e.SHA256]; twice {
			t.Errorf("%s and %s are one file", e.Name, other)
		}
		digests[e.SHA256] = e.Name
	}
	if len(digests) != len(signatures) {
		t.Errorf("%d models, %d signatures", len(digests), len(signatures))
	}
}

func TestEntriesAreWhole(t *testing.T) {
	hexadecimal := regexp.MustCompile(`^[0-9a-f]{64}$`)
	before := ""
	for _, e := range All() {
		if !hexadecimal.MatchString(e.SHA256) || e.Size < 1<<20 || e.Licence == "" || e.Accuracy == "" || !IsName(e.Name) {
			t.Errorf("%+v is not whole", e)
		}
		if e.Int8 != strings.HasSuffix(e.Name, "-int8") || e.Int8 != strings.Contains(e.Zoo, "-int8") {
			t.Errorf("%s: int8 is %v of %s", e.Name, e.Int8, e.Zoo)
		}
		if e.Name <= before {
			t.Errorf("%s comes after %s", e.Name, before)
		}
		before = e.Name
		if again, ok := Find(e.Name); !ok || again != e {
			t.Errorf("%s is not found", e.Name)
		}
		if again, ok := ByDigest(strings.ToUpper(e.SHA256)); !ok || again != e {
			t.Errorf("%s is not found by its digest", e.Name)
		}
	}
}

func TestTheLabelsAreThoseOfImageNet(t *testing.T) {
	labels, err := models.ParseLabels(All()[0].Labels())
	if err != nil || len(labels) != 1000 || labels[0] != "tench, Tinca tinca" || labels[999] != "toilet tissue, toilet paper, bathroom tissue" {
		t.Fatalf("%d labels, %v", len(labels), err)
	}
	known, err := os.ReadFile(filepath.Join(pipelinetest.TestData(t), "labels", "imagenet_synset_1000.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(known, All()[0].Labels()) {
		t.Error("they are not the test data's")
	}
}

func TestUnknownNamesAreExplained(t *testing.T) {
	tests := map[string]string{
		"mobilenetv2-21": "did you mean mobilenetv2-12?",
		"yolo":           "it has efficientnet-lite4, ",
	}
	for name, want := range tests {
		if err := (&UnknownError{name}); !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAStoreFindsModelsByName(t *testing.T) {
	s := Store{Folder: t.TempDir()}
	if err := os.WriteFile(s.Path("mine"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(s.Path("folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	if path, err := s.Find("mine"); err != nil || path != filepath.Join(s.Folder, "mine.onnx") {
		t.Errorf("mine is at %q, %v", path, err)
	}
	refused := map[string]string{
		"mobilenetv2-12": "sightline models pull mobilenetv2-12",
		"squeezenet1.2":  "did you mean squeezenet1.0?",
		"folder":         "not a regular file",
		"../mine":        "not the name",
		"mine.onnx":      "not the name",
		"":               "not the name",
		".mine":          "not the name",
	}
	for name, want := range refused {
		if _, err := s.Find(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", name, err, want)
		}
	}
	names, err := s.Names()
	if err != nil || len(names) != 1 || names[0] != "mine" {
		t.Errorf("the store has %v, %v", names, err)
	}
	if names, err := (Store{filepath.Join(s.Folder, "none")}).Names(); err != nil || len(names) != 0 {
		t.Errorf("a store that is not there has %v, %v", names, err)
	}
}
