package container

import (
	"context"
	"fmt"
	"path/filepath"

	"sightline/runtime/driver"
	"sightline/runtime/outlive"
)

// Bounds of limits: less than that no program gets to run with, or the engine refuses.
const (
	leastMemory = 8 << 20 // bytes
	leastCPUs   = 0.01
	leastPIDs   = 8 // a Go program has about as many threads
)

// check refuses what cannot be had here.
func (e *engine) check(ctx context.Context, spec driver.Spec) error {
	if err := outlive.CheckID(spec.ID); err != nil {
		return err
	}
	if len(spec.Program) == 0 || !filepath.IsAbs(spec.Program[0]) {
		return fmt.Errorf("container box %q: program %q is not an absolute path inside the closure", spec.ID, spec.Program)
	}
	if filepath.Dir(spec.Socket) != filepath.Clean(spec.Dir) || !filepath.IsAbs(spec.Dir) {
		return fmt.Errorf("container box %q: socket %q is not in %q", spec.ID, spec.Socket, spec.Dir)
	}
	if err := e.checkLimits(spec.Limits); err != nil {
		return err
	}
	if spec.GPU {
		return e.checkGPU(ctx)
	}
	return nil
}

func (e *engine) checkLimits(limits driver.Limits) error {
	for _, l := range []struct {
		what                     string
		set, tooLittle, enforced bool
	}{
		{fmt.Sprintf("a limit of %d bytes of memory", limits.Memory), limits.Memory != 0, limits.Memory < leastMemory, e.memory},
		{fmt.Sprintf("a limit of %g processors", limits.CPUs), limits.CPUs != 0, !(limits.CPUs >= leastCPUs), e.cpus},
		{fmt.Sprintf("a limit of %d processes and threads", limits.PIDs), limits.PIDs != 0, limits.PIDs < leastPIDs, e.pids},
	} {
		refused := &driver.RefusedError{Driver: Name, What: l.what}
		switch {
		case !l.set:
		case l.tooLittle:
			refused.Why, refused.Instead = "no program runs with so little", fmt.Sprintf("at least %d bytes, %g processors, %d processes", leastMemory, leastCPUs, leastPIDs)
			return refused
		case !l.enforced:
			refused.Why = fmt.Sprintf("%s cannot keep it here", e.whole())
			if e.warnings != "" {
				refused.Why += " (" + e.warnings + ")"
			}
			refused.Instead = e.otherWay()
			return refused
		}
	}
	return nil
}

// otherWay says how limits can be had that this engine can't keep.
func (e *engine) otherWay() string {
	if e.rootless {
		return "leave it out, use an engine that runs as root, or have systemd delegate the cgroup controllers to the user"
	}
	return "leave it out, have the kernel provide that cgroup controller, or use in: process"
}
