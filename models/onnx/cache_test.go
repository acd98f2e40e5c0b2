package onnx

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sightline/models"
	"sightline/models/onnxtest"
	"sightline/pipeline"
	"sightline/pipeline/pipelinetest"
)

// cached opens a model with a cache, classifies with it, and returns what was logged.
func cached(t *testing.T, folder string, shape int64) string {
	t.Helper()
	var log strings.Builder
	file := onnxtest.Averages(models.Float32, []int64{1, 3, shape, 6}, models.Float32, []int64{1, 3}).File()
	c, err := Open(started(t), Options{Path: "averages", Bytes: file, Card: card(t, colours+"scale: 1\n"), CacheDir: folder,
		Threads: 1, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	answers := make([]pipeline.Answer, 1)
	if err := c.Classify(t.Context(), []*pipeline.Frame{plain(c, 1, 9, 2)}, answers); err != nil {
		t.Fatal(err)
	}
	if top := answers[0].Predictions[0]; top.Class != "green" || top.Confidence != 9 {
		t.Errorf("the model says %+v", top)
	}
	return log.String()
}

func graphs(t *testing.T, folder string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(folder, "*", graphFile))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestTheOptimisedGraphIsKeptAndUsed(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "cache")
	cached(t, folder, 4)
	kept := graphs(t, folder)
	if len(kept) != 1 {
		t.Fatalf("kept %v", kept)
	}
	before, err := os.Stat(kept[0])
	if err != nil {
		t.Fatal(err)
	}
	if log := cached(t, folder, 4); strings.Contains(log, "level=WARN") {
		t.Errorf("the second time:\n%s", log)
	}
	after, err := os.Stat(kept[0])
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("the graph was made anew (%v)", err)
	}
	cached(t, folder, 5)
	if kept = graphs(t, folder); len(kept) != 2 {
		t.Errorf("another model: kept %v", kept)
	}
	if rest, _ := filepath.Glob(filepath.Join(folder, "*", "new-*")); len(rest) != 0 {
		t.Errorf("left behind: %v", rest)
	}
}

func TestACacheThatCannotBeTrusted(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(t *testing.T, folder, graph string)
		want  string // in the log
		mends bool   // the next start makes the graph anew and uses it
	}{
		{"a damaged graph", func(t *testing.T, _, graph string) { change(t, graph, []byte("rubbish")) }, "damaged", true},
		{"a graph cut off", func(t *testing.T, _, graph string) { change(t, graph, nil) }, "damaged", true},
		{"a graph of another model under the same name", func(t *testing.T, folder, graph string) {
			cached(t, folder, 5)
			for _, other := range graphs(t, folder) {
				if other != graph {
					copyFile(t, other, graph)
					copyFile(t, filepath.Join(filepath.Dir(other), stampFile), filepath.Join(filepath.Dir(graph), stampFile))
				}
			}
		}, "made for something else", true},
		{"a graph that matches its stamp and does not load", func(t *testing.T, _, graph string) {
			change(t, graph, []byte("rubbish"))
			key := filepath.Base(filepath.Dir(graph))
			change(t, filepath.Join(filepath.Dir(graph), stampFile), cache{key: key}.stamp([]byte("rubbish")))
		}, "does not load", true},
		{"a link instead of the graph", func(t *testing.T, folder, graph string) {
			elsewhere := filepath.Join(folder, "elsewhere")
			if err := os.Rename(graph, elsewhere); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(elsewhere, graph); err != nil {
				t.Fatal(err)
			}
		}, "cached graph is not used", true},
		{"no stamp", func(t *testing.T, _, graph string) { os.Remove(filepath.Join(filepath.Dir(graph), stampFile)) }, "", true},
		{"a graph that others can write to", func(t *testing.T, _, graph string) { mode(t, graph, 0o666) }, "can be written to by others", true},
		{"a folder that others can write to", func(t *testing.T, folder, _ string) { mode(t, folder, 0o777) }, "can be written to by others", false},
		{"an entry that others can write to", func(t *testing.T, _, graph string) { mode(t, filepath.Dir(graph), 0o770) }, "can be written to by others", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			folder := filepath.Join(t.TempDir(), "cache")
			cached(t, folder, 4)
			kept := graphs(t, folder)[0]
			good, err := os.ReadFile(kept)
			if err != nil {
				t.Fatal(err)
			}
			test.spoil(t, folder, kept)
			if log := cached(t, folder, 4); !strings.Contains(log, test.want) {
				t.Errorf("want %q in the log:\n%s", test.want, log)
			}
			if !test.mends {
				return
			}
			if log := cached(t, folder, 4); strings.Contains(log, "level=WARN") {
				t.Errorf("not mended:\n%s", log)
			}
			if now, err := os.ReadFile(kept); err != nil || !bytes.Equal(now, good) {
				t.Errorf("the graph is not what it was (%v)", err)
			}
		})
	}
}

func change(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	change(t, to, content)
}

func mode(t *testing.T, path string, m os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, m); err != nil {
		t.Fatal(err)
	}
}

func TestACacheThatIsNoFolder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cache")
	change(t, file, nil)
	if log := cached(t, file, 4); !strings.Contains(log, "cache is not used") {
		t.Errorf("logged:\n%s", log)
	}
}

// BenchmarkOpen is what a start takes: reading, loading, optimising, warming up.
func BenchmarkOpen(b *testing.B) {
	path := filepath.Join(pipelinetest.TestData(b), "models", photoModels[2].model+".onnx")
	mine := card(b, photoModels[2].card+labels(1001))
	for name, folder := range map[string]string{"without cache": "", "with cache": filepath.Join(b.TempDir(), "cache")} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				c, err := Open(started(b), Options{Path: path, Card: mine, CacheDir: folder, Threads: 1})
				if err != nil {
					b.Fatal(err)
				}
				c.Close()
			}
		})
	}
}
