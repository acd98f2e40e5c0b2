package check

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const golden = `pictures:
  cat: {file: photos/cat.jpg, labels: [Egyptian cat], confidence: 0.79, tolerance: 0.1}
  dog:
    file: dog.png
    labels: [malamute, "Eskimo dog, husky"]
`

func TestAGoldenFileSaysWhatIsExpected(t *testing.T) {
	folder := t.TempDir()
	model := filepath.Join(folder, "net.onnx")
	if g, err := ReadGolden(model); g != nil || err != nil {
		t.Errorf("a file that is not there is %v, %v", g, err)
	}
	if err := os.WriteFile(filepath.Join(folder, "net.golden.yaml"), []byte(golden), 0o600); err != nil {
		t.Fatal(err)
	}
	g, err := ReadGolden(model)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(g.Names(), []string{"cat", "dog"}) {
		t.Errorf("it has %v", g.Names())
	}
	cat, ok := g.For("/elsewhere/cat.jpg")
	if !ok || cat.Confidence == nil || *cat.Confidence != 0.79 || cat.Tolerance != 0.1 || cat.Labels[0] != "Egyptian cat" {
		t.Errorf("cat is %+v", cat)
	}
	dog, ok := g.For("dog.png")
	if !ok || dog.Confidence != nil || dog.Tolerance != 0.05 || len(dog.Labels) != 2 {
		t.Errorf("dog is %+v", dog)
	}
	if _, ok := g.For("cow.jpg"); ok {
		t.Error("cow is expected")
	}
}

func TestAWrongGoldenFileIsRefused(t *testing.T) {
	tests := map[string]string{
		"":                                 "is empty",
		"pictures: {}":                     "pictures",
		"pictures: {cat: {file: cat.jpg}}": "labels: is missing",
		"pictures: {cat: {labels: [cat]}}": "file: is missing",
		"pictures: {cat: {file: ../cat.jpg, labels: [cat]}}":                       "not within the folder",
		"pictures: {cat: {file: /etc/passwd, labels: [cat]}}":                      "not within the folder",
		"pictures: {cat: {file: cat.jpg, labels: [cat], confidence: 2}}":           "confidence",
		"pictures: {cat: {file: cat.jpg, label: cat}}":                             "label",
		"pictures:\n  cat: {file: cat.jpg, labels: [cat]}\n  cat: {file: cat.jpg}": "cat",
	}
	for text, want := range tests {
		if _, err := ParseGolden("net.golden.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func FuzzParseGolden(f *testing.F) {
	f.Add(golden)
	f.Add("pictures: {cat: {file: ../cat.jpg, labels: [cat]}}")
	f.Fuzz(func(t *testing.T, text string) {
		g, err := ParseGolden("golden.yaml", []byte(text))
		if (g == nil) == (err == nil) {
			t.Fatalf("%v and %v", g, err)
		}
		if err != nil {
			return
		}
		for _, name := range g.Names() {
			if p := g.Pictures[name]; len(p.Labels) == 0 || !filepath.IsLocal(p.File) {
				t.Errorf("%s is %+v", name, p)
			}
		}
	})
}
