package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/moby/moby/api/types/container"

	"sightline/runtime/driver"
)

// gpuMode is a way to give a container the GPU.
type gpuMode string

// The ways, see NVIDIA's Container Toolkit.
const (
	gpuNone    gpuMode = ""
	gpuRuntime gpuMode = "the NVIDIA runtime"             // for Jetson, and where Docker has it
	gpuRequest gpuMode = "a device request"               // Docker with the toolkit's hook
	gpuCDI     gpuMode = "the Container Device Interface" // Podman
)

const (
	nvidia    = "nvidia"
	cdiDevice = "nvidia.com/gpu=all"
)

// environment is how the NVIDIA runtime is told what to give.
func (m gpuMode) environment() []string {
	if m == gpuRuntime {
		return []string{"NVIDIA_VISIBLE_DEVICES=all", "NVIDIA_DRIVER_CAPABILITIES=compute,utility"}
	}
	return nil
}

// apply asks for the GPU.
func (m gpuMode) apply(h *container.HostConfig) {
	switch m {
	case gpuRuntime:
		h.Runtime = nvidia
	case gpuRequest:
		h.DeviceRequests = []container.DeviceRequest{{Driver: nvidia, Count: -1, Capabilities: [][]string{{"gpu", "compute", "utility"}}}}
	case gpuCDI:
		h.Devices = []container.DeviceMapping{{PathOnHost: cdiDevice, PathInContainer: cdiDevice, CgroupPermissions: "rwm"}}
	case gpuNone:
	}
}

// gpuModeOf says which way an engine goes; gpuNone and why if there is none.
func (f facts) gpuModeOf() (gpuMode, error) {
	devices := gpuDevices()
	switch {
	case len(devices) == 0:
		return gpuNone, errors.New("there is no device of an NVIDIA GPU in /dev")
	case slices.Contains(f.runtimes, nvidia):
		return gpuRuntime, nil
	case isJetson(devices):
		return gpuNone, fmt.Errorf("%s has no runtime %q (it has %q), which Jetson needs", f, nvidia, f.runtimes)
	case f.podman:
		return gpuCDI, nil
	}
	return gpuRequest, nil
}

// gpuDevices returns the devices by which NVIDIA's GPUs are known, on PCs and on Jetson.
func gpuDevices() []string {
	var devices []string
	for _, pattern := range []string{"/dev/nvidiactl", "/dev/nvidia[0-9]*", "/dev/nvmap", "/dev/nvhost-*"} {
		found, _ := filepath.Glob(pattern) // the patterns are good
		devices = append(devices, found...)
	}
	return devices
}

// isJetson says that the GPU is part of the board's chip.
func isJetson(devices []string) bool {
	_, err := os.Stat("/etc/nv_tegra_release")
	return err == nil || slices.Contains(devices, "/dev/nvmap")
}

// checkGPU refuses a box that wants the GPU where a container can't get it, which is tried.
func (e *engine) checkGPU(ctx context.Context) error {
	e.gpu.mu.Lock()
	defer e.gpu.mu.Unlock()
	if e.gpu.at.IsZero() || e.gpu.err != nil && time.Since(e.gpu.at) > keptTime {
		e.gpu.mode, e.gpu.err = e.gpuModeOf()
		if e.gpu.err == nil {
			e.gpu.err = e.trial(ctx, true)
		}
		e.gpu.at = time.Now()
	}
	if e.gpu.err == nil {
		return nil
	}
	return &driver.RefusedError{
		Driver: Name, What: "the GPU", Why: e.gpu.err.Error(),
		Instead: "install nvidia-container-toolkit and run: sudo nvidia-ctk runtime configure --runtime=docker (Podman: sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml), or use in: process, or provider: cpu",
	}
}
