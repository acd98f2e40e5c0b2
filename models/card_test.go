package models

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"sightline/configs/strict"
	"sightline/configs/strict/stricttest"
)

var update = flag.Bool("update", false, "write the golden files, the JSON Schema and the reference")

func cards(t *testing.T, kind string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join("testdata", "cards", kind, "*.yaml"))
	if err != nil || len(found) == 0 {
		t.Fatalf("no cards (%v)", err)
	}
	return found
}

func TestGoodCards(t *testing.T) {
	for _, path := range cards(t, "good") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			card, err := ReadCard(path)
			if err != nil {
				t.Fatal(err)
			}
			text, err := json.MarshalIndent(card, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			stricttest.Golden(t, strings.TrimSuffix(path, ".yaml")+".json", string(text)+"\n", *update)
		})
	}
}

func TestBadCardsSayAllThatIsWrong(t *testing.T) {
	for _, path := range cards(t, "bad") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			_, err := ReadCard(path)
			var wrong strict.Problems
			if !errors.As(err, &wrong) || len(wrong) == 0 {
				t.Fatalf("error is %v", err)
			}
			got := strings.ReplaceAll(err.Error(), filepath.Dir(path)+string(filepath.Separator), "")
			stricttest.Golden(t, strings.TrimSuffix(path, ".yaml")+".txt", got+"\n", *update)
		})
	}
}

func TestACardThatIsNoFile(t *testing.T) {
	folder := t.TempDir()
	if _, err := ReadCard(folder); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a folder: %v", err)
	}
	pipe := filepath.Join(folder, "pipe.yaml")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Skip(err)
	}
	if _, err := ReadCard(pipe); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a named pipe: %v", err)
	}
	inside := filepath.Join(folder, "sub", "card.yaml")
	if err := os.MkdirAll(filepath.Dir(inside), 0o700); err != nil {
		t.Fatal(err)
	}
	good, err := filepath.Abs(filepath.Join("testdata", "cards", "good", "minimal.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(good, inside); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadCard(inside); err == nil || !strings.Contains(err.Error(), "escapes") {
		t.Errorf("a link that leads out of the folder: %v", err)
	}
	large := filepath.Join(folder, "large.yaml")
	if err := os.WriteFile(large, make([]byte, maxCardBytes+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadCard(large); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("a card that is too large: %v", err)
	}
}

func TestTheModelMustBeTheCards(t *testing.T) {
	file := NewFile("m.onnx", []byte("model"))
	for _, test := range []struct {
		sum string
		ok  bool
	}{{file.SHA256, true}, {"sha256:" + strings.ToUpper(file.SHA256), true}, {strings.Repeat("f", 64), false}} {
		card, err := ParseCard("m.yaml", []byte("labels: [a, b]\ncolor: rgb\nactivation: none\nsha256: "+test.sum+"\n"))
		if err != nil {
			t.Fatal(err)
		}
		if err := file.Verify(card); (err == nil) != test.ok {
			t.Errorf("%s: %v", test.sum, err)
		}
	}
}

func FuzzParseCard(f *testing.F) {
	for _, kind := range []string{"good", "bad"} {
		found, _ := filepath.Glob(filepath.Join("testdata", "cards", kind, "*.yaml"))
		for _, path := range found {
			text, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		card, err := ParseCard("card.yaml", text)
		var wrong strict.Problems
		switch {
		case err != nil && !errors.As(err, &wrong):
			t.Fatalf("error is %v", err)
		case err == nil && (card.TopK < 1 || card.Activation == "" || card.Color == "" || (len(card.Labels) == 0 && card.LabelsFile == "")):
			t.Fatalf("card is %+v", card)
		}
	})
}

func TestAModelThatIsNoFile(t *testing.T) {
	folder := t.TempDir()
	if _, err := ReadFile(folder); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a folder: %v", err)
	}
	large := filepath.Join(folder, "large.onnx")
	if err := os.WriteFile(large, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(large, maxModelBytes+1); err != nil {
		t.Skip(err)
	}
	if _, err := ReadFile(large); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("a model that is too large: %v", err)
	}
	if _, err := ReadFile(filepath.Join(folder, "none.onnx")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a model that is not there: %v", err)
	}
}
