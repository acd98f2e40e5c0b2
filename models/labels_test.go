package models

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sightline/pipeline/pipelinetest"
)

var labelTable = []struct {
	name, text string
	want       []string
}{
	{"one a line", "cat\ndog\n", []string{"cat", "dog"}},
	{"lines of Windows, with a byte order mark", "\xef\xbb\xbfcat\r\ndog\r\n", []string{"cat", "dog"}},
	{"blanks around", " cat \n\tdog\n\n\n", []string{"cat", "dog"}},
	{"commas in names", "tench, Tinca tinca\ngoldfish\n", []string{"tench, Tinca tinca", "goldfish"}},
	{"synsets", "n01440764 tench, Tinca tinca\nn01443537 goldfish\n", []string{"tench, Tinca tinca", "goldfish"}},
	{"one line that is no synset makes all of them names", "n01440764 tench\ngoldfish\n", []string{"n01440764 tench", "goldfish"}},
	{"index and name", "0,tench, Tinca tinca\n1,goldfish\n", []string{"tench, Tinca tinca", "goldfish"}},
	{"index and name, out of order", "1,goldfish\n0 , tench\n", []string{"tench", "goldfish"}},
	{"digits are names", "0\n1\n2\n", []string{"0", "1", "2"}},
	{"JSON by index", `{"1": "dog", "0": "cat"}`, []string{"cat", "dog"}},
	{"JSON list", ` ["cat", "dog"] `, []string{"cat", "dog"}},
	{"the same name twice, as ImageNet has it", "crane\ncrane\n", []string{"crane", "crane"}},
}

func TestLabels(t *testing.T) {
	for _, test := range labelTable {
		t.Run(test.name, func(t *testing.T) {
			got, err := ParseLabels([]byte(test.text))
			if err != nil || !slices.Equal(got, test.want) {
				t.Errorf("got %q, %v; want %q", got, err, test.want)
			}
		})
	}
}

var badLabels = map[string]struct{ text, want string }{
	"nothing":          {" \n", "no labels"},
	"a gap":            {"cat\n\ndog\n", "class 1 is empty"},
	"an index twice":   {"0,cat\n0,dog\n", "given twice"},
	"an index missing": {"0,cat\n2,dog\n", `index "2"`},
	"JSON, a gap":      {`{"0": "cat", "2": "dog"}`, `index "2"`},
	"JSON, the same":   {`{"0": "cat", "00": "dog"}`, "does not fit"},
	"JSON, no text":    {`{"0": 1}`, "JSON"},
	"JSON, cut off":    {`["cat", `, "JSON"},
	"JSON, empty":      {`[]`, "no labels"},
	"control":          {"cat\x07\n", "control characters"},
	"not UTF-8":        {"\xff\xfe\n", "UTF-8"},
	"long":             {strings.Repeat("x", maxLabelBytes+1), "longer than"},
}

func TestBadLabels(t *testing.T) {
	for name, test := range badLabels {
		t.Run(name, func(t *testing.T) {
			if got, err := ParseLabels([]byte(test.text)); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %q, %v; want an error with %q", got, err, test.want)
			}
		})
	}
}

func TestTheSharedLabelFilesSayTheSame(t *testing.T) {
	folder := filepath.Join(pipelinetest.TestData(t), "labels")
	read := func(name string) []string {
		text, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		labels, err := ParseLabels(text)
		if err != nil {
			t.Fatal(err)
		}
		return labels
	}
	synsets := read("imagenet_synset_1000.txt")
	if len(synsets) != 1000 || synsets[0] != "tench, Tinca tinca" {
		t.Fatalf("%d synsets, the first is %q", len(synsets), synsets[0])
	}
	for _, name := range []string{"imagenet_labels_map_1000.json", "imagenet_labels_index_csv_1000.txt"} {
		if got := read(name); len(got) != 1000 || got[0] != synsets[0] {
			t.Errorf("%s has %d labels, the first is %q", name, len(got), got[0])
		}
	}
	if !slices.Equal(read("imagenet_labels_map_1000.json"), synsets) {
		t.Error("the JSON map differs from the synsets")
	}
	if with := read("imagenet_labels_1001_background.txt"); len(with) != 1001 || with[0] != "background" {
		t.Errorf("%d labels, the first is %q", len(with), with[0])
	}
	if n := len(read("mnist_10.txt")); n != 10 {
		t.Errorf("%d digits", n)
	}
}

func FuzzParseLabels(f *testing.F) {
	for _, row := range labelTable {
		f.Add([]byte(row.text))
	}
	for _, row := range badLabels {
		f.Add([]byte(row.text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		labels, err := ParseLabels(text)
		if err == nil && checkLabels(labels) != nil {
			t.Errorf("labels %q were taken", labels)
		}
	})
}
