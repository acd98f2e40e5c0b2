package closures_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sightline/cmd/sightline/closures"
	"sightline/runtime/closure"
	"sightline/runtime/closure/store"
)

// buildReal builds the program of a kind of stages as it is shipped.
func buildReal(t *testing.T, folder, kind string) {
	t.Helper()
	command := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w -X main.version=test",
		"-o", filepath.Join(folder, "sightline-"+kind), "sightline/cmd/"+kind)
	if kind == closures.Publish {
		command.Env = append(os.Environ(), "CGO_ENABLED=0")
	}
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", kind, err, out)
	}
}

func TestTheStagesProgramsRunFromTheirClosures(t *testing.T) {
	requireRuntime(t)
	p, _ := parse(t, "cpu")
	b := builder(t)
	b.Programs = t.TempDir()
	in, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for stage, want := range map[string]struct {
		kind     string
		has, not []string // parts of names of libraries
		most     int64    // bytes
	}{
		"gate":  {closures.Capture, []string{"libavcodec.so", "libc.so"}, []string{"libonnxruntime", "libopencv_imgcodecs"}, 0},
		"own":   {closures.Classify, []string{"libonnxruntime.so", "libc.so"}, []string{"libavcodec", "libopencv"}, 0},
		"cloud": {closures.Publish, nil, []string{"lib"}, 12 << 20},
	} {
		t.Run(want.kind, func(t *testing.T) {
			buildReal(t, b.Programs, want.kind)
			s, err := b.Compute(p, stage)
			if err != nil {
				t.Fatal(err)
			}
			m := s.Closure.Manifest
			t.Logf("%d bytes in %d files", m.Size(), len(m.Files))
			libraries := paths(m, closure.Library, closure.Opened)
			for _, part := range want.has {
				if !slices.ContainsFunc(libraries, func(at string) bool { return strings.Contains(at, part) }) {
					t.Errorf("no %s", part)
				}
			}
			for _, part := range want.not {
				if i := slices.IndexFunc(libraries, func(at string) bool { return strings.Contains(at, part) }); i >= 0 {
					t.Errorf("has %s", libraries[i])
				}
			}
			if want.most > 0 && m.Size() > want.most {
				t.Errorf("has %d bytes, more than %d", m.Size(), want.most)
			}
			runsFrom(t, in, s, closures.Pin(p, stage, "current"))
		})
	}
}

// runsFrom runs the program of a closure from a store, with what is in the closure and nothing else.
func runsFrom(t *testing.T, in *store.Store, s *closures.Stage, pin string) {
	t.Helper()
	kept, err := s.Keep(in, pin)
	if err != nil {
		t.Fatal(err)
	}
	folder, err := kept.Folder(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	line := append(s.Closure.Manifest.Command(folder), "--version")
	command := exec.Command(line[0], line[1:]...)
	command.Env = []string{}
	out, err := command.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "sightline-"+s.Kind+" test") {
		t.Errorf("%v\n%s", err, out)
	}
}
