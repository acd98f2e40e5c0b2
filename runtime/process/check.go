package process

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"sightline/runtime/driver"
	"sightline/runtime/outlive"
)

// Bounds of limits, in bytes and processors: less than that no program gets to run with.
const (
	leastMemory = 4 << 20
	leastCPUs   = 0.01
	leastPIDs   = 8 // a Go program has about as many threads
)

// check refuses what cannot be had here.
func (h *host) check(spec driver.Spec) error {
	if err := outlive.CheckID(spec.ID); err != nil {
		return err
	}
	if len(spec.Program) == 0 || !filepath.IsAbs(spec.Program[0]) {
		return fmt.Errorf("process box %q: program %q is not an absolute path inside the closure", spec.ID, spec.Program)
	}
	if filepath.Dir(spec.Socket) != filepath.Clean(spec.Dir) {
		return fmt.Errorf("process box %q: socket %q is not in %q", spec.ID, spec.Socket, spec.Dir)
	}
	if err := h.checkLimits(spec.Limits); err != nil {
		return err
	}
	if spec.GPU && len(gpuDevices()) == 0 {
		return &driver.RefusedError{Driver: Name, What: "the GPU", Why: "there is no device of a GPU in /dev", Instead: "install its driver, or use provider: cpu"}
	}
	return nil
}

func (h *host) checkLimits(limits driver.Limits) error {
	all := []struct {
		controller, what string
		set, tooLittle   bool
	}{
		{"memory", fmt.Sprintf("a limit of %d bytes of memory", limits.Memory), limits.Memory != 0, limits.Memory < leastMemory},
		{"cpu", fmt.Sprintf("a limit of %g processors", limits.CPUs), limits.CPUs != 0, !(limits.CPUs >= leastCPUs)},
		{"pids", fmt.Sprintf("a limit of %d processes and threads", limits.PIDs), limits.PIDs != 0, limits.PIDs < leastPIDs},
	}
	for _, l := range all {
		refused := &driver.RefusedError{Driver: Name, What: l.what}
		switch {
		case !l.set:
		case l.tooLittle:
			refused.Why, refused.Instead = "no program runs with so little", fmt.Sprintf("at least %d bytes, %g processors, %d processes", leastMemory, leastCPUs, leastPIDs)
			return refused
		case !h.enforces(l.controller):
			refused.Why, refused.Instead = h.without.Why(l.controller), "leave it out, run the supervisor as root or with a delegated cgroup, or use in: container"
			return refused
		}
	}
	return nil
}

// enforces says whether a limit can be kept. Memory and processors take a cgroup: RLIMIT_AS counts
// what Go and CUDA reserve and never use. Processes can be counted by user.
func (h *host) enforces(controller string) bool {
	if _, ok := h.groups.Folders[controller]; ok {
		return true
	}
	return controller == "pids" && h.way.ownUser
}

// gpuDevices returns the devices of GPUs: NVIDIA's on PCs and Jetson, and render nodes.
func gpuDevices() []string {
	var devices []string
	for _, pattern := range []string{
		"/dev/nvidia[0-9]*", "/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", "/dev/nvidia-modeset",
		"/dev/nvmap", "/dev/nvgpu/igpu0/*", "/dev/nvhost-*", "/dev/nvsciipc", "/dev/dri/renderD*",
	} {
		found, _ := filepath.Glob(pattern) // the patterns are good
		devices = append(devices, found...)
	}
	return slices.DeleteFunc(devices, func(name string) bool {
		info, err := os.Stat(name)
		return err != nil || info.Mode()&fs.ModeCharDevice == 0
	})
}

// groupsOf returns the groups that may use devices.
func groupsOf(devices []string) []int {
	var gids []int
	for _, name := range devices {
		var info unix.Stat_t
		if err := unix.Stat(name, &info); err == nil && info.Gid != 0 && info.Mode&0o060 == 0o060 && info.Mode&0o006 != 0o006 {
			gids = append(gids, int(info.Gid))
		}
	}
	slices.Sort(gids)
	return slices.Compact(gids)
}
