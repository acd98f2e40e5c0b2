package program_test

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// build builds the program of a stage as it is released.
func build(t *testing.T, kind string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "sightline-"+kind)
	command := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, "sightline/cmd/"+kind)
	command.Env = append(os.Environ(), "CGO_ENABLED=1")
	if kind == "publish" {
		command.Env = append(os.Environ(), "CGO_ENABLED=0")
	}
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", kind, err, out)
	}
	return program
}

// libraries are what a program is linked with.
func libraries(t *testing.T, program string) []string {
	t.Helper()
	file, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	names, err := file.ImportedLibraries()
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestPublishIsStaticPureGoAndSlim(t *testing.T) {
	program := build(t, "publish")
	if names := libraries(t, program); len(names) > 0 {
		t.Errorf("it is linked with %q", names)
	}
	info, err := os.Stat(program)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%.1f MB", float64(info.Size())/1e6)
	if most := int64(12_000_000); info.Size() > most {
		t.Errorf("it has %d bytes, more than %d", info.Size(), most)
	}
	list := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{if not .Standard}}{{if or .CgoFiles .CXXFiles}}{{.ImportPath}}{{end}}{{end}}", "sightline/cmd/publish")
	list.Env = append(os.Environ(), "CGO_ENABLED=1")
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	if c := strings.Fields(string(out)); len(c) > 0 {
		t.Errorf("it has C in it: %q", c)
	}
}

func TestProgramsAreLinkedWithWhatTheirStageNeeds(t *testing.T) {
	for kind, foreign := range map[string][]string{"capture": {"opencv", "onnx", "avformat", "swscale", "stdc++"}, "classify": {"opencv", "avcodec", "avutil", "swscale", "stdc++"}} {
		for _, name := range libraries(t, build(t, kind)) {
			if slices.ContainsFunc(foreign, func(f string) bool { return strings.Contains(name, f) }) {
				t.Errorf("%s is linked with %s", kind, name)
			}
		}
	}
}
