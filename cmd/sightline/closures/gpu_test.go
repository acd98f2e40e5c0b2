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
	"sightline/configs"
	"sightline/runtime/closure"
	"sightline/runtime/closure/store"
)

// compile makes a shared library that needs others of its folder.
func compile(t *testing.T, folder, name string, needs ...string) {
	t.Helper()
	line := []string{"-shared", "-nostdlib", "-Wl,-soname," + name, "-Wl,-rpath,$ORIGIN", "-Wl,--no-as-needed", "-x", "c", "/dev/null", "-o", filepath.Join(folder, name), "-x", "none"}
	for _, need := range needs {
		line = append(line, filepath.Join(folder, need))
	}
	if out, err := exec.Command("gcc", line...).CombinedOutput(); err != nil {
		t.Fatalf("gcc %q: %v\n%s", line, err, out)
	}
}

// gpuLibraries makes an ONNX Runtime with its CUDA provider, CUDA's libraries and the driver's, which
// hold nothing but depend on each other as the real ones do. No GPU is needed to put them together.
func gpuLibraries(t *testing.T) (library string, drivers []string) {
	t.Helper()
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip(err)
	}
	folder, driver := t.TempDir(), t.TempDir()
	compile(t, folder, "libcudart.so.12")
	compile(t, folder, "libnvrtc.so.12")
	compile(t, folder, "libnvrtc-builtins.so.12.4")
	compile(t, folder, "libcudnn_ops.so.9")
	compile(t, folder, "libcudnn_cnn.so.9", "libcudnn_ops.so.9")
	compile(t, folder, "libcudnn.so.9")
	compile(t, folder, "libonnxruntime_providers_shared.so")
	compile(t, folder, "libonnxruntime_providers_cuda.so", "libcudart.so.12", "libcudnn.so.9")
	compile(t, folder, "libonnxruntime.so")
	compile(t, driver, "libcuda.so.1")
	compile(t, driver, "libnvcuvid.so.1")
	compile(t, driver, "libnvidia-ptxjitcompiler.so.1")
	if err := os.Symlink("libcudnn_ops.so.9", filepath.Join(folder, "libcudnn_ops.so.9.1.0")); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(folder, "libonnxruntime.so"), []string{driver}
}

func TestAProviderComesWithAllThatItOpens(t *testing.T) {
	b := builder(t)
	b.Library, b.Drivers = gpuLibraries(t)
	p, _ := parse(t, "cuda")
	s, err := b.Compute(p, "own")
	if err != nil {
		t.Fatal(err)
	}
	if !s.GPU {
		t.Error("asks for no GPU")
	}
	for _, want := range []string{
		"libonnxruntime.so", "libonnxruntime_providers_shared.so", "libonnxruntime_providers_cuda.so", "libcudart.so.12", "libnvrtc.so.12",
		"libnvrtc-builtins.so.12.4", "libcudnn.so.9", "libcudnn_ops.so.9", "libcudnn_cnn.so.9", "libcuda.so.1", "libnvidia-ptxjitcompiler.so.1",
	} {
		if !slices.ContainsFunc(s.Closure.Manifest.Files, func(f closure.File) bool { return f.Path == "/lib/"+want }) {
			t.Errorf("no %s", want)
		}
	}
	in, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	kept, err := s.Keep(in, closures.Pin(p, "own", "current"))
	if err != nil {
		t.Fatal(err)
	}
	folder, err := kept.Folder(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	line := append(s.Closure.Manifest.Command(folder), "libonnxruntime.so", "libonnxruntime_providers_cuda.so", "libcudnn_cnn.so.9", "libcuda.so.1")
	command := exec.Command(line[0], line[1:]...)
	command.Env = []string{}
	if out, err := command.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestAutoTakesTheGPUWhereItIsAndABoxCanHaveIt(t *testing.T) {
	b := builder(t)
	b.Library, b.Drivers = gpuLibraries(t)
	for box, gpu := range map[string]bool{configs.Process: true, configs.Container: true, configs.VM: false, configs.Unikernel: false} {
		p, _ := parse(t, "auto", "runtime: {default: "+box+"}")
		for device, there := range map[string]bool{os.DevNull: true, "/nowhere": false} {
			b.Devices = []string{device}
			s, err := b.Compute(p, "own")
			if err != nil || s.GPU != (gpu && there) {
				t.Errorf("%s box, device %s: %+v %v", box, device, s, err)
			}
		}
	}
}

func TestADecoderComesWithTheDriversLibraries(t *testing.T) {
	b := builder(t)
	_, b.Drivers = gpuLibraries(t)
	p, _ := parse(t, "cpu")
	c := p.Sources["gate"]
	c.Decoder = "cuda"
	p.Sources["gate"] = c
	s, err := b.Compute(p, "gate")
	if err != nil || !s.GPU {
		t.Fatalf("%+v %v", s, err)
	}
	if got, want := paths(s.Closure.Manifest, closure.Opened), []string{"/lib/libcuda.so.1", "/lib/libnvcuvid.so.1"}; !slices.Equal(got, want) {
		t.Errorf("has %q, want %q", got, want)
	}
	c.Decoder = "vaapi"
	p.Sources["gate"] = c
	if s, err := b.Compute(p, "gate"); err == nil {
		if !s.GPU || !strings.Contains(strings.Join(paths(s.Closure.Manifest, closure.Opened), " "), "_drv_video.so") {
			t.Errorf("vaapi: %+v", s)
		}
	} else if !strings.Contains(err.Error(), "install intel-media-va-driver or mesa-va-drivers") {
		t.Errorf("vaapi: %v", err)
	}
}
