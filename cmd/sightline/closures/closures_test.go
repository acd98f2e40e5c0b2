package closures_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sightline/cmd/sightline/closures"
	"sightline/configs"
	"sightline/models/onnx/library"
	"sightline/runtime/closure"
	"sightline/runtime/closure/store"
)

// programs is the folder with the stages' programs, which TestMain builds.
var programs string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if programs, err = os.MkdirTemp("", "stages-"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(programs)
		for kind, stand := range map[string]string{closures.Capture: "dynamic", closures.Classify: "dynamic", closures.Publish: "static"} {
			if err := build(kind, stand); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
		}
		return m.Run()
	}())
}

// build makes the program of a kind of stages small and of known needs.
func build(kind, stand string) error {
	command := exec.Command("go", "build", "-trimpath", "-o", filepath.Join(programs, "sightline-"+kind), "./testdata/"+stand)
	command.Env = append(os.Environ(), "CGO_LDFLAGS=")
	if stand == "static" {
		command.Env = append(command.Env, "CGO_ENABLED=0")
	}
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", stand, err, out)
	}
	return nil
}

const pipelineFile = `version: 1
name: front gate
sources:
  gate: {rtsp: {url: "rtsp://192.0.2.1/s"}}
  safe: {rtsp: {url: "rtsps://192.0.2.1/s"}}
  known: {rtsp: {url: "rtsps://192.0.2.1/s", fingerprint: "5f112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"}}
models:
  scene: {inputs: [gate, safe, known], model: gate}
  own: {inputs: [gate], model: model.onnx, provider: PROVIDER}
sinks:
  broker: {inputs: [scene], mqtt: {url: "mqtt://192.0.2.2"}}
  cloud: {inputs: [own], mqtt: {url: "mqtts://192.0.2.2"}}
  private: {inputs: [own], mqtt: {url: "mqtts://192.0.2.2", prefix: other, ca_file: ca.pem}}
  lines: {inputs: [own], jsonl: {path: "-"}}
`

// parse reads the pipeline of the tests, in a folder with what it names.
func parse(t *testing.T, provider string, more ...string) (*configs.Pipeline, string) {
	t.Helper()
	folder := t.TempDir()
	for name, from := range map[string]string{"model.onnx": "../../../configs/testdata/good/files/scene.onnx", "ca.pem": "../../../configs/testdata/good/files/ca.pem"} {
		put(t, filepath.Join(folder, name), read(t, from))
	}
	card := string(read(t, "../../../configs/testdata/good/files/scene.yaml"))
	put(t, filepath.Join(folder, "model.yaml"), []byte(card))
	text := strings.Replace(pipelineFile, "PROVIDER", provider, 1) + strings.Join(more, "\n")
	p, err := configs.Parse("front.yaml", []byte(text), configs.Options{BuiltIn: []string{"gate"}, Folder: folder})
	if err != nil {
		t.Fatal(err)
	}
	return p, folder
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func put(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// authorities is a bundle of one certificate.
func authorities(t *testing.T) string {
	t.Helper()
	at := filepath.Join(t.TempDir(), "bundle.pem")
	command := exec.Command("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
		"-subj", "/CN=test", "-days", "2", "-keyout", os.DevNull, "-out", at)
	if out, err := command.CombinedOutput(); err != nil {
		t.Skipf("openssl makes no certificate: %v\n%s", err, out)
	}
	return at
}

func builder(t *testing.T) closures.Builder {
	t.Helper()
	return closures.Builder{Programs: programs, BuiltIn: []string{"gate"}, Authorities: []string{authorities(t)}, Devices: []string{"/nowhere"}}
}

func paths(m *closure.Manifest, kinds ...closure.Kind) []string {
	var list []string
	for _, f := range m.Files {
		if slices.Contains(kinds, f.Kind) && f.Link == "" {
			list = append(list, f.Path)
		}
	}
	return list
}

func requireRuntime(t *testing.T) string {
	t.Helper()
	path, _, err := library.Find("")
	if err != nil {
		t.Skip(err)
	}
	return path
}

func TestAStageHasWhatItNeedsAndNothingElse(t *testing.T) {
	requireRuntime(t)
	p, _ := parse(t, "cpu")
	b := builder(t)
	const bundle = closure.CertificatesPath
	for stage, want := range map[string]struct {
		opened, data, certificates []string
		static                     bool
	}{
		"gate":    {},
		"safe":    {certificates: []string{bundle}},
		"known":   {},
		"scene":   {opened: []string{"/lib/libonnxruntime.so"}},
		"own":     {opened: []string{"/lib/libonnxruntime.so"}, data: []string{closures.ModelPath, closures.CardPath}},
		"broker":  {static: true},
		"cloud":   {certificates: []string{bundle}, static: true},
		"private": {static: true},
	} {
		t.Run(stage, func(t *testing.T) {
			s, err := b.Compute(p, stage)
			if err != nil {
				t.Fatal(err)
			}
			m := s.Closure.Manifest
			for _, part := range []struct{ got, want []string }{
				{paths(m, closure.Opened), want.opened}, {paths(m, closure.Data), want.data},
				{paths(m, closure.Certificates), want.certificates}, {paths(m, closure.Program), []string{closure.ProgramPath}},
			} {
				if !slices.Equal(part.got, part.want) {
					t.Errorf("has %q, want %q", part.got, part.want)
				}
			}
			if libraries := paths(m, closure.Library, closure.Interpreter); (len(libraries) == 0) != want.static {
				t.Errorf("libraries: %q", libraries)
			}
			if s.GPU {
				t.Error("asks for a GPU")
			}
		})
	}
}

func TestTheLabelsOfACardComeWithIt(t *testing.T) {
	requireRuntime(t)
	p, folder := parse(t, "cpu")
	card := strings.SplitAfter(string(read(t, filepath.Join(folder, "model.yaml"))), "\n")
	card = slices.DeleteFunc(card, func(line string) bool { return strings.HasPrefix(line, "labels:") })
	put(t, filepath.Join(folder, "other.yaml"), []byte(strings.Join(card, "")+"labels_file: words/labels.txt\n"))
	if err := os.Mkdir(filepath.Join(folder, "words"), 0o700); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(folder, "words", "labels.txt"), []byte("a\nb\n"))
	m := p.Models["own"]
	m.Card = filepath.Join(folder, "other.yaml")
	p.Models["own"] = m
	s, err := builder(t).Compute(p, "own")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{closures.ModelPath, closures.CardPath, "/model/words/labels.txt"}
	if got := paths(s.Closure.Manifest, closure.Data); !slices.Equal(got, want) {
		t.Errorf("has %q, want %q", got, want)
	}
}

func TestTheSameStageHasTheSameDigestWhereverItsPartsLie(t *testing.T) {
	requireRuntime(t)
	b := builder(t)
	digests := map[string]map[closure.Digest]bool{}
	for range 2 {
		p, _ := parse(t, "cpu")
		elsewhere := t.TempDir()
		if err := os.CopyFS(elsewhere, os.DirFS(programs)); err != nil {
			t.Fatal(err)
		}
		b.Programs = elsewhere
		for _, stage := range closures.Names(p) {
			s, err := b.Compute(p, stage)
			if err != nil {
				t.Fatal(err)
			}
			if digests[stage] == nil {
				digests[stage] = map[closure.Digest]bool{}
			}
			digests[stage][s.Digest] = true
		}
	}
	for stage, found := range digests {
		if len(found) != 1 {
			t.Errorf("%s has the digests %v", stage, found)
		}
	}
	if len(digests) != 8 {
		t.Errorf("%d stages in boxes", len(digests))
	}
}

func TestTheBoxOfAStageDoesNotChangeItsClosure(t *testing.T) {
	requireRuntime(t)
	b := builder(t)
	var first closure.Digest
	for _, box := range []string{configs.Process, configs.Container, configs.VM, configs.Unikernel} {
		p, _ := parse(t, "auto", "runtime: {default: "+box+"}")
		s, err := b.Compute(p, "own")
		if err != nil {
			t.Fatal(err)
		}
		if first == "" {
			first = s.Digest
		}
		if s.Digest != first {
			t.Errorf("another one in a %s box", box)
		}
	}
}

func TestAProviderThatIsNotThereIsSaidSo(t *testing.T) {
	library := requireRuntime(t)
	if beside, _ := filepath.Glob(filepath.Join(filepath.Dir(library), "libonnxruntime_providers_cuda.so")); len(beside) > 0 {
		t.Skipf("it is there: %s", beside)
	}
	p, _ := parse(t, "cuda")
	if _, err := builder(t).Compute(p, "own"); err == nil || !strings.Contains(err.Error(), `stage "own": provider cuda: ONNX Runtime's library for it is not there`) {
		t.Errorf("cuda: %v", err)
	}
	p, _ = parse(t, "auto")
	b := builder(t)
	b.Devices = []string{os.DevNull} // a GPU, as far as can be seen
	s, err := b.Compute(p, "own")
	if err != nil || s.GPU || len(s.Notes) != 1 || !strings.HasPrefix(s.Notes[0], "provider auto is cpu in the box: ") {
		t.Errorf("auto: %+v %v", s, err)
	}
}

func TestMissingPartsAreToldWithTheWayOut(t *testing.T) {
	requireRuntime(t)
	p, folder := parse(t, "cpu")
	b := builder(t)
	none := b
	none.Programs = t.TempDir()
	_, err := none.Compute(p, "gate")
	var missing *closures.MissingProgramError
	if !errors.As(err, &missing) || missing.Program != "sightline-capture" || !strings.Contains(err.Error(), "make build") {
		t.Errorf("no program: %v", err)
	}
	t.Setenv(closures.ProgramsVariable, programs)
	none.Programs = ""
	if _, err := none.Compute(p, "gate"); err != nil {
		t.Errorf("named by the environment: %v", err)
	}
	put(t, filepath.Join(folder, "sightline-capture"), []byte("text"))
	none.Programs = folder
	if _, err := none.Compute(p, "gate"); err == nil || !strings.Contains(err.Error(), "is no program") {
		t.Errorf("no executable: %v", err)
	}
	b.Authorities = []string{"/nowhere/bundle.pem"}
	if _, err := b.Compute(p, "cloud"); err == nil || !strings.Contains(err.Error(), "install ca-certificates, or write ca_file") {
		t.Errorf("no authorities: %v", err)
	}
	if _, err := b.Compute(p, "private"); err != nil {
		t.Errorf("no authorities, and none needed: %v", err)
	}
	b.Library = "/nowhere/libonnxruntime.so"
	if _, err := b.Compute(p, "own"); err == nil || !strings.Contains(err.Error(), b.Library) {
		t.Errorf("no ONNX Runtime: %v", err)
	}
	if _, err := b.Compute(p, "nobody"); err == nil {
		t.Error("a stage that is not there has a closure")
	}
}

func TestAStoreKeepsClosuresAndRefusesWhatWasChanged(t *testing.T) {
	requireRuntime(t)
	p, _ := parse(t, "cpu")
	dir := t.TempDir()
	in, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	kept, err := builder(t).KeepAll(p, in, "current")
	if err != nil {
		t.Fatal(err)
	}
	pins, err := in.Pins()
	if err != nil || len(pins) != len(kept) || pins["front-gate/own/current"] != kept["own"].Digest {
		t.Fatalf("pins %v, %v", pins, err)
	}
	own := in.Kept(kept["own"].Digest)
	folder, err := own.Folder(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(filepath.Join(folder, "stage")).CombinedOutput(); err != nil {
		t.Errorf("the program of the closure does not run: %v\n%s", err, out)
	}
	model := filepath.Join(folder, closures.ModelPath)
	if err := os.Chmod(model, 0o600); err != nil {
		t.Fatal(err)
	}
	data := read(t, model)
	data[len(data)/2] ^= 1
	put(t, model, data)
	if err := os.Chmod(model, 0o444); err != nil {
		t.Fatal(err)
	}
	var tampered *store.TamperedError
	if _, err := own.Folder(context.Background()); !errors.As(err, &tampered) || tampered.Name != closures.ModelPath {
		t.Errorf("a changed model: %v", err)
	}
}

func TestAProgramFindsWhatItOpensByName(t *testing.T) {
	requireRuntime(t)
	p, _ := parse(t, "cpu")
	in, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s, err := builder(t).Compute(p, "scene")
	if err != nil {
		t.Fatal(err)
	}
	kept, err := s.Keep(in, closures.Pin(p, "scene", "current"))
	if err != nil {
		t.Fatal(err)
	}
	folder, err := kept.Folder(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	line := append(s.Closure.Manifest.Command(folder), "libonnxruntime.so")
	command := exec.Command(line[0], line[1:]...)
	command.Env = []string{}
	if out, err := command.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestPinsAreNamedAfterPipelineAndStage(t *testing.T) {
	in, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	p, _ := parse(t, "cpu")
	s, err := builder(t).Compute(p, "broker")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", "front", "front gate", "-x", "../../etc", "Türe/1", strings.Repeat("x", 500), "..", "/"} {
		p.Name = name
		if _, err := s.Keep(in, closures.Pin(p, "broker", "last-good")); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}
