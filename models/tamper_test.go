package models

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"sightline/models/onnxtest"
)

// elsewhere is a tensor whose bytes are in another file.
func elsewhere(path string) onnxtest.Proto {
	return onnxtest.Proto{}.Number(1, 4).Number(2, 1).Text(8, "w").
		Bytes(13, onnxtest.Proto{}.Text(1, "location").Text(2, path)).Number(14, 1)
}

// nested is a node whose attribute holds a graph with a node, and so on.
func nested(depth int, node onnxtest.Proto) onnxtest.Proto {
	for range depth {
		graph := onnxtest.Proto{}.Bytes(1, node)
		node = onnxtest.Node("If", "a", "b", onnxtest.Proto{}.Text(1, "then_branch").Bytes(6, graph).Number(20, 5))
	}
	return node
}

func withNode(n onnxtest.Proto) []byte {
	g := onnxtest.Relu()
	g.Nodes = append(g.Nodes, n)
	return g.File()
}

func TestModelFilesThatReachOutOrHideAreRefused(t *testing.T) {
	whole := onnxtest.Relu().File()
	initializer := func(path string) []byte {
		g := onnxtest.Relu()
		g.Initializers = []onnxtest.Proto{elsewhere(path)}
		return g.File()
	}
	constant := onnxtest.Node("Constant", "", "c", onnxtest.Proto{}.Text(1, "value").Bytes(5, elsewhere("/etc/passwd")).Number(20, 4))
	for name, test := range map[string]struct {
		file []byte
		want error
	}{
		"weights up two folders":      {initializer("../../etc/shadow"), errOutside},
		"weights at an absolute path": {initializer("/etc/shadow"), errOutside},
		"weights beside it":           {initializer("weights.bin"), errOutside},
		"a constant elsewhere":        {withNode(constant), errOutside},
		"in a branch":                 {withNode(nested(3, constant)), errOutside},
		"sparse weights elsewhere":    {onnxtest.Proto(whole).Bytes(7, onnxtest.Proto{}.Bytes(15, onnxtest.Proto{}.Bytes(1, elsewhere("x")))), errOutside},
		"in a function":               {onnxtest.Proto(whole).Bytes(25, onnxtest.Proto{}.Bytes(7, constant)), errOutside},
		"in what trains it":           {onnxtest.Proto(whole).Bytes(20, onnxtest.Proto{}.Bytes(1, onnxtest.Proto{}.Bytes(5, elsewhere("x")))), errOutside},
		"branches without end":        {withNode(nested(200, constant)), errDeep},
		"a graph behind another":      {onnxtest.Proto(whole).Bytes(7, onnxtest.Proto{}.Text(2, "other")), nil},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Describe(test.file)
			if err == nil || test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("error is %v, want %v", err, test.want)
			}
		})
	}
	if _, err := Describe(withNode(nested(20, onnxtest.Node("Relu", "a", "b")))); err != nil {
		t.Errorf("branches of branches: %v", err)
	}
}

func TestModelAndCardFilesThatAreRefused(t *testing.T) {
	const card = "color: rgb\nlabels_file: labels.txt\nactivation: none\nscale: 1\n"
	for name, test := range map[string]struct {
		make func(folder string) error
		want string
	}{
		"a model that is a folder":   {func(f string) error { return os.Mkdir(filepath.Join(f, "m.onnx"), 0o700) }, "regular"},
		"a model that is a pipe":     {func(f string) error { return syscall.Mkfifo(filepath.Join(f, "m.onnx"), 0o600) }, "regular"},
		"a model of two TiB":         {func(f string) error { return sparse(filepath.Join(f, "m.onnx"), 2<<40) }, "more than the"},
		"a card of two TiB":          {func(f string) error { return sparse(filepath.Join(f, "m.yaml"), 2<<40) }, "more than the"},
		"a card that is a pipe":      {func(f string) error { return syscall.Mkfifo(filepath.Join(f, "m.yaml"), 0o600) }, "regular"},
		"a card that is a link out":  {func(f string) error { return os.Symlink("/etc/hostname", filepath.Join(f, "m.yaml")) }, "escapes"},
		"labels that are a link out": {func(f string) error { return os.Symlink("/etc/hostname", filepath.Join(f, "labels.txt")) }, "escapes"},
		"labels of two TiB":          {func(f string) error { return sparse(filepath.Join(f, "labels.txt"), 2<<40) }, "more than the"},
		"a label of a mebibyte": {func(f string) error {
			return os.WriteFile(filepath.Join(f, "labels.txt"), []byte(strings.Repeat("x", 1<<20)), 0o600)
		}, "longer than"},
		"labels that lead up": {func(f string) error {
			return os.WriteFile(filepath.Join(f, "m.yaml"), []byte(strings.Replace(card, "labels.txt", "../labels.txt", 1)), 0o600)
		}, "labels_file"},
		"a card of aliases of aliases": {func(f string) error { return os.WriteFile(filepath.Join(f, "m.yaml"), []byte(laughs), 0o600) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			if err := test.make(folder); err != nil {
				t.Fatal(err)
			}
			for file, content := range map[string]string{
				"m.onnx": string(onnxtest.Averages(Float32, []int64{1, 3, 8, 8}, Float32, []int64{1, 3}).File()), "m.yaml": card, "labels.txt": "a\nb\nc\n",
			} {
				if _, err := os.Lstat(filepath.Join(folder, file)); err == nil {
					continue
				}
				if err := os.WriteFile(filepath.Join(folder, file), []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			_, _, err := Check(filepath.Join(folder, "m.onnx"), "")
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error is %v, want one with %q", err, test.want)
			}
		})
	}
}

// laughs is a few lines that stand for a thousand million words.
const laughs = "a: &a [x, x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]\n" +
	"c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b]\nd: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c, *c]\n" +
	"e: &e [*d, *d, *d, *d, *d, *d, *d, *d, *d, *d]\nlabels: [*e, *e, *e, *e, *e, *e, *e, *e, *e, *e]\n"

func sparse(path string, size int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(size), f.Close())
}
