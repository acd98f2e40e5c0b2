package unikernel

import (
	"context"
	"fmt"
	"math"
	"path/filepath"

	"sightline/runtime/driver"
	"sightline/runtime/outlive"
)

// Bounds of limits, in bytes and processors.
const (
	mib         = 1 << 20
	leastMemory = 96 * mib  // the kernel's caches take some 65 of them
	leastShared = 256 * mib // of a program with libraries: with half of it FFmpeg's never get loaded
	leastCPUs   = 0.01
	mostCPUs    = 4 // shown to work
	mostMemory  = 1 << 40
)

// check refuses what cannot be had here.
func (h *host) check(spec driver.Spec) error {
	if err := outlive.CheckID(spec.ID); err != nil {
		return err
	}
	if len(spec.Program) == 0 {
		return fmt.Errorf("unikernel box %q: no program", spec.ID)
	}
	if _, err := image(spec.Program).Key(); err != nil {
		return fmt.Errorf("unikernel box %q: %w", spec.ID, err)
	}
	if filepath.Dir(spec.Socket) != filepath.Clean(spec.Dir) {
		return fmt.Errorf("unikernel box %q: socket %q is not in %q", spec.ID, spec.Socket, spec.Dir)
	}
	if spec.GPU {
		return &driver.RefusedError{
			Driver: Name, What: "the GPU", Why: "a unikernel has none of the machine's devices, and its kernel has no driver for one",
			Instead: "use in: process or in: container, or provider: cpu",
		}
	}
	least, err := least(spec)
	if err != nil {
		return fmt.Errorf("unikernel box %q: %w", spec.ID, err)
	}
	return h.checkLimits(spec.Limits, least)
}

// least returns how much memory a guest needs to come up.
func least(spec driver.Spec) (int64, error) {
	m, err := spec.Files.Manifest(context.Background())
	if err != nil {
		return 0, err
	}
	if m.Interpreter != "" {
		return leastShared, nil
	}
	return leastMemory, nil
}

func (h *host) checkLimits(limits driver.Limits, least int64) error {
	refused := &driver.RefusedError{Driver: Name}
	switch m, c, p := limits.Memory, limits.CPUs, limits.PIDs; {
	case m != 0 && (m < least || m > mostMemory):
		refused.What = fmt.Sprintf("a limit of %d bytes of memory", m)
		refused.Why = "the guest's kernel is part of it and keeps some 65MiB for itself, and libraries are pages of memory too"
		refused.Instead = fmt.Sprintf("at least %dMiB, or use in: process or in: container", least/mib)
	case c != 0 && (!(c >= leastCPUs) || c > mostCPUs):
		refused.What = fmt.Sprintf("a limit of %g processors", c)
		refused.Why = fmt.Sprintf("a unikernel was shown to work with 1 to %d, and gets on with no less than %g", mostCPUs, leastCPUs)
		refused.Instead = fmt.Sprintf("at most %d, or use in: vm", mostCPUs)
	case c != math.Trunc(c) && h.Groups.Folders["cpu"] == "":
		refused.What = fmt.Sprintf("a limit of %g processors", c)
		refused.Why, refused.Instead = h.Missing.Why("cpu"), "leave it out, use whole processors, or run the supervisor as root or with a delegated cgroup"
	case p != 0:
		refused.What = fmt.Sprintf("a limit of %d processes and threads", p)
		refused.Why = "a unikernel has one process, and nothing counts its threads but the memory that they take"
		refused.Instead = "leave it out, or use in: process, in: container or in: vm"
	default:
		return nil
	}
	return refused
}
