package closures

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"sightline/models"
	"sightline/runtime/closure"
	"sightline/runtime/closure/loader"
)

// hasGPU tells whether there is a device that provider auto can use.
func (b Builder) hasGPU() bool {
	devices := b.Devices
	if devices == nil {
		devices = []string{"/dev/nvidiactl", "/dev/nvmap"}
	}
	return slices.ContainsFunc(devices, func(name string) bool {
		_, err := os.Stat(name)
		return err == nil
	})
}

// providers lists what ONNX Runtime opens by itself for a provider: its own libraries, from its own
// folder, and the driver's.
func (b Builder) providers(folder string, p string) ([]closure.Input, error) {
	names := []string{"shared", "cuda"}
	if p == models.ProviderTensorRT {
		names = append(names, "tensorrt")
	}
	var opened []closure.Input
	for _, name := range names {
		at := filepath.Join(folder, "libonnxruntime_providers_"+name+".so")
		if _, err := os.Stat(at); err != nil {
			return nil, fmt.Errorf("ONNX Runtime's library for it is not there: %w", err)
		}
		opened = append(opened, closure.Input{From: at})
	}
	if trt := filepath.Join(folder, "libonnxruntime_providers_tensorrt.so"); p == models.ProviderAuto {
		if _, err := os.Stat(trt); err == nil {
			opened = append(opened, closure.Input{From: trt})
		}
	}
	driver, err := b.driverLibrary("libcuda.so.1")
	return append(opened, driver), err
}

// companions are the libraries that others open by themselves, from their own folder.
var companions = [...]struct{ of, also string }{
	{"libcudnn.so.", "libcudnn_*.so.[0-9]*"},
	{"libcudart.so.", "libnvrtc*.so.[0-9]*"},
	{"libnvinfer.so.", "libnvinfer_builder_resource*.so.[0-9]*"},
	{"libcuda.so.", "libnvidia-ptxjitcompiler.so.1"},
}

// withCompanions adds to the opened libraries what those open in turn.
func withCompanions(spec *closure.Spec, opened []closure.Input) ([]closure.Input, error) {
	l := loader.Loader{Dirs: spec.LibraryDirs}
	var names []string
	for _, in := range opened {
		names = append(names, in.From)
	}
	traced, err := l.Trace(spec.Program, names)
	if err != nil {
		return nil, err
	}
	for _, library := range traced.Libraries {
		for _, c := range companions {
			if strings.HasPrefix(filepath.Base(library.Path), c.of) {
				opened = append(opened, found(filepath.Join(filepath.Dir(library.Path), c.also))...)
			}
		}
	}
	return opened, nil
}

// found lists the libraries of a pattern, each once: of names that lead to the same file, the shortest.
func found(pattern string) []closure.Input {
	matches, err := filepath.Glob(pattern)
	if err != nil {
		return nil // the folder has a name that is no pattern
	}
	slices.SortFunc(matches, func(a, b string) int { return len(a) - len(b) })
	seen := map[string]bool{}
	var list []closure.Input
	for _, at := range matches {
		real, err := filepath.EvalSymlinks(at)
		if err != nil || seen[real] {
			continue
		}
		seen[real] = true
		list = append(list, closure.Input{From: at})
	}
	return list
}

// driverLibrary finds a library of the GPU's driver, which must be this machine's.
func (b Builder) driverLibrary(name string) (closure.Input, error) {
	in := func(folders []string) (closure.Input, bool) {
		for _, folder := range folders {
			at := filepath.Join(folder, name)
			if _, err := os.Stat(at); err == nil {
				return closure.Input{From: at, To: name}, true
			}
		}
		return closure.Input{}, false
	}
	if found, ok := in(b.Drivers); ok {
		return found, nil
	}
	if data, err := os.ReadFile("/etc/ld.so.cache"); err == nil {
		entries, err := loader.ParseCache(data)
		if err != nil {
			return closure.Input{}, fmt.Errorf("look for %s in /etc/ld.so.cache: %w", name, err)
		}
		for _, e := range entries {
			if _, err := os.Stat(e.Path); err == nil && e.Name == name && e.Machine.String() == runtime.GOARCH {
				return closure.Input{From: e.Path, To: name}, nil
			}
		}
	}
	if found, ok := in(driverFolders()); ok {
		return found, nil
	}
	return closure.Input{}, fmt.Errorf("%s is not there: it belongs to the driver of an NVIDIA GPU", name)
}

func multiarch() string {
	return map[string]string{"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}[runtime.GOARCH]
}

func driverFolders() []string {
	usual := "/usr/lib/" + multiarch()
	return []string{usual, usual + "/nvidia", usual + "/tegra", "/usr/lib64", "/usr/lib/wsl/lib"}
}

// decoder adds what libavcodec opens by itself for a hardware decoder.
func (b Builder) decoder(name string, s *Stage, spec *closure.Spec) error {
	switch name {
	case "cuda":
		s.GPU = true
		for _, library := range []string{"libcuda.so.1", "libnvcuvid.so.1"} {
			in, err := b.driverLibrary(library)
			if err != nil {
				return fmt.Errorf("decoder cuda: %w", err)
			}
			spec.Open = append(spec.Open, in)
		}
	case "vaapi":
		s.GPU = true
		drivers, err := vaDrivers()
		if err != nil {
			return fmt.Errorf("decoder vaapi: %w", err)
		}
		spec.Open = append(spec.Open, drivers...)
	case "nvv4l2":
		s.GPU = true // its libraries come from NVIDIA's container runtime
	}
	return nil
}

// vaDrivers lists the drivers that libva may open for this machine's GPUs, at their own places, where
// libva looks.
func vaDrivers() ([]closure.Input, error) {
	var drivers []closure.Input
	for _, kernel := range kernelDrivers() {
		for _, name := range vaNames(kernel) {
			for _, folder := range []string{"/usr/lib/" + multiarch() + "/dri", "/usr/lib64/dri", "/usr/lib/dri"} {
				at := filepath.Join(folder, name+"_drv_video.so")
				if _, err := os.Stat(at); err == nil {
					drivers = append(drivers, closure.Input{From: at, To: at})
				}
			}
		}
	}
	if len(drivers) == 0 {
		return nil, errors.New("there is no VA driver for a GPU of this machine: install intel-media-va-driver or mesa-va-drivers")
	}
	return drivers, nil
}

// kernelDrivers names the kernel's drivers of the GPUs.
func kernelDrivers() []string {
	links, _ := filepath.Glob("/sys/class/drm/renderD*/device/driver") // the pattern is good
	var names []string
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && !slices.Contains(names, filepath.Base(target)) {
			names = append(names, filepath.Base(target))
		}
	}
	return names
}

// vaNames are libva's names for the drivers of a kernel driver.
func vaNames(kernel string) []string {
	switch kernel {
	case "i915", "xe":
		return []string{"iHD", "i965"}
	case "amdgpu":
		return []string{"radeonsi"}
	case "radeon":
		return []string{"radeonsi", "r600"}
	}
	return []string{kernel}
}
