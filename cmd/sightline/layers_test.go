package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// layers says what the packages below a folder may import of this module, apart from what is below
// the same folder. The longest matching folder counts. Test files are free.
var layers = map[string][]string{
	"pipeline":          {},
	"sources":           {"pipeline"},
	"models":            {"pipeline", "configs/strict"},
	"sinks":             {"pipeline"},
	"runtime":           {},
	"web":               {"pipeline"},
	"configs/strict":    {"pipeline"},
	"configs":           {"pipeline", "sources!", "models!", "sinks!"},
	"bench":             {"pipeline", "sources", "models", "sinks", "configs", "web"},
	"cmd":               {"pipeline", "sources", "models", "sinks", "runtime", "configs", "web", "bench"},
	"models/gate/train": {"pipeline", "sources"},
}

// bare are packages that import the standard library only.
var bare = []string{"pipeline"}

// pure are packages that, with all they import, need no C.
var pure = []string{"pipeline", "sources", "models", "sinks", "configs", "runtime/inline", "runtime/line", "web", "cmd/publish"}

func TestImportsPointOneWay(t *testing.T) {
	imports := readImports(t)
	for from, list := range imports {
		layer := layerOf(from)
		if layer == "" {
			t.Errorf("package %s is in no layer: add its folder to the table", from)
			continue
		}
		for _, to := range list {
			if to == "C" || isStandard(to) {
				continue
			}
			ours, isOurs := strings.CutPrefix(to, "sightline/")
			if !isOurs {
				if slices.Contains(bare, from) {
					t.Errorf("%s imports %s, but must import the standard library only", from, to)
				}
				continue
			}
			if !mayImport(layer, from, ours) {
				t.Errorf("%s imports %s, which its layer %q may not", from, ours, layer)
			}
		}
	}
}

func TestTheTopsOfTheFoldersNeedNoC(t *testing.T) {
	imports := readImports(t)
	for _, top := range pure {
		if way := wayToC(imports, top, nil); way != nil {
			t.Errorf("needs C: %s", strings.Join(way, " → "))
		}
	}
}

// cgoPackages of other modules that the code uses.
var cgoPackages = []string{"gocv.io/x/gocv", "github.com/yalue/onnxruntime_go"}

func wayToC(imports map[string][]string, from string, way []string) []string {
	way = append(way, from)
	for _, to := range imports[from] {
		if to == "C" || slices.Contains(cgoPackages, to) {
			return append(way, to)
		}
		if ours, ok := strings.CutPrefix(to, "sightline/"); ok {
			if found := wayToC(imports, ours, way); found != nil {
				return found
			}
		}
	}
	return nil
}

func mayImport(layer, from, to string) bool {
	if within(to, layer) {
		return true
	}
	return slices.ContainsFunc(layers[layer], func(allowed string) bool {
		exact, only := strings.CutSuffix(allowed, "!")
		return only && to == exact || !only && within(to, allowed)
	})
}

func within(path, folder string) bool { return path == folder || strings.HasPrefix(path, folder+"/") }

func layerOf(path string) string {
	best := ""
	for folder := range layers {
		if within(path, folder) && len(folder) > len(best) {
			best = folder
		}
	}
	return best
}

func isStandard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".") && first != "sightline"
}

// readImports returns the imports of every package of the module, by its path below the module's.
func readImports(t *testing.T) map[string][]string {
	t.Helper()
	const root = "../.."
	imports := map[string][]string{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if name := entry.Name(); path != root && (strings.HasPrefix(name, ".") || name == "testdata" || name == "bin") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		folder, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if !slices.Contains(imports[folder], name) {
				imports[folder] = append(imports[folder], name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(imports["pipeline"]) == 0 || len(imports["cmd/sightline"]) == 0 {
		t.Fatalf("found no packages below %s", root)
	}
	return imports
}
